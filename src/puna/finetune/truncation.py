"""Examples that are too long: what is cut from their prompts, and which ones are dropped.

The prompt of a conversation is everything before its last answer, earlier answers included; that of a pair is
everything before the first token of its answers. A prompt is cut from the left, behind the token that begins a text,
and both prompts of a pair alike. An earlier answer that loses its beginning, or all that it answers, is kept as context
and not learned. The last answer always stays whole: where it does not fit, the example is dropped. So is one whose
text is so long that next to nothing of it would be left; writing 10 MB down for a sequence of 2,048 takes seconds.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from puna.config.recipe import Recipe
from puna.finetune.token_files import Document

REFUSED, EMPTY, TOO_LONG, PROMPT, ANSWER = (
    "refused", "nothing_to_learn", "too_long", "prompt_too_long", "answer_too_long",
)  # fmt: skip
REASONS = {
    REFUSED: "the chat template does not take them",
    EMPTY: "none of their tokens would be learned",
    TOO_LONG: "they do not fit in a sequence",
    PROMPT: "their prompts are longer than finetune.max_prompt_tokens",
    ANSWER: "an answer is longer than finetune.max_answer_tokens",
}
"""Why an example is dropped, in words that follow a number of examples."""


_MOST_CHARACTERS, _PER_POSITION = 1 << 18, 64
"""An example with more characters than the first, and more for each position of a sequence than the second, is too long
to be cut: a token is about four characters of prose."""


@dataclass(frozen=True)
class Limits:
    """How long examples may be."""

    positions: int
    """Of a sequence, for all documents of an example together."""
    prompt: int | None
    answer: int | None
    cut: bool
    """Whether a prompt that is too long is cut; else the example is dropped."""
    everything: bool = False
    """Whether all tokens are learned, also the rest of an answer that lost its beginning."""

    @property
    def characters(self) -> int:
        """Of an example's text, at most."""
        return max(_MOST_CHARACTERS, _PER_POSITION * self.positions)

    @classmethod
    def of(cls, recipe: Recipe) -> "Limits":
        """Those of a recipe with [finetune]."""
        tuning = recipe.finetune
        assert tuning is not None  # noqa: S101 - the caller's recipe is of this kind
        return cls(
            recipe.model.context, tuning.max_prompt_tokens, tuning.max_answer_tokens, tuning.too_long == "cut",
            tuning.learn == "everything",
        )  # fmt: skip


class Marked(NamedTuple):
    """A document as a template writes it."""

    ids: NDArray[np.int64]
    learned: NDArray[np.bool_]
    answers: NDArray[np.bool_]
    """Of each token whether it is of an answer, the token that ends it included."""


class Fitted(NamedTuple):
    """What becomes of an example."""

    documents: list[Document]
    """Its documents; none where it is dropped."""
    reason: str = ""
    """Why it is dropped; empty where it is kept."""
    tokens: int = 0
    """Tokens that were cut."""
    targets: int = 0
    """Tokens that would have been learned without the cut."""


def fit(documents: list[Marked], limits: Limits, bos_id: int) -> Fitted:
    """Cut an example to its limits, or drop it.

    Args:
        documents: A conversation; or two, those of a pair.
        limits: How long it may be.
        bos_id: The token that stays first where it is first.
    """
    whole = [_without_end(document) for document in documents]
    if not all(document.learned.any() for document in whole):
        return Fitted([], EMPTY)
    if limits.answer is not None and max(_longest_run(document.answers) for document in whole) > limits.answer:
        return Fitted([], ANSWER)
    firsts = [int(document.ids[0] == bos_id) for document in whole]
    prompts = [_prompt(document, pair=len(whole) > 1) for document in whole]
    over_prompt = 0 if limits.prompt is None else max(prompts) - limits.prompt
    over = sum(len(document.ids) - 1 for document in whole) - limits.positions
    cut = max(over_prompt, -(-over // len(whole)))
    if cut <= 0:
        return Fitted([Document(document.ids, document.learned) for document in whole])
    if not limits.cut:
        return Fitted([], TOO_LONG if over > 0 else PROMPT)
    # Of a prompt one token stays besides the one that begins the text: an answer to nothing teaches nothing.
    if any(first + cut >= prompt for first, prompt in zip(firsts, prompts, strict=True)):
        return Fitted([], TOO_LONG)
    kept = [
        _cut(document, first, cut, everything=limits.everything) for document, first in zip(whole, firsts, strict=True)
    ]
    if not all(document.learned.any() for document in kept):
        return Fitted([], TOO_LONG)
    lost = sum(int(document.learned.sum()) for document in whole) - sum(int(one.learned.sum()) for one in kept)
    return Fitted(kept, tokens=cut * len(whole), targets=lost)


def _without_end(document: Marked) -> Marked:
    """The document up to its last target; its first token is none."""
    learned = document.learned.copy()
    learned[:1] = False
    end = int(np.flatnonzero(learned)[-1]) + 1 if learned.any() else 0
    return Marked(document.ids[:end], learned[:end], document.answers[:end])


def _prompt(document: Marked, *, pair: bool) -> int:
    """Tokens of the prompt, the one that begins the text included."""
    if pair:
        return int(np.argmax(document.learned))
    answers = np.flatnonzero(document.answers)
    if not len(answers):  # everything is learned, and there is no answer
        return len(document.ids)
    others = np.flatnonzero(~document.answers[: answers[-1]])
    return int(others[-1]) + 1 if len(others) else 0


def _cut(document: Marked, first: int, count: int, *, everything: bool) -> Document:
    """The document without `count` tokens behind its first `first` ones."""
    learned, at = document.learned.copy(), first + count
    if document.answers[at] and not everything:
        others = np.flatnonzero(~document.answers[at:])
        learned[at : at + int(others[0])] = False
    learned[at] &= first > 0
    kept = np.r_[0:first, at : len(learned)]
    return Document(document.ids[kept], learned[kept])


def _longest_run(mask: NDArray[np.bool_]) -> int:
    """The length of the longest row of neighbours that are true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]])))
    return int((edges[1::2] - edges[::2]).max()) if len(edges) else 0
