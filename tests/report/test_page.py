"""The report: everything is on it, nothing on it is believed, it needs no network, and a browser draws it."""

import json
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from chromium import needs_chromium
from html_pages import Page, words_of
from looks import faults
from made_results import add_evaluations, made_task
from sessions import add_session

from puna.core.errors import DataError
from puna.core.layout import RunDir
from puna.report.page import write_report


@pytest.fixture
def page(report_run: RunDir) -> Page:
    return _page(report_run)


def _page(run: RunDir) -> Page:
    return Page(write_report(run).read_text(encoding="utf-8"))


def _change(path: Path, *keys: str, **values: Any) -> None:
    """Change values of a JSON file's table, found by its keys."""
    whole = table = json.loads(path.read_text())
    for key in keys:
        table = table[key]
    table.update(values)
    path.write_text(json.dumps(whole))


def test_page_is_well_formed_and_has_every_section(page: Page):
    assert page.open == []
    sections = [attributes.get("id") for tag, attributes in page.tags if tag == "section"]
    assert sections[1:] == ["curves", "samples", "data", "speed", "exports", "lineage", "reproduce"]


def test_figures_are_those_of_the_records(page: Page):
    for expected in ("2.800", "3.800", "45k", "6.14k", "614", "50 %", "500 Wh", "200 gCO2eq", "1.5e-06", "383 strings"):
        assert expected in words_of(page)
    assert "12 s training time 10 s of it in optimizer steps" in words_of(page)
    assert "prose invalid_utf8 Its bytes are not text." in words_of(page)


def test_energy_is_called_an_estimate_and_comes_with_its_formula(page: Page):
    words = words_of(page)
    assert words.count("estimated") == 4
    assert "500 Wh = 12 s \u00d7 7 W \u00d7 1.1. The power is not a measurement (a guess)" in words
    assert "200 gCO2eq = 500 Wh \u00d7 0.385 kgCO2eq per kWh" in words


def test_what_was_left_out_is_listed_with_its_reason(report_run: RunDir):
    assert "left out" not in words_of(_page(report_run))
    with report_run.metrics.open("a") as file:
        for step in range(1, 24):
            line = {"kind": "skipped", "step": step, "tokens": 256 * step, "reason": f"<i>spike {step}</i>"}
            file.write(json.dumps(line | {"first_sequence": 8, "sequences": 8, "loss": "inf", "grad_norm": 2.0}) + "\n")
        line = {"kind": "rollback", "step": 1005, "tokens": 5, "from_step": 1009, "to_step": 1005, "batches": 4}
        file.write(json.dumps(line | {"reason": "nan"}) + "\n")
    words = words_of(_page(report_run))
    assert "What was left out: 23 batches, and those before 1 return to a checkpoint; the latest" in words
    assert "4 its batch was left out <i>spike 4</i> 5 its" in words
    assert "spike 3<" not in words
    assert "1,009 the run went back to step 1,005 and left out the batches between nan" in words


def test_checkpoints_are_counted_with_the_time_that_they_took(report_run: RunDir):
    assert "Checkpoints3; training stood still for 1.5 s in all" in words_of(_page(report_run))


def test_every_convention_of_the_devices_share_is_spelled_out(page: Page):
    assert (
        "50.0 % counting the attention scores that a causal model needs, 55.0 % counting all of them (PaLM's "
        "convention), 45.0 % counting none" in words_of(page)
    )
    assert "More than 100 %" not in page.text


def test_share_above_the_whole_is_not_left_unexplained(report_run: RunDir):
    _change(report_run.record, "results", "mfu", causal=1.16)
    words = words_of(_page(report_run))
    assert "of the device's rate (MFU) which was measured too low: see Speed and energy" in words
    assert "More than 100 % says that the device's rate came out too low" in words


def test_held_out_results_stand_beside_what_token_frequencies_reach(page: Page):
    assert "prose 2.8000 2.5000 2.0000 code 3.8000 3.5000 not known" in words_of(page)


