"""A SentencePiece model's file, read and written: a protocol buffer of pieces and the two specifications used here.

The fields are those of sentencepiece_model.proto: ModelProto has pieces (1), trainer_spec (2) and normalizer_spec (3);
a piece has its text (1), score (2) and type (3).
"""

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
"""Types of pieces; GGUF numbers them alike."""

UNIGRAM, BPE, WORD, CHAR = range(1, 5)
"""Kinds of models, `model_type` of trainer_spec."""

_NO_BOS = b"\xc0\x3e\x01"
"""Field 1000 of ModelProto, which leaves numbers from 200 on to extensions: true."""
_EXTRAS = b"\xca\x3e"
"""The key of field 1001, bytes: what `Extras` holds."""

_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5


class Piece(NamedTuple):
    """An entry of the vocabulary; its position is its id."""

    text: str
    score: float
    """The higher it is, the earlier the piece is merged."""
    kind: int


class Extras(NamedTuple):
    """What other systems say beside a model and the file has no field for; other readers of the file ignore it."""

    prefix_each: bool = False
    """Whether a dummy prefix is put before the text after a user-defined piece, too."""
    stops: tuple[int, ...] = ()
    """Tokens besides EOS at which generating ends."""


_NOTHING = Extras()


def read_pieces(content: bytes) -> list[Piece]:
    """The pieces of a model.

    Raises:
        ValueError: It is not such a file, or a damaged one.
    """
    pieces = []
    for number, value in _fields(content):
        if number == 1 and isinstance(value, bytes):
            fields = dict(_fields(value))
            text, score, kind = fields.get(1, b""), fields.get(2, b"\0\0\0\0"), fields.get(3, NORMAL)
            if not isinstance(text, bytes) or not isinstance(score, bytes) or not isinstance(kind, int):
                raise ValueError("a piece has a field of another type")
            pieces.append(Piece(text.decode(), struct.unpack("<f", score)[0], kind))
    return pieces


def model_type(content: bytes) -> int:
    """Which kind of model it is, a unigram where it does not say.

    Raises:
        ValueError: It is not such a file, or a damaged one.
    """
    kind = _specifications(content)[0].get(3, UNIGRAM)
    return kind if isinstance(kind, int) else 0


def is_plain_bpe(content: bytes) -> bool:
    """Whether a model is a BPE that changes no characters, keeps all spaces and writes them before words.

    Raises:
        ValueError: It is not such a file, or a damaged one.
    """
    trainer, normalizer = _specifications(content)
    # model_type, treat_whitespace_as_suffix; precompiled_charsmap, remove_extra_whitespaces, escape_whitespaces
    merges = trainer.get(3) == BPE and not trainer.get(24)
    return merges and not normalizer.get(2) and not normalizer.get(4, 1) and bool(normalizer.get(5, 1))


def _specifications(content: bytes) -> tuple[dict[int, int | bytes], dict[int, int | bytes]]:
    """The fields of trainer_spec and of normalizer_spec."""
    trainer: dict[int, int | bytes] = {}
    normalizer: dict[int, int | bytes] = {}
    for number, value in _fields(content):
        if isinstance(value, bytes) and number in (2, 3):
            (trainer if number == 2 else normalizer).update(_fields(value))
    return trainer, normalizer


def write_model(
    pieces: Iterable[Piece], *, unk: str, bos: str, eos: str, space_prefix: bool, extras: Extras = _NOTHING
) -> bytes:
    """A BPE model that changes no character and keeps runs of spaces; it falls back to bytes if it has all of them.

    Args:
        pieces: The vocabulary.
        unk: The text of the piece for unknown characters.
        bos: The text of the piece that begins a text.
        eos: The text of the piece that ends a text.
        space_prefix: Whether a space is put before a text.
        extras: What the file has no field for.
    """
    pieces = list(pieces)
    vocabulary = [_piece(piece) for piece in pieces]
    has_bytes = sum(piece.kind == BYTE for piece in pieces) == 256
    names = b"".join(_field(number, name.encode()) for number, name in ((45, unk), (46, bos), (47, eos)))
    trainer = _integer(3, BPE) + _integer(4, len(vocabulary)) + _integer(35, int(has_bytes)) + names
    normalizer = _field(1, b"identity") + _integer(3, int(space_prefix)) + _integer(4, 0) + _integer(5, 1)
    return b"".join(vocabulary) + _field(2, trainer) + _field(3, normalizer) + _extras(extras)


