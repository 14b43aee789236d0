"""SentencePiece BPE without loss.

SentencePiece puts a space before the text (the dummy prefix) and writes every space as U+2581, so it reads a U+2581 in
the text as a space. Puna encodes that one character as its three bytes instead, so decoding gives back any text
exactly; for all other text the ids are SentencePiece's own.

Some models lose text before they encode it: OpenLLaMA's first one merges spaces. They can be used unchanged. So can
models without pieces for bytes, in which a character without a piece is unknown, and models of other kinds (unigrams),
whose other forms Puna doesn't write.

Chat models have tokens beside the model, which Hugging Face's library and llama.cpp look for in the text before
anything else, with a dummy prefix for each stretch between them; `Extras.prefix_each` says that this model has such.
"""

import re
from functools import cached_property

import numpy as np
import sentencepiece

from puna.core.errors import TokenizerError
from puna.tokenizer.cuts import cuts_between
from puna.tokenizer.sentencepiece_model import (
    BPE,
    BYTE,
    CHAR,
    UNIGRAM,
    USER_DEFINED,
    WORD,
    Piece,
    adds_bos,
    is_plain_bpe,
    model_type,
    read_extras,
    read_pieces,
)
from puna.tokenizer.stretches import Between, any_of
from puna.tokenizer.tokenizer import Tokenizer
from puna.tokenizer.words import Ids, Lengths, WordEncoder

SPACE = "\u2581"
"""How a piece writes a space."""

_PROBE = "  Two  spaces,\ta \ufb01 ligature\r\n  "
"""Text that a tokenizer changes if it merges spaces or normalises characters."""


_KINDS = {BPE: "BPE", UNIGRAM: "unigram", WORD: "words", CHAR: "characters"}


class SentencePieceTokenizer(Tokenizer):
    """A SentencePiece model, a BPE whose pieces include all 256 bytes as a rule.

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
            self.model_type = model_type(content)
        except (RuntimeError, TypeError, ValueError) as error:
            _check_bytes(content, origin)
            raise TokenizerError(f"{origin}: is not a SentencePiece model, or a damaged one{_reason(error)}") from None
        # No piece is looked up for it: only the dummy prefix turns the tokens of one space into the bytes of two.
        first = processor.encode("a")
        prefix = b"".join(pieces[token] for token in first) == b" a"
        if processor.unk_id() in first:
            prefix = processor.normalize("a") == f"{SPACE}a"
        bos_id, eos_id = processor.bos_id(), processor.eos_id()
        super().__init__(
            content, origin, pieces, bos_id=eos_id if bos_id < 0 else bos_id, eos_id=eos_id,
            unk_id=None if processor.unk_id() < 0 else processor.unk_id(), add_bos=bos_id >= 0 and adds_bos(content),
            space_prefix=prefix,
        )  # fmt: skip
        self.prefix_each, stops = read_extras(content)
        self.stops = (eos_id, *(stop for stop in stops if stop < self.vocab_size))
        self._check_usable()
        if bos_id < 0:
            self.notes.append("no token begins a text; EOS stands for it where one is needed")
        if not self.has_bytes:
            self.notes.append("no tokens stand for single bytes; characters without a piece become the unknown token")

    @cached_property
    def has_bytes(self) -> bool:
        """Whether there is a piece for each byte, so that every text can be written."""
        return len({self._token_bytes[token] for token in range(self.vocab_size) if self.is_byte(token)}) == 256

    @property
    def title(self) -> str:
        """SentencePiece and the kind of model."""
        return f"SentencePiece {_KINDS.get(self.model_type, 'of an unknown kind')}"

    def _check_usable(self) -> None:
        if self.eos_id < 0:
            raise TokenizerError(
                f"{self.origin}: has no token that ends a text",
                hint="name another tokenizer with --tokenizer, or import the weights alone: "
                "`puna import --no-tokenizer`",
            )
        ids = self._processor.encode("a")
        if (
            self.unk_id not in ids and (text := self.decode(ids)) != "a"
        ):  # no piece for the space, or spaces behind words
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
        """Whether spaces and characters are not changed before a text is encoded."""
        if self.has_bytes:
            return self.decode(self._processor.encode(_PROBE)) == _PROBE
        return self._processor.normalize(_PROBE) == (" " * self.space_prefix + _PROBE).replace(" ", SPACE)

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

    @cached_property
    def _found(self) -> re.Pattern[str] | None:
        """The tokens that are looked for in a text before anything else, with a dummy prefix after each."""
        return any_of(self.added) if self.prefix_each else None

    def _encode_texts(self, texts: list[str], threads: int) -> list[list[int]]:
        if self._found is None or not any(map(self._found.search, texts)):
            return self._encode_stretches(texts, threads)
        return Between(self.added).encode(texts, lambda stretches: self._encode_stretches(stretches, threads))

    @cached_property
    def _between_specials(self) -> Between:
        controls = {self.piece(token) for token in range(self.vocab_size) if self.is_control(token)}
        texts = {*controls, *(self.added if self.prefix_each else ())} - {""}
        return Between({text: self._processor.piece_to_id(text) for text in texts})

    def _encode_special(self, text: str) -> list[int]:
        return self._between_specials.encode([text], self.encode_batch)[0]

    def _encode_stretches(self, texts: list[str], threads: int) -> list[list[int]]:
        encoded = self._processor.encode(texts, num_threads=threads)
        if not self.lossless or not self.has_bytes:
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
        if not self.lossless or not self.has_bytes or not is_plain_bpe(self.content) or self._found is not None:
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


def _check_bytes(content: bytes, origin: str) -> None:
    """Say so where a model has pieces for some bytes only, which the library refuses.

    Raises:
        TokenizerError: It has.
    """
    try:
        found = sum(piece.kind == BYTE for piece in read_pieces(content))
    except ValueError:
        return
    if 0 < found < 256:
        raise TokenizerError(
            f"{origin}: has tokens for {found} of the 256 bytes, and SentencePiece takes all or none",
            hint="name another tokenizer with --tokenizer, or import the weights alone: `puna import --no-tokenizer`",
        )


def _reason(error: Exception) -> str:
    """What SentencePiece says is wrong with the pieces of a model, if that is it."""
    said = str(error).split("] ")[-1].strip()
    return f": {said[:200]}" if any(word in said for word in ("defined", "byte", "duplicate")) else ""