def test_evaluations_have_a_section_with_charts_and_the_newest_figures(report_run: RunDir):
    assert "Evaluations" not in _page(report_run).text
    task = made_task("harness/piqa@0", 6, 10, title="PIQA <b>", of=1838, limit_seed=0, chance=0.5)
    line = {"kind": "evaluation", "step": 20, "tokens": 5120, "tasks": [task.model_dump(exclude_unset=True)]}
    with report_run.metrics.open("a") as file:
        file.write(json.dumps(line) + "\n")
    page = _page(report_run)
    assert page.open == []
    places = [attributes["id"] for _, attributes in page.tags if (attributes.get("id") or "").startswith("plot-")]
    assert places == [f"plot-{number}" for number in range(len(places))]
    html = report_run.report.read_text()
    figures = json.loads(re.search(r'id="figures">(.*?)</script>', html, re.DOTALL)[1])  # type: ignore[index]
    assert len(figures) == len(places)
    assert figures[-1]["data"][2]["y"] == [0.6]
    assert "PIQA <b> harness/piqa@0 acc 0.6000 0.2306 to 0.9694 0.5000 10 of 1,838 20" in words_of(page)


def test_samples_are_the_newest_first_and_the_others_folded_away(report_run: RunDir):
    page = _page(report_run)
    positions = [page.text.index(f"onerror=alert(1)>{step}") for step in (24, 20, 10)]
    assert positions == sorted(positions)
    html = report_run.report.read_text()
    assert html.index("alert(1)&gt;24") < html.index("<details>") < html.index("alert(1)&gt;20")


def test_commands_reproduce_this_run(page: Page):
    words = words_of(page)
    assert "puna train recipe.toml puna export runs/tiny --to hf puna report runs/tiny" in words
    assert f"sha256sum runs/tiny/model/model.safetensors The last line prints {'ef' * 32}" in words
    assert 'name = "tiny"' in page.text


def test_a_branch_is_reproduced_from_the_moment_that_it_began_at(report_run: RunDir):
    first = {"how": "extended", "run": "tiny", "place": "runs/tiny", "step": 200, "tokens": 51200}
    branch = {"how": "branched", "run": "tiny", "place": "runs/tiny@best", "step": 400, "tokens": 102400}
    _change(report_run.record, "results", lineage=[first, branch])
    words, own = words_of(_page(report_run)), f"runs/{report_run.root.name}"
    assert "and with the run that it branched from, at runs/tiny@step-400" in words
    assert f"puna train recipe.toml --branch-from runs/tiny@step-400 --run-dir {own}" in words
    assert f"puna report {own}" in words
    _change(report_run.record, "results", lineage=[branch | {"place": "runs/tiny/checkpoints/step-00000400"}])
    words = words_of(_page(report_run))
    assert "puna train recipe.toml --branch-from runs/tiny/checkpoints/step-00000400 --run-dir" in words
    _change(report_run.record, "results", lineage=[first])
    assert "puna train recipe.toml puna export" in words_of(_page(report_run))


def test_the_recipe_below_has_paths_from_where_its_commands_are_typed(
    report_run: RunDir, monkeypatch: pytest.MonkeyPatch
):
    config = tomllib.loads(report_run.config.read_text())
    next(iter(config["data"]["sources"].values()))["path"] = "../../texts"
    report_run.config.write_text(tomli_w.dumps(config))
    monkeypatch.chdir(report_run.root.parents[1])
    assert 'path = "texts"' in _page(report_run).text


def test_exports_are_reproduced_with_their_choices_and_places(report_run: RunDir):
    _change(report_run.exports / "hf" / "equivalence.json", "results", format="gguf", choices=["--type", "Q8_0"])
    words = words_of(_page(report_run))
    assert "puna export runs/tiny --to gguf --type Q8_0 --out runs/tiny/exports/hf puna report runs/tiny" in words


def test_an_export_of_a_moment_says_its_step_and_is_reproduced_from_it(report_run: RunDir):
    (report_run.exports / "hf").rename(report_run.exports / "hf-step-15")
    _change(report_run.exports / "hf-step-15" / "equivalence.json", "results", format="hf", step=15)
    words = words_of(_page(report_run))
    assert "puna export runs/tiny@step-15 --to hf puna report runs/tiny" in words
    assert "model the checkpoint of step 15 weights" in words


def test_an_export_of_the_model_before_the_run_was_made_longer_says_so(report_run: RunDir):
    files = json.loads(report_run.record.read_text())["outputs"]
    says = "model an earlier one of this run"
    path = report_run.exports / "hf" / "equivalence.json"
    _change(path, inputs={**files, "tokenizer.model": "ab"})
    assert says not in words_of(_page(report_run))
    _change(path, inputs=dict.fromkeys(files, "ab"))
    assert says in words_of(_page(report_run))
    _change(path, "results", step=15)
    assert says not in words_of(_page(report_run))


