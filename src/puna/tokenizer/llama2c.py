"""llama2.c's tokenizer.bin: the pieces and scores of a SentencePiece BPE model, for `run.c`.

The file is the length of the longest piece and then, for each token, its score as float32, the length of its piece and
the piece, with ordinary spaces. The number of tokens is not stored: the list ends with the file. `run.c` assumes that
0, 1 and 2 are <unk>, <s> and </s>, that the 256 bytes follow, and that a space is put before a text.
"""

import struct
from pathlib import Path

from puna.core.errors import ExportError, TokenizerError
from puna.tokenizer.agreement import battery
from puna.tokenizer.sentencepiece import SPACE, SentencePieceTokenizer
from puna.tokenizer.sentencepiece_model import BYTE, CONTROL, NORMAL, UNKNOWN, Piece, read_pieces, write_model
from puna.tokenizer.tokenizer import Tokenizer

FILE = "tokenizer.bin"

_FIRST_BYTE, _BYTES = 3, 256
_FIRST_NORMAL = _FIRST_BYTE + _BYTES
_ENTRY = struct.Struct("<fI")
_CONTROLS = (b"<unk>", b"\n<s>\n", b"\n</s>\n")
"""The texts of the first three tokens, chosen so that text never becomes one of them."""


def write_tokenizer_bin(tokenizer: Tokenizer, path: Path) -> None:
    """Write a tokenizer for `run.c`, and read it back to see that it is the same.

    Raises:
        ExportError: It is not a SentencePiece model, or `run.c` would give other tokens for it.
        OSError: The disk is full.
    """
    pieces = _pieces(tokenizer)
    texts = [piece.text.replace(SPACE, " ").encode() for piece in pieces]
    texts[: len(_CONTROLS)] = _CONTROLS
    with path.open("wb") as file:
        file.write(struct.pack("<I", max(map(len, texts))))
        for piece, text in zip(pieces, texts, strict=True):
            file.write(_ENTRY.pack(piece.score, len(text)) + text)
    written = read_tokenizer_bin(path)
    if other := [text for text in battery() if written.encode(text) != tokenizer.encode(text)]:
        raise ExportError(
            f"{path.name}: gives other tokens than {tokenizer.origin} for {len(other)} of {len(battery())} strings, "
            f"the first is {other[0]!r:.80}"
        )


def read_tokenizer_bin(path: Path) -> SentencePieceTokenizer:
    """The SentencePiece model of a tokenizer.bin, which gives the tokens that `run.c` gives.

    Settings that the file lacks are those of LLaMA's own tokenizer: no normalisation, runs of spaces kept.

    Raises:
        TokenizerError: The file is damaged, or not one that Puna can use.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TokenizerError(f"{path}: cannot be read: {error.strerror}") from None
    pieces = []
    position = 4
    while position < len(content):
        end = position + _ENTRY.size
        if end > len(content):
            raise TokenizerError(f"{path}: ends within the entry of token {len(pieces)}")
        score, length = _ENTRY.unpack_from(content, position)
        position = end + length
        if position > len(content):
            raise TokenizerError(f"{path}: ends within the piece of token {len(pieces)}")
        pieces.append(_piece(path, len(pieces), content[end:position], score))
    model = write_model(pieces, unk="<unk>", bos="<s>", eos="</s>", space_prefix=True)
    return SentencePieceTokenizer(model, str(path))


def _pieces(tokenizer: Tokenizer) -> list[Piece]:
    """The pieces of a tokenizer, if they are in the order that `run.c` assumes."""
    if not isinstance(tokenizer, SentencePieceTokenizer):
        raise ExportError(
            f"{tokenizer.origin}: is not a SentencePiece model, and llama2.c's tokenizer.bin can hold no other"
        )
    pieces = read_pieces(tokenizer.content)
    first = (tokenizer.unk_id, tokenizer.bos_id, tokenizer.eos_id)
    texts = [piece.text for piece in pieces[_FIRST_BYTE:_FIRST_NORMAL]]
    odd = [token for token, piece in enumerate(pieces) if token >= _FIRST_NORMAL and piece.kind != NORMAL]
    why = ""
    if first != (0, 1, 2):
        why = f"has <unk> {first[0]}, <s> {first[1]} and </s> {first[2]}, expected 0, 1 and 2"
    elif texts != [f"<0x{byte:02X}>" for byte in range(_BYTES)]:
        why = "does not have the 256 bytes as tokens 3 to 258"
    elif not tokenizer.space_prefix:
        why = "puts no space before a text"
    elif odd:
        why = f"has token {odd[0]}, {pieces[odd[0]].text!r}, which is not merged like others"
    if why:
        raise ExportError(f"{tokenizer.origin}: {why}, which llama2.c's run.c cannot express")
    return pieces


def _piece(path: Path, token: int, content: bytes, score: float) -> Piece:
    """One piece of the model."""
    kind, expected = NORMAL, content
    if token < len(_CONTROLS):
        kind, expected = CONTROL if token else UNKNOWN, _CONTROLS[token]
    elif token < _FIRST_NORMAL:
        kind, expected = BYTE, b"<0x%02X>" % (token - _FIRST_BYTE)
    if content != expected:
        raise TokenizerError(f"{path}: token {token} is {content[:80]!r}, expected {expected!r}")
    try:
        return Piece(
            content.strip(b"\n").decode() if kind == CONTROL else content.decode().replace(" ", SPACE), score, kind
        )
    except UnicodeDecodeError:
        raise TokenizerError(f"{path}: token {token} is {content[:80]!r}, which is not UTF-8") from None
