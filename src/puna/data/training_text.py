"""The text that a tokenizer is trained on: training documents in the mixture's shares, as far as the sources reach.

Each source gives its share of `tokenizer.train_bytes`, as it has it of the whole run's tokens. One that has less gives
all it has, and the others fill up in proportion to their shares, as long as no more than a twentieth of the whole then
stands where the shares would have other text; below 10 MB they fill up in any case, because a tokenizer loses more by
too little text. Held-out documents are never among it.

A part of a source is drawn evenly from all its documents: in pieces of at most a 256th of the part, so that a source of
a few books gives pages of each and not one book, or none.
"""

from collections.abc import Iterable, Iterator, Mapping

from puna.config.recipe import Recipe
from puna.core.console import warn
from puna.core.errors import TokenizerError
from puna.core.layout import DataDir
from puna.core.units import format_bytes
from puna.data.documents import documents_of, documents_record
from puna.shards.card import planned_tokens
from puna.shards.split import TRAIN, hash_fraction
from puna.tokenizer.training_text import Portion

ENOUGH = 10_000_000
"""Bytes below which the amount counts more than the shares: tokenizers of 32,000 pieces that learn from 100 MB give 1.2
to 1.6 % fewer tokens, from 3 MB 1.4 to 2.0 % more (bench/results/train_tokenizer_2026-11-30.json)."""
NOT_LEARNED = 259
"""Pieces that need no text: 256 bytes and three control tokens."""
_MOVED = 0.05
"""Largest part of the text that may stand where the shares would have had text of other sources."""
_PIECES = 256
_SMALLEST, _LARGEST = 1024, 1 << 20
"""Bounds of a piece, in characters: a few paragraphs, and a book."""
SHORT = 0.9
"""A source that gives less than this part of its share is warned of."""


class TokenizerText:
    """Training documents of all sources, or pieces of them, in the recipe's order; the same in every pass.

    Args:
        recipe: The mixture and `tokenizer.train_bytes`.
        out: The build with the documents.

    Raises:
        DataError: The documents are missing or damaged.
        TokenizerError: They are too little for `model.vocab_size`.
    """

    def __init__(self, recipe: Recipe, out: DataDir) -> None:
        self._out = out
        results = documents_record(out)["results"]
        planned = planned_tokens(recipe)
        shares = {name: tokens / sum(planned.values()) for name, tokens in planned.items()}
        available = {name: results[name][TRAIN]["bytes"] for name in shares}
        self.portions = portions(shares, available, recipe.tokenizer.train_bytes)
        self._planned = {name: portion.taken for name, portion in self.portions.items()}
        refuse_vocabulary(recipe.model.vocab_size, sum(self._planned.values()))

    def __iter__(self) -> Iterator[str]:
        for name, portion in self.portions.items():
            documents = (document.text for document in documents_of(self._out, name, TRAIN))
            most, portion.taken = self._planned[name], 0
            for text in sample(documents, portion.available, most, hash_fraction(f"tokenizer/{name}")):
                portion.taken += len(text.encode())
                yield text

    def warn(self) -> None:
        """Say which sources give less than their share, and how much."""
        for name, portion in self.portions.items():
            if portion.taken < SHORT * portion.wanted:
                warn(
                    f"the tokenizer learns from all {format_bytes(portion.taken)} of {name!r}, of "
                    f"{format_bytes(portion.wanted)} that its share of the mixture would be; other sources fill up"
                )


def refuse_vocabulary(vocab_size: int, n_bytes: int) -> None:
    """Refuse a vocabulary that no text of `n_bytes` bytes can fill; training may find that the limit is lower.

    Raises:
        TokenizerError: There are more pieces to learn than bytes.
    """
    if vocab_size - NOT_LEARNED > n_bytes:
        raise TokenizerError(
            f"model.vocab_size = {vocab_size} is too large: the tokenizer would learn from {n_bytes} bytes of text",
            hint="lower it, raise tokenizer.train_bytes, or add text",
        )


def portions(shares: Mapping[str, float], available: Mapping[str, int], most: int) -> dict[str, Portion]:
    """What each source gives to a text of at most `most` bytes.

    Args:
        shares: Each source's share of the mixture; their sum is 1.
        available: Bytes that each source has.
        most: `tokenizer.train_bytes`.
    """
    largest = min(most, sum(available.values()))
    low, high = min(largest, ENOUGH), largest
    while low < high:  # the largest text whose sources are moved little enough
        middle = (low + high + 1) // 2
        if _moved(shares, _filled(shares, available, middle)) <= _MOVED:
            low = middle
        else:
            high = middle - 1
    return {
        name: Portion(round(shares[name] * low), available[name], taken)
        for name, taken in _filled(shares, available, low).items()
    }


def _filled(shares: Mapping[str, float], available: Mapping[str, int], size: int) -> dict[str, int]:
    """Bytes of each source in a text of `size` bytes: its share, or all it has, and the others fill up."""
    order = sorted(shares, key=lambda name: available[name] / shares[name])  # the first to be used up comes first
    taken: dict[str, int] = {}
    left = size
    for place, name in enumerate(order):
        rest = sum(shares[other] for other in order[place:])
        taken[name] = min(available[name], round(left * shares[name] / rest))
        left -= taken[name]
    return {name: taken[name] for name in shares}


def _moved(shares: Mapping[str, float], taken: Mapping[str, int]) -> float:
    """The part of the text that is of other sources than the shares would have."""
    whole = sum(taken.values())
    return sum(max(0.0, taken[name] / whole - share) for name, share in shares.items()) if whole else 0.0


def sample(texts: Iterable[str], available: int, most: int, start: float) -> Iterator[str]:
    """Evenly spread pieces of `texts`, in order; neighbours of one text come in one piece.

    Every piece is drawn with the probability `left / rest`, as in Knuth's algorithm S (The Art of Computer Programming,
    volume 2, section 3.4.2), at even distances instead of at random.

    Args:
        texts: All texts of a source.
        available: Their bytes.
        most: Bytes to take, exceeded by less than a piece.
        start: Where to begin, in [0, 1).
    """
    size = max(min(_SMALLEST, most), min(_LARGEST, most // _PIECES), 1)
    left, rest, due = most, available, start
    for text in texts:
        drawn: list[str] = []
        for piece in _pieces(text, size) if most < available else [text]:
            length = len(piece.encode())
            due += 1.0 if left >= rest else left / rest
            rest -= length
            if due >= 1.0 and left > 0:
                due -= 1.0
                left -= length
                drawn.append(piece)
            elif drawn:
                yield "".join(drawn)
                drawn = []
        if drawn:
            yield "".join(drawn)


def _pieces(text: str, size: int) -> Iterator[str]:
    """A text in pieces of at most `size` characters, cut after a paragraph, a line or a space where there is one."""
    begin = 0
    while len(text) - begin > size:
        stop = begin + size
        for mark in ("\n\n", "\n", " "):
            if (found := text.rfind(mark, begin + size // 2, stop)) >= 0:
                stop = found + len(mark)
                break
        yield text[begin:stop]
        begin = stop
    yield text[begin:]
