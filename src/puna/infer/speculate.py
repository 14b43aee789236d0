"""Speculation: cheap guesses at the next tokens, which the model checks all in one step (Leviathan et al. 2023).

The model reads the guesses as rows behind the text and draws its own token after each. As long as that equals the guess
the next row was the right one to compute, so one step writes several tokens; the first that differs is written in place
of the guess, and the rest is thrown away. What is written is always the model's own draw from its own logits: the text
is the same token for token with speculation and without, when sampling too, and guesses decide only how soon it comes.

That needs a draw to depend on nothing but logits, seed and place (`sampling`). A draft model draws with the same noise,
and then agrees with the model more often than if it drew on its own (Daliri et al. 2024).
"""

from array import array
from dataclasses import dataclass, replace
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor

from puna.core.errors import GenerateError
from puna.infer.pages import in_common
from puna.infer.runner import Piece, Runner, rows_of
from puna.infer.sampling import choose
from puna.infer.scheduler import Chunk, Sequence

LOOKUP_TOKENS = 10
"""As Saxena's prompt lookup decoding (2023), from which the idea is."""
DRAFT_TOKENS = 5
"""As vLLM's documented example of a draft model; each costs a run of it, and is right only if all before it were."""
_LONGEST, _SHORTEST = 3, 2
"""Tokens that must stand before: Saxena's longest; one alone says little."""


class Drafter(Protocol):
    """Whatever guesses at the next tokens of texts."""

    tokens: int
    """Guesses per sequence and step at most."""

    def guess(self, chunks: list[Chunk], tables_SP: Tensor) -> None:
        """Fill `Chunk.drafts` with up to `Chunk.room` tokens; called once in each step, with all of its chunks.

        Args:
            chunks: What the step computes.
            tables_SP: The page tables, with pages also for the guesses.
        """
        ...


class PromptLookup:
    """Guesses that a text goes on as it did where it last had the same tokens: names, quotations, code.

    Args:
        tokens: Guesses at most.
    """

    def __init__(self, tokens: int = LOOKUP_TOKENS) -> None:
        self.tokens = tokens

    def guess(self, chunks: list[Chunk], tables_SP: Tensor) -> None:
        """Look each text's last tokens up in the text itself."""
        for chunk in chunks:
            if chunk.room:
                chunk.drafts = continuation(chunk.sequence.tokens)[: chunk.room]


def continuation(tokens: list[int]) -> list[int]:
    """What followed the last earlier place of the text's last three tokens, or else two; empty if there is none."""
    ids = array("q", tokens)
    data, size = ids.tobytes(), ids.itemsize
    for length in range(_LONGEST, _SHORTEST - 1, -1):
        if len(tokens) <= length:
            continue
        # The place must end before the text does, so that something follows it.
        place = end = len(data) - size
        last = data[len(data) - length * size :]
        while (place := data.rfind(last, 0, end)) >= 0:
            if place % size == 0:
                return tokens[place // size + length :]
            end = place + len(last) - 1  # found between two numbers
    return []


class DraftModel:
    """Guesses with a smaller model of the same vocabulary.

    It has pages of its own that carry the same numbers as the model's, so whatever is shared, found or given back
    counts for both. But where it was silent a page holds nothing of it, so it remembers what it has computed where, and
    reads what is missing again.

    Args:
        runner: Computes the small model.
        target: The runner of the model that checks the guesses.
        tokens: Guesses at most.

    Raises:
        GenerateError: The two runners' pages differ in number or size.
    """

    def __init__(self, runner: Runner, target: Runner, tokens: int = DRAFT_TOKENS) -> None:
        self.runner, self.tokens, self._vocabulary = runner, tokens, target.config.vocab_size
        ours, theirs = (runner.pages, runner.page_size), (target.pages, target.page_size)
        if ours != theirs:
            raise GenerateError(
                f"the draft model's cache has {ours[0]} pages of {ours[1]} positions, but must have {theirs[0]} of "
                f"{theirs[1]} as the model's"
            )
        self._held = [_Held() for _ in range(runner.pages)]

    def guess(self, chunks: list[Chunk], tables_SP: Tensor) -> None:
        """Catch up with each text, then write on."""
        pieces: list[Piece] = []
        writing: list[Chunk] = []
        copies = [chunk.copied for chunk in chunks if chunk.copied is not None]
        # All at once, as the runner does it: what one copies may be what another is copied to.
        copied = [(target, replace(self._held[source])) for source, target in copies]
        for target, held in copied:
            self._held[target] = held
        for chunk in chunks:
            sequence = chunk.sequence
            end = sequence.computed + chunk.count
            if not sequence.drafted:
                sequence.drafted = self._found(sequence)
            tokens = sequence.tokens[sequence.drafted : end]
            # Behind its context it is silent, and behind an id that it does not have; the model goes on alone.
            config = self.runner.config
            if not chunk.count or end + chunk.room > config.context or max(tokens) >= config.vocab_size:
                continue
            pieces.append(
                Piece(sequence.slot, sequence.drafted, tokens, range(len(tokens) - bool(chunk.room), len(tokens)))
            )
            self._hold(sequence, tokens)
            writing += [chunk] if chunk.room else []
        if not pieces:  # nothing runs, so nothing is copied
            for _, target in copies:
                self._held[target] = _Held()
        while pieces:
            logits_WV = self.runner.logits(rows_of(pieces, tables_SP, copies))
            copies = []
            if not writing:
                return
            # Embeddings may be padded differently.
            V = self._vocabulary
            logits_WV = F.pad(logits_WV[:, :V], (0, max(0, V - logits_WV.shape[1])), value=-float("inf"))
            ids = choose(logits_WV, [chunk.sequence.draw(chunk.drafts) for chunk in writing]).tolist()
            pieces = []
            for chunk, token in zip(writing, ids, strict=True):
                if token < 0:  # its logits are not finite, which is the draft's trouble alone
                    chunk.room = len(chunk.drafts)
                    continue
                chunk.drafts.append(token)
                if len(chunk.drafts) < chunk.room:
                    sequence = chunk.sequence
                    pieces.append(Piece(sequence.slot, sequence.drafted, [token], range(1)))
                    self._hold(sequence, [token])
            writing = [chunk for chunk in writing if len(chunk.drafts) < chunk.room]

    def _found(self, sequence: Sequence) -> int:
        """Positions of a text's beginning that the pages which it was given hold already."""
        size, before = self.runner.page_size, hash(())
        for number, page in enumerate(sequence.pages):
            tokens = tuple(sequence.tokens[number * size : min((number + 1) * size, sequence.computed)])
            held = self._held[page]
            equal = in_common(held.tokens, tokens) if held.before == before else 0
            if equal < size:
                return number * size + equal
            before = hash((before, tokens))
        return len(sequence.pages) * size

    def _hold(self, sequence: Sequence, tokens: list[int]) -> None:
        """Note that the next positions of a text are computed."""
        size = self.runner.page_size
        for token in tokens:
            number, at = divmod(sequence.drafted, size)
            held = self._held[sequence.pages[number]]
            if at == 0:
                held.tokens = ()
                held.before = hash(())
                if number:
                    last = self._held[sequence.pages[number - 1]]
                    held.before = hash((last.before, last.tokens))
            held.tokens = (*held.tokens[:at], token)
            sequence.drafted += 1


@dataclass
class _Held:
    """What a draft model has computed in a page: some tokens, behind a text."""

    before: int = 0
    """A hash of the text; where two had the same, guesses would be worse, and the text no other."""
    tokens: tuple[int, ...] = ()
