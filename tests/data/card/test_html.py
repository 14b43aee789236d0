"""The page of a card: whole, escaped, without a script, and a browser shows it on a phone and in the dark."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from looks import faults

from puna.data.card.html import html

VOID = {"meta", "br"}


class _Page(HTMLParser):
    """The text and the tags of a page, and whether every tag is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        self.text += " " * (tag in {"td", "th"})

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data


@pytest.fixture
def card() -> dict[str, Any]:
    return json.loads(Path(__file__).with_name("example_card.json").read_text())


@pytest.fixture
def page(card: dict[str, Any]) -> _Page:
    return _Page(html(card))


def test_the_page_is_well_formed_and_every_link_leads_somewhere(page: _Page):
    assert page.open == []
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    targets = [f"#{attributes['id']}" for _, attributes in page.tags if "id" in attributes]
    assert len(links) == 14
    assert links == targets


def test_hostile_text_stays_text(page: _Page):
    assert not [tag for tag, _ in page.tags if tag in {"script", "img", "iframe", "link"}]
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert page.text.count('<script>alert(1)</script> | [x](javascript:1) `a` & "b"') >= 5


def test_the_page_needs_no_network(page: _Page, card: dict[str, Any]):
    for tag, attributes in page.tags:
        for name in ("src", "href", "action"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)
    style = html(card).partition("<style>")[2].partition("</style>")[0]
    assert "body {" in style
    assert not re.search(r"url\(|@import", style)
    policy = [attributes["content"] for _, attributes in page.tags if "http-equiv" in attributes]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_figures_and_sentences_are_on_the_page(page: _Page):
    words = " ".join(page.text.split())
    for expected in (
        "3,638 documents from 3 sources",
        "lines 9,000 2,000 7,000 390.6 KiB -18.7 MiB 28.6 MiB",
        "common_crawl is repeated 20.8 times",
        "lost 1 record to a defect of the reader (reader.failed)",
        "Documents made by Puna 0.1.0 on 2026-01-31.",
    ):
        assert expected in words


def test_bars_have_the_widths_of_their_shares(page: _Page):
    widths = [attributes["style"] for tag, attributes in page.tags if tag == "i"]
    assert widths[:4] == ["width:93.71%", "width:6.29%", "width:72.89%", "width:20.82%"]


def test_tables_can_be_read_without_seeing_them(page: _Page):
    regions = [attributes for _, attributes in page.tags if "scroll" in (attributes.get("class") or "").split()]
    assert len(regions) == len([tag for tag, _ in page.tags if tag == "table"]) > 15
    assert all(attributes["aria-label"] and attributes["tabindex"] == "0" for attributes in regions)
    assert {attributes.get("scope") for tag, attributes in page.tags if tag == "th"} == {"col", "row"}


def test_rows_of_a_name_and_its_value_need_no_labels_on_a_phone(card: dict[str, Any]):
    text = html(card)
    made_with = text.partition("<span>What the build was made with</span>")[2].partition("</table>")[0]
    assert "<code" in made_with
    assert "data-label" not in made_with
    assert 'data-label="value"' in text  # of thresholds, which have a meaning besides


def test_half_a_surrogate_pair_is_shown_as_a_question_mark(card: dict[str, Any]):
    card["description"] = "half \ud800 pair"
    assert "half ? pair" in html(card)


@pytest.mark.browser
@pytest.mark.skipif(shutil.which("chromedriver") is None, reason="needs Debian's chromium and chromium-driver")
def test_long_names_and_wide_tables_fit_a_phone_a_tablet_a_desk_and_paper(
    card: dict[str, Any], browser: Any, tmp_path: Path
):
    name = "a_source_with_a_very_long_name_that_does_not_break_anywhere_at_all"
    path = tmp_path / "card.html"
    path.write_text(html(json.loads(json.dumps(card).replace(card["sources"][0]["name"], name))), encoding="utf-8")
    assert faults(browser, path) == []


@pytest.mark.browser
@pytest.mark.skipif(shutil.which("chromedriver") is None, reason="needs Debian's chromium and chromium-driver")
def test_a_browser_shows_the_page_on_a_phone_and_in_the_dark(card: dict[str, Any], browser: Any, tmp_path: Path):
    path = tmp_path / "card.html"
    path.write_text(html(card), encoding="utf-8")
    for width in (1200, 390):
        metrics = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        browser.get(path.as_uri())
        assert browser.execute_script("return document.documentElement.scrollWidth - window.innerWidth") <= 0
        bar = "const [kept, lost] = document.querySelectorAll('.bar i'); return kept.offsetWidth / lost.offsetWidth"
        assert browser.execute_script(bar) == pytest.approx(9000 / 604, rel=0.2)
    assert browser.title == "web · data card"
    colours = {}
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "screen", "features": features})
        script = "const style = getComputedStyle(document.body); return [style.color, style.backgroundColor]"
        text, paper = browser.execute_script(script)
        colours[scheme] = [sum(map(int, re.findall(r"\d+", colour)[:3])) > 3 * 128 for colour in (text, paper)]
    assert colours == {"light": [False, True], "dark": [True, False]}
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
