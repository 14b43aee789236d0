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


class Tokenizer:
    """A SentencePiece model; `load` reads it.

    Args:
        model_bytes: The content of a `tokenizer.model`.
        origin: What to call it in errors.
    """

    def __init__(self, model_bytes: bytes, origin: str = FILE) -> None:
        self.model_bytes = model_bytes
        self.origin = origin
        processor = sentencepiece.SentencePieceProcessor()
        try:
            processor.LoadFromSerializedProto(model_bytes)
        except (RuntimeError, TypeError):
            raise TokenizerError(f"{origin}: is no SentencePiece model") from None
        self._processor = processor
        self.vocab_size: int = processor.vocab_size()
        self.unk_id: int = processor.unk_id()
        self.bos_id: int = processor.bos_id()
        self.eos_id: int = processor.eos_id()
        if (self.unk_id, self.bos_id, self.eos_id) != (0, 1, 2):
            raise TokenizerError(
                f"{origin}: has <unk> {self.unk_id}, <s> {self.bos_id} and </s> {self.eos_id}, expected 0, 1 and 2"
            )
        byte_ids = {int(self.piece(i)[3:5], 16): i for i in range(self.vocab_size) if processor.is_byte(i)}
        if len(byte_ids) != 256:
            raise TokenizerError(f"{origin}: has {len(byte_ids)} byte pieces of 256, so it cannot write every text")
        self._space_ids = [byte_ids[byte] for byte in SPACE.encode()]

    @classmethod
    def load(cls, path: Path) -> "Tokenizer":
        """The tokenizer in a file, or in a directory that holds `tokenizer.model`.

        Raises:
            TokenizerError: There is none, or it is not one that Puna can use.
        """
        file = path / FILE if path.is_dir() else path
        try:
            return cls(file.read_bytes(), str(file))
        except OSError as error:
            raise TokenizerError(f"{file}: cannot be read: {error.strerror}") from None

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
            _check_unicode(text)
        encoded = self._processor.encode(texts, num_threads=threads)
        return [
            self._encode_around_spaces(text) if SPACE in text else ids for text, ids in zip(texts, encoded, strict=True)
        ]

    def _encode_around_spaces(self, text: str) -> list[int]:
        """Encode a text that holds U+2581: each one as its bytes, the stretches between as they stand."""
        first, *rest = text.split(SPACE)
        ids = self._processor.encode(first) if first else [self._dummy_prefix]
        for stretch in rest:
            ids += self._space_ids
            if stretch:
                ids += self._without_prefix(stretch)
        return ids

    @cached_property
    def _dummy_prefix(self) -> int:
        return self._processor.piece_to_id(SPACE)

    def _without_prefix(self, stretch: str) -> list[int]:
        """Ids of text in the middle of a text, where no dummy prefix belongs.

        A newline is never merged with what follows it, so what is encoded after one begins afresh.
        """
        newline = self._processor.encode("\n")
        ids = self._processor.encode("\n" + stretch)
        return ids[len(newline) :]

    def decode(self, ids: list[int]) -> str:
        """The text of `ids`; bytes that are no UTF-8 become U+FFFD.

        Raises:
            TokenizerError: An id is not in the vocabulary.
        """
        table = self.token_bytes()
        try:
            text = b"".join([table[token] if token >= 0 else table[self.vocab_size] for token in ids])
        except IndexError:
            bad = next(token for token in ids if not 0 <= token < self.vocab_size)
            raise TokenizerError(f"{self.origin}: token {bad} is not in the vocabulary of {self.vocab_size}") from None
        return text.removeprefix(b" ").decode("utf-8", errors="replace")

    def token_bytes(self) -> list[bytes]:
        """The bytes of text that each id stands for; none for a control token."""
        return self._token_bytes

    @cached_property
    def _token_bytes(self) -> list[bytes]:
        return [self._bytes_of(token) for token in range(self.vocab_size)]

    def _bytes_of(self, token: int) -> bytes:
        if self.is_control(token):
            return b""
        piece = self.piece(token)
        return bytes([int(piece[3:5], 16)]) if self.is_byte(token) else piece.replace(SPACE, " ").encode()


def _check_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TokenizerError(
            f"the text has a lone surrogate, U+{ord(text[error.start]):04X}, at position {error.start}"
        ) from None
