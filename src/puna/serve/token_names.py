r"""Tokens as text, no two of them the same, for objects whose keys are tokens.

OpenAI's completions key the likeliest tokens by their text, so two tokens of one text would be one. A token is named by
its text where that is whole characters and no other token has it; `bytes:\xe2\x80` names one that is a part of a
character, or a byte whose text another token has, too (both as OpenAI's own did); `token_id:7` what is left.
"""

from functools import cached_property
from weakref import WeakKeyDictionary

from puna.infer.requests import Token
from puna.tokenizer.tokenizer import Tokenizer


class TokenNames:
    """The names of a tokenizer's tokens, made when the first is asked for.

    Args:
        tokenizer: The model's.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def __getitem__(self, token: int) -> str:
        """The name of an id; models may have more ids than their tokenizers, and those are named by number."""
        return self._names[token] if 0 <= token < len(self._names) else f"token_id:{token}"

    def best(self, token: Token) -> dict[str, float]:
        """The likeliest tokens of a place and the one that stands there, by name, falling."""
        pairs = {self[one]: logprob for one, logprob in token.best}
        if token.logprob is not None:
            pairs.setdefault(self[token.id], token.logprob)
        return pairs

    @cached_property
    def _names(self) -> list[str]:
        # Tokens of text come first: a byte or a control token of the same text has another name.
        ids = sorted(range(self._tokenizer.vocab_size), key=self._rank)
        names, taken = [""] * len(ids), set[str]()
        for token in ids:
            names[token] = next(name for name in self._wishes(token) if name not in taken)
            taken.add(names[token])
        return names

    def _rank(self, token: int) -> int:
        piece = self._tokenizer.piece(token)
        is_byte = len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">")
        return 1 if is_byte else 2 if self._tokenizer.is_control(token) else 0

    def _wishes(self, token: int) -> list[str]:
        """What a token could be called, the best first."""
        wishes = [f"token_id:{token}"]
        if self._tokenizer.is_control(token):
            return [self._tokenizer.piece(token), *wishes]
        content = self._tokenizer.bytes_of(token)
        wishes.insert(0, "bytes:" + "".join(f"\\x{byte:02x}" for byte in content))
        try:
            return [content.decode(), *wishes]
        except UnicodeDecodeError:
            return wishes


_names: WeakKeyDictionary[Tokenizer, TokenNames] = WeakKeyDictionary()


def names_of(tokenizer: Tokenizer) -> TokenNames:
    """The names of a tokenizer's tokens, made once."""
    if tokenizer not in _names:
        _names[tokenizer] = TokenNames(tokenizer)
    return _names[tokenizer]
