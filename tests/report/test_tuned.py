"""What a page says of a tuned run, each figure from a record; what is not known is not shown as a number."""

import json
import re
from dataclasses import replace

from puna.core.layout import RunDir
from puna.report.page import render
from puna.report.read import RunRecords, read_run
from puna.report.tuned import answers, heldout_rows, left_out_examples, legible, tuning_facts


def test_facts_name_the_model_what_is_learned_and_what_came_of_it(tuned_run: RunDir):
    facts = dict(tuning_facts(read_run(tuned_run)))
    assert facts["Model"] == "runs/demo, at its step 400, after 102k tokens"
    assert facts["Chat template"] == f"chatml; SHA-256 {'ab' * 32}"
    assert facts["Learned"] == "all answers of the assistant, with the tokens that end them"
    assert facts["What learns"] == (
        "low-rank updates of wq, wv, rank 8, alpha 16: 500 numbers, 1 % of the model's 50,000 parameters"
    )
    assert facts["Noise while training"] == "dropout 0.1 before the updates, NEFTune with alpha 5"
    assert facts["Sequences"] == (
        "96 sequences of 64 positions hold 36 examples, packed by best fit, each sees itself alone; 97.5 % of the "
        "positions hold tokens"
    )
    assert facts["Result"].startswith("the updates are merged into model/")


def test_an_adapter_on_rounded_matrices_is_not_called_merged(tuned_run: RunDir):
    record = json.loads(tuned_run.record.read_text())
    del record["outputs"]["model.safetensors"]
    tuned_run.record.write_text(json.dumps(record))
    assert "not merged" in dict(tuning_facts(read_run(tuned_run)))["Result"]


def test_a_loss_of_pairs_is_named_with_its_paper(pairs_run: RunDir):
    learned = dict(tuning_facts(read_run(pairs_run)))["Learned"]
    assert learned == "which of two answers is preferred, by DPO (Rafailov et al. 2023), beta = 0.1"


def test_pre_training_has_no_such_facts(report_run: RunDir):
    assert tuning_facts(read_run(report_run)) == []


def test_what_is_not_known_is_left_out(tuned_run: RunDir):
    tuned_run.tuning.unlink()
    tuned_run.record.unlink()
    run = replace(read_run(tuned_run), lineage=[])
    facts = dict(tuning_facts(run))
    assert not {"Model", "Sequences", "Result"} & facts.keys()
    assert facts["What learns"] == "low-rank updates of wq, wv, rank 8, alpha 16"
    assert left_out_examples(run) == []
    assert "None" not in render(run).partition("<script>")[0].replace("None yet", "")


def test_held_out_figures_stand_beside_those_before_the_first_step(tuned_run: RunDir):
    prose, code = heldout_rows(read_run(tuned_run))
    assert (prose.source, prose.loss_before, prose.second_before) == ("prose", 4.25, 1.2)
    assert (code.loss, code.second) == (3.8, 3.8)


def test_held_out_pairs_have_the_share_that_is_told_apart(pairs_run: RunDir):
    prose, code = heldout_rows(read_run(pairs_run))
    assert (prose.second_before, prose.second) == (0.5, 0.75)
    assert (code.second_before, code.second) == (None, None)


def _until(run: RunDir, step: int) -> RunRecords:
    run.record.unlink()
    lines = [line for line in run.metrics.read_text().splitlines() if json.loads(line)["step"] <= step]
    run.metrics.write_text("".join(line + "\n" for line in lines))
    return read_run(run)


def test_before_there_is_a_second_validation_nothing_is_called_its_result(tuned_run: RunDir):
    run = _until(tuned_run, 5)
    assert [(row.loss_before, row.loss) for row in heldout_rows(run)] == [(4.25, None), (4.5, None)]
    page = " ".join(render(run).split())
    assert re.search(r'<td class="n" data-label="loss, [^"]*before">4.2500</td><td [^>]*>not known</td>', page)


def test_answers_before_and_now_are_apart_from_those_between(tuned_run: RunDir):
    (asked,) = answers(read_run(tuned_run))
    assert asked.before is not None
    assert asked.now is not None
    assert (asked.before.step, asked.now.step) == (0, 24)
    assert [sample.step for sample in asked.between] == [20, 10]
    (asked,) = answers(_until(tuned_run, 0))
    assert (asked.now, asked.between) == (None, [])


def test_cut_and_left_out_examples_are_told_with_their_reasons(tuned_run: RunDir):
    found = [(one.source, one.split, *rest) for one, *rest in left_out_examples(read_run(tuned_run))]
    assert found[0] == ("prose", "train", "dropped: too_long", 3, "they do not fit <i>")
    lost = "their prompts lost 300 tokens from the left, of which 7 would have been learned"
    assert found[1] == ("prose", "train", "cut", 2, lost)
    assert not [one for one in found if one[:2] == ("code", "heldout")]


def test_control_characters_are_visible():
    assert legible("a\x1b[0m\x00\n\tb<|im_end|>") == "a\u241b[0m\u2400\n\tb<|im_end|>"
