"""A small tokenizer, LLaMA's own vocabulary, and text that brings tokenizers into trouble.

LLaMA's vocabulary and the Declaration of Human Rights in its languages are not part of the project: they are read from
the directory that `PUNA_TEST_DATA` names, by default `shared/data` beside the repository. Without them some tests skip.
"""

import inspect
import os
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from puna.tokenizer.tokenizer import Tokenizer
from puna.tokenizer.train import train_tokenizer

DATA = Path(os.environ.get("PUNA_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


@pytest.fixture(scope="session")
def library() -> str:
    """The source of some modules of Python's library."""
    import argparse
    import ast
    import email.charset
    import textwrap

    return "\n".join(inspect.getsource(module) for module in (argparse, ast, inspect, textwrap, email.charset))


@pytest.fixture(scope="session")
def tokenizer_dir(library: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with 1000 pieces, learned from the library. Read it, do not change it."""
    out = tmp_path_factory.mktemp("tokenizer") / "tokenizer"
    train_tokenizer([library], vocab_size=1000, character_coverage=0.9999, config={}, inputs={}, out=out)
    return out


@pytest.fixture(scope="session")
def tokenizer(tokenizer_dir: Path) -> Tokenizer:
    """1000 pieces, learned from the library."""
    return Tokenizer.load(tokenizer_dir)


@pytest.fixture(scope="session")
def languages() -> list[str]:
    """Lines of the Universal Declaration of Human Rights in every language that is there as UTF-8."""
    path = DATA / "languages" / "nltk_udhr.zip"
    if not path.exists():
        pytest.skip("the Universal Declaration of Human Rights is not here")
    lines: list[str] = []
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if "UTF8" in name:
                # The files of the collection are cut after 10,000 bytes, wherever that is.
                lines += archive.read(name)[:2000].decode("utf-8", errors="ignore").split("\n")
    return lines


@pytest.fixture(scope="session")
def llama() -> Tokenizer:
    """LLaMA's own vocabulary, turned back into the SentencePiece model from llama.cpp's copy of it."""
    path = DATA / "tokenizers" / "ggml-vocab-llama-spm.gguf"
    if not path.exists():
        pytest.skip("LLaMA's vocabulary is not here")
    values = dict(_gguf_values(path.read_bytes()))
    tokens, scores, types = (values[f"tokenizer.ggml.{name}"] for name in ("tokens", "scores", "token_type"))
    # GGUF numbers the types as sentencepiece_model.proto does.
    pieces = [
        _field(1, _field(1, piece) + b"\x15" + struct.pack("<f", score) + _integer(3, kind))
        for piece, score, kind in zip(tokens, scores, types, strict=True)
    ]
    bpe_with_byte_fallback = _integer(3, 2) + _integer(35, 1)
    identity = _field(1, b"identity") + _integer(3, 1) + _integer(4, 0) + _integer(5, 1)
    return Tokenizer(b"".join(pieces) + _field(2, bpe_with_byte_fallback) + _field(3, identity))


@pytest.fixture(scope="session")
def llama_golden() -> list[tuple[str, list[int]]]:
    """Strings and the ids that llama.cpp expects for them with LLaMA's vocabulary."""
    path = DATA / "tokenizers" / "ggml-vocab-llama-spm.gguf.inp"
    if not path.exists():
        pytest.skip("llama.cpp's golden tokenizations are not here")
    strings = path.read_bytes().decode().split("\n__ggml_vocab_test__\n")
    lines = path.with_suffix(".out").read_text().split("\n")[: len(strings)]
    return [(string, [int(word) for word in line.split()]) for string, line in zip(strings, lines, strict=True)]


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _integer(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])


def _gguf_values(content: bytes) -> Iterator[tuple[str, Any]]:
    """Keys and values of a GGUF file's header; strings are bytes."""
    formats = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
    position = 0

    def read(kind: int) -> Any:
        nonlocal position
        if kind == 8:
            length = read(10)
            position += length
            return content[position - length : position]
        if kind == 9:
            of, length = read(4), read(10)
            return [read(of) for _ in range(length)]
        (value,) = struct.unpack_from(f"<{formats[kind]}", content, position)
        position += struct.calcsize(f"<{formats[kind]}")
        return value

    assert content[:4] == b"GGUF"
    position = 16
    for _ in range(read(10)):
        yield read(8).decode(), read(read(4))
