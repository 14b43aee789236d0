"""Multiple choice of common sense, against lm-eval."""

import pytest
from referee import Referee, by_us

from puna.evaluate.registry import find_task

HELLASWAG = [
    {
        "ind": 24, "activity_label": "Roof shingle removal", "ctx_a": "A man is sitting on a roof.", "ctx_b": "he",
        "ctx": "A man is sitting on a roof. he", "source_id": "v", "split": "val", "split_type": "indomain",
        "endings": ["is using wrap to wrap a pair of skis.", "is ripping level tiles off.", "is holding a cube.",
                    "starts pulling up roofing on a roof."], "label": "3",
    },
    {
        "ind": 25, "activity_label": "Family Life", "ctx_a": "[header] How to do it [title] Do  it. [step] Now.",
        "ctx_b": "", "ctx": "", "source_id": "w", "split": "val", "split_type": "zeroshot",
        "endings": ["[substeps] One. Two.", "Three [title] four.", " five", "six"], "label": "0",
    },
]  # fmt: skip


def test_hellaswag_asks_and_scores_as_lm_eval() -> None:
    ours = by_us(find_task("harness/hellaswag"), HELLASWAG)
    theirs = Referee("hellaswag/hellaswag.yaml", {"validation": HELLASWAG})
    assert ours.requests() == theirs.requests()
    assert ours.scores() == {name: theirs.scores()[f"{name},none"] for name in ("acc_norm", "acc")}
    assert [judged.values["acc_norm"] for judged in ours.judged()] == theirs.values("acc_norm")


def test_the_referee_notices_another_prompt() -> None:
    changed = [HELLASWAG[0] | {"ctx_b": "she"}, HELLASWAG[1]]
    theirs = Referee("hellaswag/hellaswag.yaml", {"validation": HELLASWAG})
    assert by_us(find_task("harness/hellaswag"), changed).requests() != theirs.requests()


@pytest.mark.parametrize("shots", [0, 2])
def test_the_referee_gives_solved_examples(shots: int) -> None:
    rows = [{"goal": f"g{i}", "sol1": "a", "sol2": "b", "label": i % 2} for i in range(5)]
    theirs = Referee("piqa/piqa.yaml", {"validation": rows, "train": rows[1:]}, shots=shots)
    [(context, continuation), _] = theirs.requests()[0]
    assert context.count("Question:") == shots + 1
    assert continuation == " a"
