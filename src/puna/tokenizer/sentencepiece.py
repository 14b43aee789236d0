"""SentencePiece BPE without loss.

SentencePiece puts a space before the text (the dummy prefix) and writes every space as U+2581, so it reads a U+2581 in
the text as a space. Puna encodes that one character as its three bytes instead, so decoding gives back any text
exactly; for all other text the ids are SentencePiece's own.

Some models lose text before they encode it: OpenLLaMA's first one merges spaces. They can be used unchanged.
"""

from functools import cached_property

import numpy as np
import sentencepiece

from puna.core.errors import TokenizerError
from puna.tokenizer.cuts import cuts_between
from puna.tokenizer.sentencepiece_model import USER_DEFINED, Piece, adds_bos, is_plain_bpe, read_pieces
from puna.tokenizer.tokenizer import Tokenizer
from puna.tokenizer.words import Ids, Lengths, WordEncoder

SPACE = "\u2581"
"""How a piece writes a space."""

_PROBE = "  Two  spaces,\ta \ufb01 ligature\r\n  "
"""Text that a tokenizer changes if it merges spaces or normalises characters."""


class SentencePieceTokenizer(Tokenizer):
    """A SentencePiece BPE model whose pieces include all 256 bytes.

    Args:
        content: The content of a `tokenizer.model`.
        origin: What to call it in errors.

    Raises:
        TokenizerError: It is not a SentencePiece model, or not one that Puna can use.
    """

    kind = "sentencepiece"
    file = "tokenizer.model"

    def __init__(self, content: bytes, origin: str = "tokenizer.model") -> None:
        self._processor = processor = sentencepiece.SentencePieceProcessor()
        try:
            processor.LoadFromSerializedProto(content)
            pieces = [self._read_piece(token) for token in range(processor.vocab_size())]
        except (RuntimeError, TypeError, ValueError):
            raise TokenizerError(f"{origin}: is not a SentencePiece model, or a damaged one") from None
        # No piece is looked up for it: only the dummy prefix turns the tokens of one space into the bytes of two.
        prefix = b"".join(pieces[token] for token in processor.encode("a")) == b" a"
        super().__init__(
            content, origin, pieces, bos_id=processor.bos_id(), eos_id=processor.eos_id(), unk_id=processor.unk_id(),
            add_bos=adds_bos(content), space_prefix=prefix,
        )  # fmt: skip
        self._check_usable()

    def _check_usable(self) -> None:
        if self.bos_id < 0 or self.eos_id < 0:
            raise TokenizerError(f"{self.origin}: has <s> {self.bos_id} and </s> {self.eos_id}, Puna needs both")
        n_bytes = len({self._token_bytes[token] for token in range(self.vocab_size) if self.is_byte(token)})
        if n_bytes != 256:
            raise TokenizerError(f"{self.origin}: has {n_bytes} byte pieces of 256, so it cannot write every text")
        if (text := self.decode(self._processor.encode("a"))) != "a":  # no piece for the space, or spaces behind words
            raise TokenizerError(f"{self.origin}: gives 'a' back as {text!r:.80}, so no text would come back as it was")

    @cached_property
    def added(self) -> dict[str, int]:
        """Ids of the user-defined pieces."""
        return {piece.text: token for token, piece in enumerate(self.pieces) if piece.kind == USER_DEFINED}

    @cached_property
    def pieces(self) -> list[Piece]:
        """The vocabulary as stored in the file."""
        try:
            return read_pieces(self.content)
        except ValueError as error:
            raise TokenizerError(f"{self.origin}: is a damaged SentencePiece model: {error!s:.200}") from None

    @cached_property
    def lossless(self) -> bool:
        """Whether decoding gives the text back: spaces and characters are not changed."""
        return self.decode(self._processor.encode(_PROBE)) == _PROBE

    def piece(self, token: int) -> str:
        """The piece of the vocabulary with this id."""
        return self._processor.id_to_piece(token)

    def score(self, token: int) -> float:
        """The piece's score: the higher it is, the earlier its merge was learned."""
        return self._processor.get_score(token)

    def is_byte(self, token: int) -> bool:
        """Whether the piece stands for one byte."""
        return self._processor.is_byte(token)

    def is_control(self, token: int) -> bool:
        """Whether the piece is <unk>, <s>, </s> or another one without text."""
        return self._processor.is_control(token) or self._processor.is_unknown(token)

    def _encode_texts(self, texts: list[str], threads: int) -> list[list[int]]:
        encoded = self._processor.encode(texts, num_threads=threads)
        if not self.lossless:
            return encoded
        return [
            self._encode_around_spaces(text) if SPACE in text else ids for text, ids in zip(texts, encoded, strict=True)
        ]

    def _word_encoder(self) -> WordEncoder | None:
        pieces = [
            content
            for token, content in enumerate(self._token_bytes)
            if not self.is_byte(token) and not self.is_control(token)
        ]
        if not self.lossless or not is_plain_bpe(self.content):
            return None
        known = {"\0": [self._nul], SPACE: self._space_ids}
        prefix = " " if self.space_prefix else ""
        return WordEncoder(self._encode_words, cuts_between(pieces), prefix=prefix, known=known, aside=SPACE)

    def _encode_words(self, words: list[str]) -> tuple[Ids, Lengths]:
        """Ids of words as in the middle of a text, all in one call, separated by NUL."""
        ids = np.array(self._processor.encode("\0" + "\0".join(words) + "\0"), dtype=np.uint32)
        borders = np.flatnonzero(ids == self._nul)
        ids = ids[borders[0] :]  # the dummy prefix is before it
        return ids[ids != self._nul], np.diff(borders) - 1

    @cached_property
    def _nul(self) -> int:
        return self._processor.piece_to_id("<0x00>")

    def _encode_around_spaces(self, text: str) -> list[int]:
        """Encode a text that holds U+2581: each one as its bytes, the text between them as usual."""
        first, *rest = text.split(SPACE)
        ids = [*(self._processor.encode(first) if first else self._prefix_ids)]
        for stretch in rest:
            ids += self._space_ids
            if stretch:
                ids += self._encode_without_prefix(stretch)
        return ids

    @cached_property
    def _prefix_ids(self) -> list[int]:
        return [self._processor.piece_to_id(SPACE)] if self.space_prefix else []

    @cached_property
    def _space_ids(self) -> list[int]:
        return [self._processor.piece_to_id(f"<0x{byte:02X}>") for byte in SPACE.encode()]

    def _encode_without_prefix(self, stretch: str) -> list[int]:
        """Ids of a part in the middle of a text, without a dummy prefix.

        SentencePiece never learns a piece with NUL in it, so nothing merges across one and the text after it is encoded
        on its own.
        """
        return self._processor.encode("\0" + stretch)[len(self._processor.encode("\0")) :]

    def _read_piece(self, token: int) -> bytes:
        if self.is_control(token):
            return b""
        piece = self.piece(token)
        return bytes([int(piece[3:5], 16)]) if self.is_byte(token) else piece.replace(SPACE, " ").encode()
