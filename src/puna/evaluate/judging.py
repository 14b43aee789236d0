"""Judges that several tasks share."""

from collections.abc import Callable
from typing import Literal, TypeAlias

from puna.evaluate.example import Answer, Choose, Example
from puna.evaluate.task import Verdict

Norm: TypeAlias = Literal["sum", "character", "byte", "token", "own"]
"""What a likelihood is divided by before options are compared: nothing; the option's characters or bytes in UTF-8, as
it stands in `Option.text`; its tokens; or its likelihood after `Choose.own`, in logarithms a difference."""


def choose_by(**norms: Norm) -> Callable[[Example, Answer], Verdict]:
    """A judge of `Choose` with a metric for each way to compare options: `choose_by(acc="sum", acc_norm="character")`.

    A document's value is 1 if the best option is a right one. Among equals the first is the best, as with lm-eval's
    argmax. `shown` has the option that each metric chose.
    """

    def judge(example: Example, answer: Answer) -> Verdict:
        ask = choice_of(example)
        chosen = {metric: best(scores(ask, answer, norm)) for metric, norm in norms.items()}
        return {metric: float(option in ask.gold) for metric, option in chosen.items()}, {"chosen": chosen}

    return judge


def choice_of(example: Example) -> Choose:
    """What is asked of a document whose options are compared.

    Raises:
        TypeError: Something else is asked of it, so this judge does not fit the task.
    """
    if not isinstance(example.ask, Choose):
        raise TypeError(f"document {example.id}: asks {type(example.ask).__name__}, but this judge compares options")
    return example.ask


def scores(ask: Choose, answer: Answer, norm: Norm) -> list[float]:
    """The number by which each option is compared."""
    sums = [likelihood.logprob for likelihood in answer.likelihoods]
    match norm:
        case "sum":
            return sums
        case "own":
            return [of - own.logprob for of, own in zip(sums, answer.own, strict=True)]
        case "character":
            lengths = [len(option.text) for option in ask.options]
        case "byte":
            lengths = [len(option.text.encode()) for option in ask.options]
        case "token":
            lengths = [likelihood.tokens for likelihood in answer.likelihoods]
    return [of / length if length else float("-inf") for of, length in zip(sums, lengths, strict=True)]


def best(numbers: list[float]) -> int:
    """The place of the largest, the first among equals."""
    return max(range(len(numbers)), key=lambda place: numbers[place])
