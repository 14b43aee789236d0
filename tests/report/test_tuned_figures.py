"""The head of a tuned run's page: figures before and after, examples instead of text, no number that is not known."""

import json

from puna.core.layout import RunDir
from puna.report.read import read_run
from puna.report.tuned_figures import tuned_summary, tuned_tiles


def _shown(run: RunDir) -> dict[str, tuple[str, str]]:
    return {tile.what: (tile.number, tile.note) for tile in tuned_tiles(read_run(run))}


def test_tiles_of_answers_say_what_was_before(tuned_run: RunDir):
    shown = _shown(tuned_run)
    assert shown["loss on held-out answers, prose"] == ("2.800", "4.250 before tuning; lower is better")
    assert shown["examples"] == ("18", "read 2 times in 24 steps")
    assert shown["of their tokens are learned"] == ("25\u00a0%", "500 of 2,000")
    assert shown["numbers learn"] == ("500", "1\u00a0% of the model's 50k")
    assert shown["tuning time"] == ("12 s", "10 s of it in optimizer steps")


def test_tiles_of_pairs_are_shares_that_are_told_apart(pairs_run: RunDir):
    shown = _shown(pairs_run)
    assert shown["of held-out pairs told apart, prose"] == ("75\u00a0%", "50\u00a0% before tuning; 50 % is chance")
    assert "of held-out pairs told apart, code" not in shown
    assert shown["pairs of answers"][0] == "18"


def test_an_unfinished_run_says_how_far_it_is_and_no_figure_of_its_end(tuned_run: RunDir):
    tuned_run.record.unlink()
    lines = [line for line in tuned_run.metrics.read_text().splitlines() if json.loads(line)["step"] <= 3]
    tuned_run.metrics.write_text("".join(line + "\n" for line in lines))
    shown = _shown(tuned_run)
    assert shown["loss on held-out answers, prose"] == ("4.250", "before the first step; lower is better")
    assert shown["of the run"] == ("12\u00a0%", "step 3 of 24")
    assert "tuning time" not in shown
    assert tuned_summary(read_run(tuned_run)) == (
        "A LLaMA of 50k parameters, tuned from runs/demo on 18 examples; 3 of 24 steps are done."
    )


def test_summary_names_the_model_and_its_examples(tuned_run: RunDir):
    assert tuned_summary(read_run(tuned_run)) == (
        "A LLaMA of 50k parameters, tuned from runs/demo on 18 examples, in 12 s on a processor, 2 cores."
    )


def test_a_run_without_counts_shows_none(tuned_run: RunDir):
    tuned_run.tuning.unlink()
    shown = _shown(tuned_run)
    assert not {"examples", "of their tokens are learned", "numbers learn"} & shown.keys()
    assert shown["parameters"] == ("45k", "")
