"""Figures of several samples: the majority's answer, and the chance that one of k samples is right."""

import math
from collections.abc import Callable, Sequence


def majority(answers: Sequence[str | None], same: Callable[[str, str], bool] | None = None) -> str | None:
    """The answer that most samples give (Wang et al., 2022), as it was written first.

    A sample without an answer has no vote; among equals, the answer that came first wins.

    Args:
        answers: Of the samples in order, None where none was found.
        same: Whether two answers that are written differently say the same; by default they do not.

    Returns:
        None if no sample has an answer.
    """
    votes: dict[str, int] = {}
    named: dict[str, str] = {}
    for answer in answers:
        if answer is None:
            continue
        if answer not in named:
            alike = (other for other in votes if same is not None and same(other, answer))
            named[answer] = next(alike, answer)
        votes[named[answer]] = votes.get(named[answer], 0) + 1
    return max(votes, key=lambda answer: votes[answer], default=None)


def pass_at(k: int, *, samples: int, right: int) -> float:
    """The chance that at least one of k samples is right, without bias (Chen et al., 2021, equation 1).

    It is 1 - C(samples - right, k) / C(samples, k): of all ways to draw k of the samples, the share that has a right
    one.

    Args:
        k: At most `samples`.
        samples: That were taken.
        right: How many of them passed.
    """
    if not 1 <= k <= samples:
        raise ValueError(f"pass@{k} of {samples} samples is not defined")
    return 1 - math.comb(samples - right, k) / math.comb(samples, k)
