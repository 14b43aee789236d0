"""The report: everything is on it, nothing on it is believed, it needs no network, and a browser draws it."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from puna.core.layout import RunDir
from puna.report.page import write_report

VOID = {"meta", "img", "br", "link", "input"}


class _Page(HTMLParser):
    """The text and the tags of a page, and whether every tag is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in {"script", "style"}:
            self.text += data


@pytest.fixture
def page(report_run: RunDir) -> _Page:
    return _Page(write_report(report_run).read_text())


def test_page_is_well_formed_and_has_every_section(page: _Page):
    assert page.open == []
    sections = [attributes.get("id") for tag, attributes in page.tags if tag == "section"]
    assert sections[1:] == ["curves", "samples", "data", "speed", "exports", "lineage", "reproduce"]


def test_figures_are_those_of_the_records(page: _Page):
    for expected in ("2.800", "3.800", "45k", "6.14k", "614", "50 %", "500 Wh", "200 gCO2eq", "1.5e-06", "383 strings"):
        assert expected in page.text
    assert page.text.count("estimated") >= 4
    assert "invalid utf8" in page.text


def test_hostile_text_stays_text(page: _Page):
    scripts = [tag for tag, _ in page.tags if tag == "script"]
    assert len(scripts) == 3
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert "document.title = 'owned'" in page.text


def test_page_needs_no_network(page: _Page):
    for tag, attributes in page.tags:
        for name in ("src", "href", "action"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)
        assert tag != "link"


def test_charts_carry_the_numbers(report_run: RunDir):
    html = write_report(report_run).read_text()
    figures = json.loads(re.search(r'id="figures">(.*?)</script>', html, re.DOTALL)[1])  # type: ignore[index]
    assert len(figures) == 4
    bits = {trace["name"]: trace["y"] for trace in figures[0]["data"]}
    assert bits["prose"] == [3.5, 3.0]
    assert bits["prose, all of it"] == [2.8]
    assert bits["prose, unigrams"] == [2.5, 2.5]
    assert figures[1]["data"][0]["y"][-1] == 6 - 24 / 10


def test_run_without_card_samples_and_exports_still_has_a_report(report_run: RunDir):
    shutil.rmtree(report_run.exports)
    report_run.data_card.unlink()
    lines = report_run.metrics.read_text().splitlines()
    report_run.metrics.write_text("".join(line + "\n" for line in lines if '"sample"' not in line))
    page = _Page(write_report(report_run).read_text())
    assert "has no data card" in page.text
    assert "None yet" in page.text


def test_export_without_an_oracle_says_so(report_run: RunDir):
    path = report_run.exports / "hf" / "equivalence.json"
    proof = json.loads(path.read_text())
    proof["results"] |= {"oracle": None, "oracle_missing": "transformers is not installed"}
    path.write_text(json.dumps(proof))
    assert "not compared: transformers is not installed" in _Page(write_report(report_run).read_text()).text


@pytest.mark.browser
@pytest.mark.skipif(shutil.which("chromedriver") is None, reason="needs Debian's chromium and chromium-driver")
@pytest.mark.parametrize(("width", "height"), [(1200, 900), (390, 844)])
def test_browser_draws_every_chart_without_errors_or_overflow(
    report_run: RunDir, tmp_path: Path, width: int, height: int
):
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for flag in (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={tmp_path}/profile",
    ):  # fmt: skip
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        driver.get(write_report(report_run).as_uri())
        charts = driver.execute_script("return document.querySelectorAll('.plot').length")
        drawn = driver.execute_script(
            "return [...document.querySelectorAll('.plot')]"
            ".filter(plot => plot.querySelector('.scatterlayer .trace path')).length"
        )
        overflow = driver.execute_script("return document.documentElement.scrollWidth - window.innerWidth")
        assert driver.title == "tiny · Puna report"
        errors = [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
    finally:
        driver.quit()
    assert (charts, drawn) == (4, 4)
    assert overflow <= 0
    assert errors == []
