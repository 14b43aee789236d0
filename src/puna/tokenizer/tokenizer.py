"""Text to token ids and back, without loss, by SentencePiece BPE.

SentencePiece puts a space before the text (the dummy prefix) and writes every space as U+2581, so it reads a U+2581 in
the text as a space. Puna writes that one character as its three bytes instead, so decoding gives back any text
exactly; for all other text the ids are SentencePiece's own.
"""

from functools import cached_property
from pathlib import Path

import sentencepiece

from puna.core.errors import TokenizerError
from puna.core.files import sha256_bytes

SPACE = "\u2581"
"""How a piece writes a space."""

FILE = "tokenizer.model"

_PROBE = "  Two  spaces,\ta \ufb01 ligature, \u2581\r\n"
"""What a tokenizer changes that merges spaces, normalises characters or puts no dummy prefix before the text."""


class Tokenizer:
    """A SentencePiece model; `load` reads it.

    Args:
        model_bytes: The content of a `tokenizer.model`.
        origin: What to call it in errors.

    Raises:
        TokenizerError: It is no SentencePiece model, or not one that Puna can use.
    """

    def __init__(self, model_bytes: bytes, origin: str = FILE) -> None:
        self.model_bytes = model_bytes
        self.origin = origin
        processor = sentencepiece.SentencePieceProcessor()
        try:
            processor.LoadFromSerializedProto(model_bytes)
            self._processor = processor
            self.vocab_size: int = processor.vocab_size()
            self._token_bytes = [self._read_piece(token) for token in range(self.vocab_size)]
        except (RuntimeError, TypeError, ValueError):
            raise TokenizerError(f"{origin}: is no SentencePiece model, or a damaged one") from None
        self.unk_id: int = processor.unk_id()
        self.bos_id: int = processor.bos_id()
        self.eos_id: int = processor.eos_id()
        self._check_usable()

    def _check_usable(self) -> None:
        ids = (self.unk_id, self.bos_id, self.eos_id)
        if ids != (0, 1, 2):
            raise TokenizerError(
                f"{self.origin}: has <unk> {ids[0]}, <s> {ids[1]} and </s> {ids[2]}, expected 0, 1 and 2"
            )
        n_bytes = len({self._token_bytes[token] for token in range(self.vocab_size) if self.is_byte(token)})
        if n_bytes != 256:
            raise TokenizerError(f"{self.origin}: has {n_bytes} byte pieces of 256, so it cannot write every text")
        if self.decode(self.encode(_PROBE)) != _PROBE:
            raise TokenizerError(
                f"{self.origin}: does not give text back as it was; Puna needs a model that does not normalise, keeps "
                "runs of spaces and puts a dummy prefix before the text"
            )

    @classmethod
    def load(cls, path: Path) -> "Tokenizer":
        """The tokenizer in a file, or in a directory that holds `tokenizer.model`.

        Raises:
            TokenizerError: There is none, or it is not one that Puna can use.
        """
        file = path
        try:
            if path.is_dir():
                file = path / FILE
            model_bytes = file.read_bytes()
        except OSError as error:
            raise TokenizerError(f"{file}: cannot be read: {error.strerror}") from None
        return cls(model_bytes, str(file))

    @cached_property
    def sha256(self) -> str:
        """The hash of the model's bytes: equal tokenizers have equal hashes."""
        return sha256_bytes(self.model_bytes)

    def piece(self, token: int) -> str:
        """The piece of the vocabulary with this id."""
        return self._processor.id_to_piece(token)

    def score(self, token: int) -> float:
        """The piece's score: the higher it is, the earlier the merge that makes it was learned."""
        return self._processor.get_score(token)

    def is_byte(self, token: int) -> bool:
        """Whether the piece stands for one byte."""
        return self._processor.is_byte(token)

    def is_control(self, token: int) -> bool:
        """Whether the piece is <unk>, <s>, </s> or another that stands for no text."""
        return self._processor.is_control(token) or self._processor.is_unknown(token)

    def encode(self, text: str, *, bos: bool = False, eos: bool = False) -> list[int]:
        """Token ids of `text`; the text of a control token (`<s>`) is text like any other.

        Raises:
            TokenizerError: The text has a lone surrogate, so it is not Unicode text.
        """
        return [self.bos_id] * bos + self.encode_batch([text])[0] + [self.eos_id] * eos

    def encode_batch(self, texts: list[str], *, threads: int = 1) -> list[list[int]]:
        """Token ids of each text, on several threads.

        Raises:
            TokenizerError: A text has a lone surrogate.
        """
        for text in texts:
            check_unicode(text)
        encoded = self._processor.encode(texts, num_threads=threads)
        return [
            self._encode_around_spaces(text) if SPACE in text else ids for text, ids in zip(texts, encoded, strict=True)
        ]

    def _encode_around_spaces(self, text: str) -> list[int]:
        """Encode a text that holds U+2581: each one as its bytes, the stretches between as they stand."""
        first, *rest = text.split(SPACE)
        ids = self._processor.encode(first) if first else [self._processor.piece_to_id(SPACE)]
        for stretch in rest:
            ids += self._space_ids
            if stretch:
                ids += self._encode_without_prefix(stretch)
        return ids

    @cached_property
    def _space_ids(self) -> list[int]:
        return [self._processor.piece_to_id(f"<0x{byte:02X}>") for byte in SPACE.encode()]

    def _encode_without_prefix(self, stretch: str) -> list[int]:
        """Ids of text in the middle of a text, where no dummy prefix belongs.

        SentencePiece never learns a piece that holds NUL, so nothing merges across one and what follows begins afresh.
        """
        return self._processor.encode("\0" + stretch)[len(self._processor.encode("\0")) :]

    def decode(self, ids: list[int]) -> str:
        """The text of `ids`; bytes that are no UTF-8 become U+FFFD.

        Raises:
            TokenizerError: An id is not in the vocabulary.
        """
        text = b"".join([self.bytes_of(token) for token in ids])
        return text.removeprefix(b" ").decode("utf-8", errors="replace")

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

    def _read_piece(self, token: int) -> bytes:
        if self.is_control(token):
            return b""
        piece = self.piece(token)
        return bytes([int(piece[3:5], 16)]) if self.is_byte(token) else piece.replace(SPACE, " ").encode()


def check_unicode(text: str) -> None:
    """Raise a `TokenizerError` where `text` has a lone surrogate, half of a character."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TokenizerError(
            f"the text has a lone surrogate, U+{ord(text[error.start]):04X}, at position {error.start}"
        ) from None
