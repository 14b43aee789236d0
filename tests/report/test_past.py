"""All sessions of a run are listed, each with the steps that stayed."""

import json

from sessions import add_session

from puna.core.layout import RunDir
from puna.report.page import render
from puna.report.past import sessions
from puna.report.read import read_run


def test_every_session_is_listed_with_the_steps_that_stayed(report_run: RunDir):
    for step, command in ((0, "first"), (10, "second"), (20, "lost"), (20, "third")):
        add_session(report_run, step, command)
    run = read_run(report_run)
    assert [(session.line.command, session.steps) for session in sessions(run)] == [
        ("first", "1 to 10"), ("second", "11 to 20"), ("lost", "none that stayed"), ("third", "21 to 24"),
    ]  # fmt: skip
    page = " ".join(render(run).split())
    assert "Every session of the run, 4 in all" in page
    for command in ("first", "second", "lost", "third"):
        assert f"<code>{command}</code>" in page
    assert "2026-01-31 12:00 UTC" in page
    assert "<dt>Command</dt>" not in page


def test_session_that_began_at_an_older_checkpoint_takes_the_steps_of_all_before_it(report_run: RunDir):
    for step, command in ((0, "first"), (10, "second"), (5, "third")):
        add_session(report_run, step, command)
    lines = [json.loads(line) for line in report_run.metrics.read_text().splitlines()]
    begun = {line["command"]: line for line in lines if line["kind"] == "session"}
    others = [line for line in lines if line["kind"] != "session"]
    whole = [*others, *(begun[name] for name in ("first", "second", "third"))]
    report_run.metrics.write_text("".join(json.dumps(line) + "\n" for line in whole))
    steps = [session.steps for session in sessions(read_run(report_run))]
    assert steps == ["1 to 5", "none that stayed", "6 to 24"]


def test_devices_of_a_session_are_counted_where_there_are_several(report_run: RunDir):
    add_session(report_run, 0, "first", devices=8)
    add_session(report_run, 10, "second", devices=1)
    assert [session.devices for session in sessions(read_run(report_run))] == ["8 x a GPU", "a GPU"]


def test_run_of_a_version_without_sessions_shows_its_last_command(report_run: RunDir):
    page = render(read_run(report_run))
    assert "<dt>Command</dt>" in page
    assert "session of the run" not in page
