"""The interface of every tokenizer: text to token ids and back, without loss.

Whether a text's ids begin with the token that begins a sequence (BOS) is decided in one place: `add_bos` holds what the
tokenizer's own files ask of every encoder, and exports write that value into every form. No method adds the token on
its own: `encode` adds it if `bos=True` asks for it.
"""

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np

from puna.core.errors import TokenizerError
from puna.core.files import sha256_bytes
from puna.tokenizer.stretches import Between
from puna.tokenizer.words import Ids, WordEncoder, can_cut

Kind = Literal["sentencepiece", "byte-bpe"]

_MANY = 1 << 21
"""Characters that the library encodes in about the time that loading the word encoder takes."""

_EACH = 64
"""Characters that the library encodes in about the time that one call of it takes."""

_FEW = 256
"""Characters that the library encodes in less time than one call of the word encoder takes."""


class Tokenizer(ABC):
    """A tokenizer; `load_tokenizer` reads one of any form.

    Args:
        content: The native file.
        origin: What to call it in errors.
        token_bytes: The bytes of text of each id, none for a control token.
        bos_id: The token that begins a text.
        eos_id: The token that ends a text; it may be the same.
        unk_id: The token for unknown characters, if there is one.
        add_bos: Whether encoders add BOS before a text.
        space_prefix: Whether a space that is not in the text is put before it (the dummy prefix).
    """

    kind: ClassVar[Kind]
    file: ClassVar[str]
    """The name of the native file."""

    def __init__(
        self, content: bytes, origin: str, token_bytes: list[bytes], *, bos_id: int, eos_id: int, unk_id: int | None,
        add_bos: bool, space_prefix: bool,
    ) -> None:  # fmt: skip
        self.content = content
        self.origin = origin
        self.vocab_size = len(token_bytes)
        self.bos_id = bos_id
        self.eos_id = eos_id
        self.unk_id = unk_id
        self.add_bos = add_bos
        self.space_prefix = space_prefix
        self.stops: tuple[int, ...] = (eos_id,)
        """The tokens at which generating ends, EOS first."""
        self.notes: list[str] = []
        """One sentence on each thing that a text loses, and on what was left out when files were read."""
        self._token_bytes = token_bytes
        self._encoded = 0

    def __reduce__(self) -> tuple[Any, ...]:
        """Make copies read the file again: a copy of the library's object would read control tokens in a text."""
        return type(self), (self.content, self.origin)

    @cached_property
    def sha256(self) -> str:
        """The hash of the native file: equal tokenizers have equal hashes."""
        return sha256_bytes(self.content)

    @property
    def title(self) -> str:
        """What people call this kind."""
        return {"sentencepiece": "SentencePiece BPE", "byte-bpe": "byte-level BPE"}[self.kind]

    @property
    def missing_bytes(self) -> bytes:
        """The bytes that no token stands for, which a text loses."""
        return b""

    def kept(self, text: str) -> str:
        """A text without the bytes that no token stands for; U+FFFD where a character loses one of several."""
        return text.encode().translate(None, self.missing_bytes).decode("utf-8", errors="replace")

    @abstractmethod
    def piece(self, token: int) -> str:
        """The text of this id in the vocabulary."""

    @property
    @abstractmethod
    def added(self) -> dict[str, int]:
        """Ids of ordinary tokens that are found in a text before anything else, by their text."""

    @abstractmethod
    def is_control(self, token: int) -> bool:
        """Whether the id has no text: it begins or ends one, or is unknown or unused."""

    @abstractmethod
    def _encode_texts(self, texts: list[str], threads: int) -> list[list[int]]:
        """Ids of each text; the texts are Unicode."""

    @abstractmethod
    def _encode_special(self, text: str) -> list[int]:
        """Ids of a Unicode text in which the texts of control tokens are those tokens."""

    def encode(self, text: str, *, bos: bool = False, eos: bool = False, special: bool = False) -> list[int]:
        """Token ids of `text`; the text of a control token (`<s>`) is text like any other, unless `special`.

        Args:
            text: Unicode text.
            bos: Whether BOS is put before it.
            eos: Whether EOS is put after it.
            special: Whether the text of a control token is that token, as in what a chat template writes. Never set it
                for text from outside.

        Raises:
            TokenizerError: The text has a lone surrogate, so it is not Unicode text.
        """
        ids = (self.encode_special if special else self.encode_batch)([text])[0]
        return [self.bos_id] * bos + ids + [self.eos_id] * eos

    def encode_special(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each text, in which the texts of control tokens are those tokens: never for text from outside.

        Raises:
            TokenizerError: A text has a lone surrogate.
        """
        for text in texts:
            check_unicode(text)
        between = self._between_specials
        if between is None:
            return [self._encode_special(text) for text in texts]
        return between.encode(texts, self.encode_batch)

    @cached_property
    def _between_specials(self) -> Between | None:
        """What finds the control tokens in a text; None where only the library can tell."""
        return None

    def encode_batch(self, texts: list[str], *, threads: int = 1) -> list[list[int]]:
        """Token ids of each text, on several threads.

        Raises:
            TokenizerError: A text has a lone surrogate.
        """
        words = self._words_for(texts)
        if words is None:
            return self._encode_texts(texts, threads)
        return [ids.tolist() for ids in words.encode(texts, threads)]

    def encode_arrays(self, texts: list[str], *, threads: int = 1) -> list[Ids]:
        """`encode_batch` as arrays of uint32, which take a tenth of the memory and less time.

        Raises:
            TokenizerError: A text has a lone surrogate.
        """
        words = self._words_for(texts)
        if words is None:
            return [np.array(ids, dtype=np.uint32) for ids in self._encode_texts(texts, threads)]
        return words.encode(texts, threads)

    def _words_for(self, texts: list[str]) -> WordEncoder | None:
        """The word encoder for these texts; None where it is not possible or not worth loading."""
        for text in texts:
            check_unicode(text)
        size = sum(map(len, texts))
        self._encoded += size + _EACH * len(texts)
        return self._words if size >= _FEW and self._encoded >= _MANY else None

    @cached_property
    def _words(self) -> WordEncoder | None:
        return self._word_encoder() if can_cut() else None

    def _word_encoder(self) -> WordEncoder | None:
        """An encoder word by word that gives the same ids; None where the tokenizer's texts have no cuts."""
        return None

    def decode(self, ids: list[int]) -> str:
        """The text of `ids`; bytes that are not UTF-8 become U+FFFD.

        Raises:
            TokenizerError: An id is not in the vocabulary.
        """
        text = b"".join([self.bytes_of(token) for token in ids])
        if self.space_prefix:
            text = text.removeprefix(b" ")
        return text.decode("utf-8", errors="replace")

    def bytes_of(self, token: int) -> bytes:
        """The bytes of text that an id stands for, none for a control token; they may be part of a character.

        Raises:
            TokenizerError: The id is not in the vocabulary.
        """
        if not 0 <= token < self.vocab_size:
            raise TokenizerError(f"{self.origin}: token {token} is not in the vocabulary of {self.vocab_size}")
        return self._token_bytes[token]

    def token_bytes(self) -> list[bytes]:
        """`bytes_of` every id, in order."""
        return self._token_bytes


def check_unicode(text: str) -> None:
    """Raise a `TokenizerError` where `text` has a lone surrogate, half of a character."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TokenizerError(
            f"the text has a lone surrogate, U+{ord(text[error.start]):04X}, at position {error.start}"
        ) from None