def test_lineage_names_hashes_machine_and_packages(page: Page, report_run: RunDir):
    record = json.loads(report_run.record.read_text())
    for expected in (
        "cd" * 32,
        record["command"],
        record["machine"]["processor"],
        f"torch {record['packages']['torch']}",
    ):
        assert " ".join(expected.split()) in words_of(page)


def test_changes_that_no_commit_has_are_said(report_run: RunDir):
    _change(report_run.record, commit="abc+")
    assert "commit abc with uncommitted changes" in words_of(_page(report_run))
    _change(report_run.record, commit=None)
    assert "commit" not in words_of(_page(report_run)).partition("Lineage")[2]


def test_hostile_text_stays_text(page: Page):
    scripts = [tag for tag, _ in page.tags if tag == "script"]
    assert len(scripts) == 3
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert "document.title = 'owned'" in page.text


def test_half_a_surrogate_pair_is_shown_as_a_question_mark(report_run: RunDir):
    _change(report_run.record, "config", description="half \ud800 pair")
    assert "half ? pair" in _page(report_run).text


def test_page_needs_no_network(page: Page, report_run: RunDir):
    for tag, attributes in page.tags:
        for name in ("src", "href", "action"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)
        assert tag != "link"
    style = report_run.report.read_text().partition("<style>")[2].partition("</style>")[0]
    assert "body {" in style
    assert not re.search(r"url\(|@import", style)


def test_tables_and_charts_can_be_read_without_seeing_them(page: Page):
    tables = [attributes for tag, attributes in page.tags if tag == "table"]
    regions = [attributes for _, attributes in page.tags if "scroll" in (attributes.get("class") or "").split()]
    assert len(tables) == len(regions) == 6
    assert all(attributes["aria-label"] and attributes["tabindex"] == "0" for attributes in regions)
    headers = [attributes for tag, attributes in page.tags if tag == "th"]
    assert {attributes.get("scope") for attributes in headers} == {"col", "row"}
    labels = [attributes["aria-label"] or "" for _, attributes in page.tags if attributes.get("class") == "plot"]
    assert len(labels) == 7
    assert labels[1] == "Training loss. each logged step from 5.9 to 3.6."


def test_charts_carry_the_numbers(report_run: RunDir):
    html = write_report(report_run).read_text()
    figures = json.loads(re.search(r'id="figures">(.*?)</script>', html, re.DOTALL)[1])  # type: ignore[index]
    assert len(figures) == 7
    bits = {trace["name"]: trace["y"] for trace in figures[0]["data"]}
    assert bits["prose"] == [3.5, 3.0]
    assert figures[1]["data"][0]["y"][-1] == 6 - 24 / 10


def test_run_without_card_samples_and_exports_still_has_a_report(report_run: RunDir):
    shutil.rmtree(report_run.exports)
    report_run.data_card.unlink()
    report_run.config.unlink()
    lines = report_run.metrics.read_text().splitlines()
    report_run.metrics.write_text("".join(line + "\n" for line in lines if '"sample"' not in line))
    page = _page(report_run)
    assert "has no data card" in page.text
    assert "The run wrote none." in page.text
    assert f"None yet: puna export {report_run} --to hf" in page.text
    assert "not known" in page.text
    assert "every value resolved" not in page.text


def test_run_without_metrics_still_has_a_report(report_run: RunDir):
    report_run.metrics.unlink()
    assert "The run logged nothing." in _page(report_run).text


def test_damaged_run_leaves_the_older_report_as_it_was(report_run: RunDir):
    before = write_report(report_run).read_bytes()
    report_run.data_card.write_text("{")
    with pytest.raises(DataError):
        write_report(report_run)
    assert report_run.report.read_bytes() == before


def test_notes_of_an_export_are_shown_and_many_are_counted(report_run: RunDir):
    path = report_run.exports / "hf" / "equivalence.json"
    _change(path, "results", notes=["w is Q5_0 <b>"])
    assert "w is Q5_0 <b>" in _page(report_run).text
    _change(path, "results", notes=[f"w{number} is Q5_0" for number in range(5)])
    text = " ".join(_page(report_run).text.split())
    assert "w2 is Q5_0; 2 more are in its equivalence.json" in text
    assert "w3" not in text