def with_pieces(content: bytes, pieces: Iterable[Piece], *, bos: str, eos: str, extras: Extras) -> bytes:
    """The same model with other pieces, other ends of a text and other extras; all else stays.

    Args:
        content: The model.
        pieces: The vocabulary.
        bos: The text of the piece that begins a text.
        eos: The text of the piece that ends a text.
        extras: Take the place of the model's own.

    Raises:
        ValueError: It is not such a file, or a damaged one.
    """
    no_bos = not adds_bos(content)
    kept = b"".join(
        _field(number, value) if isinstance(value, bytes) else _integer(number, value)
        for number, value in _fields(content)
        if number not in (1, 1000, 1001)
    )
    vocabulary = [_piece(piece) for piece in pieces]
    # Messages of one field are merged, and of a field's values the last one counts.
    spec = _field(2, _integer(4, len(vocabulary)) + _field(46, bos.encode()) + _field(47, eos.encode()))
    model = b"".join(vocabulary) + kept + spec + _extras(extras)
    return add_no_bos(model) if no_bos else model


def read_extras(content: bytes) -> Extras:
    """What `with_pieces` noted at the end of a model."""
    content = content.removesuffix(_NO_BOS)
    at = content.rfind(_EXTRAS)
    try:
        length, begin = _read_varint(content, at + len(_EXTRAS))
        if at < 0 or length < 1 or begin + length != len(content):
            return _NOTHING
        stops, position = [], begin + 1
        while position < len(content):
            stop, position = _read_varint(content, position)
            stops.append(stop)
    except ValueError:
        return _NOTHING
    return Extras(bool(content[begin]), tuple(stops))


def _extras(extras: Extras) -> bytes:
    if extras == _NOTHING:
        return b""
    return _field(1001, bytes([extras.prefix_each]) + b"".join(map(_varint, extras.stops)))


def _piece(piece: Piece) -> bytes:
    return _field(
        1, _field(1, piece.text.encode()) + b"\x15" + struct.pack("<f", piece.score) + _integer(3, piece.kind)
    )


def add_no_bos(content: bytes) -> bytes:
    """The same model, with a note that encoders add no token before a text; other readers ignore it."""
    return content + _NO_BOS if adds_bos(content) else content


def adds_bos(content: bytes) -> bool:
    """Whether encoders add a token before a text: they do unless the model has that note."""
    return not content.endswith(_NO_BOS)


def _fields(content: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The number and the value, an integer or bytes, of each field in a message."""
    position = 0
    while position < len(content):
        key, position = _read_varint(content, position)
        wire = key & 7
        if wire == _VARINT:
            value, position = _read_varint(content, position)
            yield key >> 3, value
            continue
        if wire == _BYTES:
            length, position = _read_varint(content, position)
        elif wire in (_EIGHT_BYTES, _FOUR_BYTES):
            length = 8 if wire == _EIGHT_BYTES else 4
        else:
            raise ValueError(f"wire type {wire} at byte {position}")
        if position + length > len(content):
            raise ValueError(f"a field goes beyond the {len(content)} bytes")
        yield key >> 3, content[position : position + length]
        position += length


def _read_varint(content: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(content) or shift > 63:
            raise ValueError(f"a number has no end at byte {position}")
        byte = content[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def _integer(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1  # a negative number is its two's complement
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])
