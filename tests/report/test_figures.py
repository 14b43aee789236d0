"""The figures of a run that is not finished, of one that is being extended, and of a moment; its sessions, its past."""

import json
from pathlib import Path
from typing import Any

import pytest
from sessions import add_session

import puna
from puna.config.recipe import Recipe
from puna.core.errors import CheckpointError
from puna.core.layout import RunDir
from puna.core.reference import Moment
from puna.core.schema.lineage import Parent
from puna.core.schema.train_state import TrainState, directory_of, write_state
from puna.plan.count import parameters
from puna.report.figures import devices, heldout, speed, summary, tiles
from puna.report.page import render, write_report
from puna.report.past import goes_on, sessions
from puna.report.read import read_run


@pytest.fixture
def unfinished(report_run: RunDir) -> RunDir:
    """The run of the records without its record, and without what was written at its end."""
    report_run.record.unlink()
    lines = [line for line in report_run.metrics.read_text().splitlines() if '"final": true' not in line]
    report_run.metrics.write_text("".join(line + "\n" for line in lines if json.loads(line)["step"] <= 21))
    return report_run


def _append(run: RunDir, **line: Any) -> None:
    with run.metrics.open("a") as file:
        file.write(json.dumps(line) + "\n")


def _checkpoint(run: RunDir, step: int, **state: Any) -> Path:
    directory = directory_of(run, step)
    directory.mkdir(parents=True)
    write_state(directory, TrainState(step=step, **state), {"a.distcp": "00"})
    return directory


def test_unfinished_run_says_so_and_how_far_it_is(unfinished: RunDir, tiny: Recipe):
    run = read_run(unfinished)
    shown = {tile.what: (tile.number, tile.note) for tile in tiles(run)}
    assert shown["of the run"] == ("88\u00a0%", "step 21 of 24")
    assert shown["parameters"][0] == f"{parameters(tiny.model).total / 1000:.1f}k"
    assert shown["tokens"] == ("5.38k", "in 21 optimizer steps, of 6.14k")
    assert shown["tokens per second"] == ("1k", "median of the logged steps")
    assert shown["bits per byte, prose"] == ("3.000", "a part of the held-out text, at step 20; lower is better")
    assert shown["of the device's rate (MFU)"][0] == "40\u00a0%"
    page = render(run)
    assert "This run is not finished." in page
    assert f"<code>{goes_on(run)}</code> goes on with it" in page
    assert goes_on(run) == f"puna train {unfinished.config} --run-dir {unfinished} --resume"
    assert "Energy</dt><dd>Estimated when the run is finished" in page
    assert "sha256sum" not in page
    assert "Held-out text: a part of the held-out text, at step 20" in page


def test_run_that_has_only_begun_has_a_page(unfinished: RunDir):
    unfinished.metrics.write_text("")
    add_session(unfinished, 0, "puna train tiny")
    run = read_run(unfinished)
    assert heldout(run) is None
    assert summary(run).endswith("parameters, trained so far on 0 of 6.14k tokens on 2 x a GPU.")
    page = render(run)
    assert "has logged nothing yet" in page
    assert "has written none yet" in page
    assert [session.steps for session in sessions(run)] == ["none yet"]


def test_state_of_the_newest_checkpoint_is_read_and_a_line_that_is_being_written_is_passed_over(unfinished: RunDir):
    parent = Parent(how="branched", run="first", place="runs/first@400", step=400, changes=["optim.lr: 1 -> 2"])
    _checkpoint(unfinished, 10)
    _checkpoint(unfinished, 20, lineage=[parent], data_fingerprint="fedc")
    with unfinished.metrics.open("a") as file:
        file.write('{"kind": "train", "st')
    run = read_run(unfinished)
    assert run.step == 21
    assert run.lineage == [parent]
    page = " ".join(render(run).split())
    assert "<code>fedc</code>" in page
    assert 'branched</th> <td data-label="from">first, <code>runs/first@400</code></td>' in page
    assert 'step 400</td> <td data-label="optimizer">fresh</td>' in page
    assert "<code>optim.lr: 1 -&gt; 2</code>" in page


def test_finished_run_that_is_being_extended_is_not_called_finished(report_run: RunDir):
    report_run.config.write_text(report_run.config.read_text().replace("tokens = 6144", "tokens = 12288"))
    _append(report_run, kind="train", step=30, tokens=7680, loss=1.0, lr=1.0, grad_norm=1.0, tokens_per_second=1.0)
    run = read_run(report_run)
    assert run.record is None
    assert (run.step, run.total_steps) == (30, 48)
    assert "and was finished at step 24 before it was extended" in render(run)


def test_moment_is_shown_as_it_was_and_on_a_page_of_its_own(report_run: RunDir):
    for step, command in ((0, "puna train tiny"), (10, "puna train tiny --resume")):
        add_session(report_run, step, command)
    moment = Moment(run=report_run, step=10, directory=_checkpoint(report_run, 10))
    run = read_run(report_run, moment)
    assert [line.step for line in run.train] == list(range(1, 11))
    assert [line.step for line in run.validations] == [10]
    assert [line.line.command for line in sessions(run)] == ["puna train tiny"]
    assert write_report(report_run, moment) == report_run.root / "report-step-10.html"
    page = (report_run.root / "report-step-10.html").read_text()
    assert "<b>The run as it was at step 10</b> of 24." in page
    assert "is not finished" not in page


def test_report_of_a_run_takes_its_moments_and_means_the_whole_run_without_one(unfinished: RunDir):
    _checkpoint(unfinished, 10)
    assert puna.report(unfinished) == unfinished.report
    assert "is at step 21 of 24" in unfinished.report.read_text()
    assert puna.report(f"{unfinished}@10") == puna.report(directory_of(unfinished, 10))
    with pytest.raises(CheckpointError, match="has no checkpoint of step 11"):
        puna.report(f"{unfinished}@11")


def test_last_moment_of_a_finished_run_is_the_finished_run(report_run: RunDir):
    moment = Moment(run=report_run, step=24, directory=_checkpoint(report_run, 24))
    assert read_run(report_run, moment) == read_run(report_run)


def test_lineage_of_a_finished_run_is_that_of_its_record(report_run: RunDir):
    record = json.loads(report_run.record.read_text())
    parent = {"how": "continued", "run": "<b>model</b>", "place": "hub", "weights": "ab" * 32, "optimizer": "kept"}
    record["results"]["lineage"] = [parent]
    report_run.record.write_text(json.dumps(record))
    page = " ".join(render(read_run(report_run)).split())
    assert "What the run comes from, oldest first" in page
    assert f'&lt;b&gt;model&lt;/b&gt;, <code>hub</code><br><span class="soft">weights <code>{"ab" * 32}</code>' in page
    assert "its weights</td>" in page
    assert 'data-label="changed">nothing</td>' in page


def test_facts_of_speed_are_those_of_the_lines_until_there_is_a_record(unfinished: RunDir):
    facts = dict(speed(read_run(unfinished)))
    assert facts["Throughput"] == (
        "1k tokens/s in optimizer steps (median), 900 with validation, samples and checkpoints in the last session"
    )
    assert facts["Peak memory"] == "1.0 MiB"
    assert facts["Time"] == "21 s in optimizer steps, over all sessions"
    assert facts["Checkpoints"] == "2; training stood still for 1.0 s in all"


@pytest.mark.parametrize(("number", "shown"), [(1, "a GPU"), (8, "8 x a GPU")])
def test_one_device_is_not_counted(number: int, shown: str):
    assert devices(number, "a GPU") == shown