def test_export_without_an_oracle_says_so(report_run: RunDir):
    path = report_run.exports / "hf" / "equivalence.json"
    missing = "transformers is not installed"
    _change(path, "results", oracle=None, logits_max_abs_difference=None, oracle_missing=missing)
    assert f"not compared: {missing}" in _page(report_run).text


@pytest.mark.browser
@needs_chromium
@pytest.mark.parametrize(("width", "height"), [(1200, 900), (390, 844)])
def test_browser_draws_every_chart_without_errors_or_overflow(
    report_run: RunDir, browser: Any, width: int, height: int
):
    add_evaluations(report_run, "piqa", "copa")
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(write_report(report_run).as_uri())
    charts = browser.execute_script("return document.querySelectorAll('.plot').length")
    drawn = browser.execute_script(
        "return [...document.querySelectorAll('.plot')]"
        ".filter(plot => plot.querySelector('.scatterlayer .trace path')).length"
    )
    overflow = browser.execute_script("return document.documentElement.scrollWidth - window.innerWidth")
    assert browser.title == "tiny · Puna report"
    assert (charts, drawn) == (10, 10)
    assert overflow <= 0
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


LONG = "a_source_with_a_very_long_name_that_does_not_break_anywhere_at_all"


@pytest.mark.browser
@needs_chromium
@pytest.mark.parametrize("state", ["finished", "unfinished"])
def test_long_names_and_wide_tables_fit_a_phone_a_tablet_a_desk_and_paper(report_run: RunDir, browser: Any, state: str):
    for path in (report_run.metrics, report_run.record, report_run.data_card):
        path.write_text(path.read_text().replace('"prose"', f'"{LONG}"'))
    for step, command in ((0, "puna train tiny --data-dir " + "x" * 90), (10, "puna train tiny --resume")):
        add_session(report_run, step, command, commit="ab" * 20 + "+")
    skipped = {"kind": "skipped", "step": 5, "tokens": 1280, "reason": "the loss is 9.1, " + "y" * 60}
    report_run.metrics.write_text(report_run.metrics.read_text() + json.dumps(skipped) + "\n")
    parent = {"how": "branched", "run": LONG, "place": f"runs/{LONG}@400", "step": 400, "weights": "ab" * 32}
    _change(report_run.record, "results", lineage=[parent | {"changes": ["optim.lr: 0.001 -> 0.002", "z" * 80]}])
    add_evaluations(report_run, LONG, "piqa", "copa")
    if state == "unfinished":
        report_run.record.unlink()
    assert faults(browser, write_report(report_run)) == []


@pytest.mark.browser
@needs_chromium
def test_last_tick_is_drawn_and_every_mark_is_in_the_legend(report_run: RunDir, browser: Any):
    browser.get(write_report(report_run).as_uri())
    ticks = browser.execute_script(
        "return [...document.querySelectorAll('.plot')]"
        ".map(plot => [...plot.querySelectorAll('.xtick text')].at(-1).textContent)"
    )
    legend = browser.execute_script(
        "return [...document.querySelector('.plot').querySelectorAll('.legendtext')].map(text => text.textContent)"
    )
    assert ticks == ["6.14k"] * 7
    assert legend == ["prose", "code", "all held-out text, at the end", "token frequencies alone"]


@pytest.mark.browser
@needs_chromium
def test_charts_follow_the_dark_and_come_out_dark_on_light_on_paper(report_run: RunDir, browser: Any):
    def label_is_light(media: str, scheme: str) -> bool:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
        colour = browser.execute_script("return getComputedStyle(document.querySelector('.plot .xtick text')).fill")
        return sum(map(int, re.findall(r"\d+", colour)[:3])) > 3 * 128

    browser.get(write_report(report_run).as_uri())
    assert not label_is_light("screen", "light")
    assert label_is_light("screen", "dark")
    assert not label_is_light("print", "dark")


@pytest.mark.browser
@needs_chromium
def test_browser_refuses_to_load_what_a_text_might_ask_for(report_run: RunDir, browser: Any):
    browser.get(write_report(report_run).as_uri())
    blocked = browser.execute_async_script(
        "const done = arguments[0];"
        "document.addEventListener('securitypolicyviolation', event => done(event.effectiveDirective));"
        "new Image().src = 'http://127.0.0.1:9/';"
        "setTimeout(() => done('loaded'), 3000);"
    )
    assert blocked == "img-src"
