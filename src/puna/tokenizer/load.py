"""The tokenizer in a file or directory of any form, recognised by its content and not by its name."""

import json
from pathlib import Path
from typing import Any

from puna.core.errors import TokenizerError
from puna.tokenizer.byte_bpe import ByteBPETokenizer, is_byte_level
from puna.tokenizer.gguf import read_gguf_tokenizer
from puna.tokenizer.gguf_header import is_gguf, read_header
from puna.tokenizer.llama2c import read_tokenizer_bin
from puna.tokenizer.sentencepiece import SentencePieceTokenizer
from puna.tokenizer.sentencepiece_json import is_sentencepiece_like, read_sentencepiece_json
from puna.tokenizer.sentencepiece_model import add_no_bos
from puna.tokenizer.tiktoken import is_tiktoken, read_tiktoken
from puna.tokenizer.tokenizer import Tokenizer

NAMES = ("tokenizer.model", "tokenizer.json")
"""Names of a directory's tokenizer, in the order in which they are tried."""

_LARGEST = 1 << 28
"""Bytes of a tokenizer's file, at most; so weights that are named by mistake do not fill the memory."""


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer in a file, or in a directory that holds one.

    A file is SentencePiece's, Hugging Face's tokenizer.json, Llama 3's list of ranks or a GGUF file; or llama2.c's
    tokenizer.bin, which nothing in it shows, so that its name must end in .bin. Of a tokenizer_config.json beside it
    counts which tokens begin and end a text, and whether encoders put the first.

    Raises:
        TokenizerError: There is none, or it is not one that Puna can use.
        FormatError: It is a damaged GGUF file.
    """
    file = path
    if path.is_dir():
        if (found := find_tokenizer(path)) is None:
            raise TokenizerError(f"{path}: holds no tokenizer, neither {' nor '.join(NAMES)}")
        file = found
    if is_gguf(file):
        if (tokenizer := read_gguf_tokenizer(read_header(file).metadata, str(file))) is None:
            raise TokenizerError(f"{file}: has no tokenizer")
        return tokenizer
    content, origin = _read(file), str(file)
    if file.suffix == ".bin":
        return read_tokenizer_bin(file)
    config = _config(file.with_name("tokenizer_config.json"))
    if is_tiktoken(content):
        return read_tiktoken(content, origin)
    if content.lstrip()[:1] == b"{":
        return _read_json(content, origin, config)
    if config is not None and config.get("add_bos_token") is False:
        content = add_no_bos(content)
    return SentencePieceTokenizer(content, origin)


def find_tokenizer(directory: Path) -> Path | None:
    """The file of the tokenizer in a directory, if there is one."""
    return next((directory / name for name in NAMES if (directory / name).is_file()), None)


def _read_json(content: bytes, origin: str, config: dict[str, Any] | None) -> Tokenizer:
    try:
        data = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise TokenizerError(f"{origin}: is not JSON: {error!s:.200}") from None
    if is_byte_level(data):
        return ByteBPETokenizer(content, origin, config)
    if is_sentencepiece_like(data):
        return read_sentencepiece_json(data, content, origin, config)
    raise TokenizerError(
        f"{origin}: is not a tokenizer.json of a byte-level BPE, nor of a BPE that falls back to bytes"
    )


def _config(path: Path) -> dict[str, Any] | None:
    """The content of tokenizer_config.json; empty if there is none."""
    if not path.is_file():
        return None
    try:
        config = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise TokenizerError(f"{path}: cannot be read: {error!s:.200}") from None
    if not isinstance(config, dict):
        raise TokenizerError(f"{path}: is JSON, but not an object")
    return config


def _read(file: Path) -> bytes:
    try:
        if (size := file.stat().st_size) > _LARGEST:
            raise TokenizerError(f"{file}: has {size} bytes, more than any tokenizer")
        return file.read_bytes()
    except OSError as error:
        raise TokenizerError(f"{file}: cannot be read: {error.strerror}") from None
