"""LAMBADA: the last word of a passage, in OpenAI's edition.

`harness` is lm-evaluation-harness's `lambada_openai`: everything after the last space is the word. A document counts as
right if each of the word's tokens is the likeliest. LLM-foundry's version is with its other tasks.
"""

import math
from collections.abc import Sequence

from puna.evaluate.example import Answer, Continue, Example, Judged, Row
from puna.evaluate.figure import Figure, mean, mean_of
from puna.evaluate.protocols import HARNESS
from puna.evaluate.task import Task, Verdict


def _harness(row: Row, shots: Sequence[Row], id: str) -> Example:
    before, _, word = row["text"].rpartition(" ")
    return Example(id=id, ask=Continue(context=before, target=" " + word, text=word))


def _judge(example: Example, answer: Answer) -> Verdict:
    likelihood = answer.likelihoods[0]
    return {"acc": float(likelihood.greedy), "logprob": likelihood.logprob}, {}


def word_perplexity(judged: Sequence[Judged], metric: str) -> Figure:
    """The inverse of the geometric mean of the words' probabilities; a word counts once, however many tokens it has."""
    figure = mean_of([document.values["logprob"] for document in judged])
    value = None if figure.value is None else math.exp(-figure.value)
    return Figure(value=value, n=figure.n, missing=figure.missing)


TASKS = (
    Task(
        name="lambada_openai", protocol=HARNESS, title="LAMBADA", data="lambada_openai", split="test",
        example=_harness, judge=_judge, metrics={"acc": mean, "perplexity": word_perplexity}, chance=0.0,
    ),
)  # fmt: skip
