"""Words for runs of every kind, and for several kinds beside each other."""

from puna.core.layout import RunDir
from puna.report.read import read_run
from puna.report.wording import ANSWERS, MIXED, PAIRS, PRE_TRAINING, common_wording, wording


def test_words_are_those_of_text(report_run: RunDir):
    assert wording(read_run(report_run).config) is PRE_TRAINING


def test_words_are_those_of_answers(tuned_run: RunDir):
    assert wording(read_run(tuned_run).config) is ANSWERS


def test_words_are_those_of_pairs(pairs_run: RunDir):
    assert wording(read_run(pairs_run).config) is PAIRS


def test_runs_of_several_kinds_have_words_that_are_right_for_all():
    text, answers, pairs = {}, {"finetune": {"method": "full"}}, {"finetune": {"preference": {"loss": "dpo"}}}
    assert common_wording([text, text]) is PRE_TRAINING
    assert common_wording([answers, answers]) is ANSWERS
    assert common_wording([pairs]) is PAIRS
    assert common_wording([answers, pairs]) is MIXED
    assert common_wording([answers, text]) is MIXED
