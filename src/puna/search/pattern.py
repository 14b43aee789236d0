"""A text that is looked for, as an automaton over its bytes: exactly, or in upper or lower case."""

from collections import defaultdict
from functools import cache

from puna.core.errors import DataError


class Pattern:
    """The byte strings that are looked for, as a deterministic automaton whose node 0 is the beginning.

    Args:
        text: What is looked for.
        fold: Whether a text counts that becomes the same by `str.casefold`, as Unicode defines caseless matching.

    Raises:
        DataError: The text is empty, or has a lone surrogate.
    """

    def __init__(self, text: str, *, fold: bool = False) -> None:
        if not text:
            raise DataError("there is no text to look for")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise DataError("the text to look for is not Unicode: it has a lone surrogate") from None
        self.text = text
        self.next: list[dict[int, int]] = [{}]
        """Of each node, the node behind each byte."""
        if fold:
            self._add_folded(text.casefold())
        else:
            self.next += [{} for _ in range(len(text.encode()))]
            for node, byte in enumerate(text.encode()):
                self.next[node][byte] = node + 1
            self.end = len(self.next) - 1

    def _add_folded(self, folded: str) -> None:
        # The nodes up to the end are the places between two characters of the folded text.
        self.end = len(folded)
        self.next += [{} for _ in folded]
        for place in range(len(folded)):
            for spelling, length in _spellings(folded[place]):
                if folded.startswith(spelling[1], place):
                    self._add(place, spelling[0].encode(), place + length)

    def _add(self, node: int, content: bytes, end: int) -> None:
        for byte in content[:-1]:
            if byte not in self.next[node]:
                self.next.append({})
                self.next[node][byte] = len(self.next) - 1
            node = self.next[node][byte]
        self.next[node][content[-1]] = end


def _spellings(first: str) -> list[tuple[tuple[str, str], int]]:
    """The characters that fold to a text with this first character, with that text and its length."""
    others = [((character, folded), len(folded)) for character, folded in _folding().get(first, [])]
    return others if first.casefold() != first else [((first, first), 1), *others]


@cache
def _folding() -> dict[str, list[tuple[str, str]]]:
    """The characters that folding changes, by the first character of what they become."""
    changed = defaultdict(list)
    for code in range(0x110000):
        character = chr(code)
        folded = character.casefold()
        if folded != character:
            changed[folded[0]].append((character, folded))
    return dict(changed)
