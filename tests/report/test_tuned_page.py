"""The page of a tuned run: its sections and words, figures before and after, and its link from the run around it."""

import json
import shutil
import tomllib
from typing import Any

import pytest
import tomli_w
from chromium import needs_chromium
from html_pages import Page, words_of
from looks import faults
from made_results import add_evaluations, made_task

from puna.core.layout import RunDir
from puna.core.records import Record
from puna.report.page import write_report

LONG = "a_source_with_a_very_long_name_that_does_not_break_anywhere_at_all"


def _page(run: RunDir) -> Page:
    return Page(write_report(run).read_text(encoding="utf-8"))


def test_a_tuned_run_has_its_own_sections_and_words(tuned_run: RunDir):
    page = _page(tuned_run)
    assert page.open == []
    sections = [attributes.get("id") for tag, attributes in page.tags if tag == "section"]
    assert sections[1:] == ["tuning", "curves", "samples", "data", "speed", "exports", "lineage", "reproduce"]
    words = words_of(page)
    assert "prose train 9 1,000 250 25.0 % 18 2.00 prose held-out 9 1,000 250 25.0 % scored, not learned -" in words
    assert "prose train dropped: too_long they do not fit <i> 3 of 12" in words
    assert "Held-out answers: before the first step, and all held-out answers, at the end" in words
    assert "prose 4.2500 2.8000 1.2000 2.8000 code" in words
    assert "before tuning once upon\u241b a time after step 24" in words
    assert "as if each sequence were one text and all parameters learned" in words
    for text in ("held-out text", "Samples", "bytes per token", "documents", "after each prompt"):
        assert text not in words.partition("every value resolved")[0], text


def test_a_tuned_run_on_pairs_tells_how_many_are_told_apart(pairs_run: RunDir):
    words = words_of(_page(pairs_run))
    assert "Held-out pairs: before the first step, and all held-out pairs, at the end" in words
    assert "prose 4.2500 2.8000 0.5000 0.7500 code 4.5000 3.8000 not known not known" in words
    assert "bits per byte" not in words.partition("every value resolved")[0]


def test_evaluations_before_and_after_stand_beside_each_other(tuned_run: RunDir):
    with tuned_run.metrics.open("a") as file:
        for step, right in ((0, 4), (24, 6)):
            task = made_task("harness/piqa@0", right, 10, title="PIQA", of=1838, limit_seed=0, chance=0.5)
            line = {"kind": "evaluation", "step": step, "tokens": 256 * step}
            file.write(json.dumps(line | {"tasks": [task.model_dump(exclude_unset=True)]}) + "\n")
    words = words_of(_page(tuned_run))
    assert "PIQA harness/piqa@0 acc 0.4000 (0.0306 to 0.7694) 0.6000 0.2306 to 0.9694 0.5000 10 of 1,838 24" in words


def test_a_run_with_nothing_held_out_says_so(tuned_run: RunDir):
    record = json.loads(tuned_run.tuning.read_text())
    record["counts"] = [one for one in record["counts"] if one["split"] == "train"]
    tuned_run.tuning.write_text(json.dumps(record))
    lines = tuned_run.metrics.read_text().splitlines()
    tuned_run.metrics.write_text("".join(line + "\n" for line in lines if '"validation"' not in line))
    assert "Nothing was held out, so nothing tells how the model does" in words_of(_page(tuned_run))


def test_the_tuned_run_inside_of_a_run_is_linked_with_its_figures(tuned_run: RunDir):
    # The same run, as it was before it was tuned, and in it what became of it.
    shutil.copytree(tuned_run.root, tuned_run.root.parent / "copy")
    (tuned_run.root.parent / "copy").rename(tuned_run.chat.root)
    report_run, tuned_inside = tuned_run, tuned_run.chat
    config = tomllib.loads(report_run.config.read_text())
    del config["finetune"]
    report_run.config.write_text(tomli_w.dumps(config))
    record = json.loads(report_run.record.read_text())
    del record["config"]["finetune"]
    report_run.record.write_text(json.dumps(record))
    page = _page(report_run)
    words = words_of(page)
    assert ("a", {"href": "chat/report.html"}) in page.tags
    assert f"puna chat {report_run} to talk with it. It is finished." in words
    assert "prose 4.2500 2.8000 code 4.5000 3.8000" in words
    assert "It began with an earlier model" not in words
    Record("model", outputs={"model.safetensors": "0" * 64}).write(report_run.model / "record.json")
    record = json.loads(tuned_inside.record.read_text())
    record["inputs"]["initial_weights"] = "1" * 64
    tuned_inside.record.write_text(json.dumps(record))
    assert "It began with an earlier model of this run; puna run tunes today's." in words_of(_page(report_run))
    tuned_inside.record.unlink()
    assert "It is not finished: step 24 of 24" in words_of(_page(report_run))
    tuned_inside.metrics.write_text("")
    assert "Chat" not in _page(report_run).text


@pytest.mark.browser
@needs_chromium
@pytest.mark.parametrize("kind", ["tuned_run", "pairs_run"])
def test_a_tuned_run_fits_a_phone_a_tablet_a_desk_and_paper(request: Any, browser: Any, kind: str):
    run: RunDir = request.getfixturevalue(kind)
    for path in (run.metrics, run.record, run.data_card, run.tuning):
        path.write_text(path.read_text().replace('"prose"', f'"{LONG}"'))
    add_evaluations(run, LONG, "piqa")
    assert faults(browser, write_report(run)) == []
