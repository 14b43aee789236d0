"""A small tokenizer, LLaMA's own vocabulary, and text that brings tokenizers into trouble.

LLaMA's vocabulary and the Declaration of Human Rights in its languages are not part of the project: they are read from
the directory that `PUNA_TEST_DATA` names, by default `shared/data` beside the repository. Without them some tests skip.
"""

import importlib.util
import inspect
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from puna.tokenizer.byte_bpe import ByteBPETokenizer
from puna.tokenizer.byte_bpe_json import write_byte_bpe
from puna.tokenizer.byte_level import DIGITS_THEN_GPT2
from puna.tokenizer.ends import Ends
from puna.tokenizer.gguf import read_gguf_tokenizer
from puna.tokenizer.gguf_header import read_header
from puna.tokenizer.sentencepiece import SentencePieceTokenizer
from puna.tokenizer.tiktoken import read_tiktoken
from puna.tokenizer.train import train_tokenizer
from puna.tokenizer.train_byte_bpe import learn_byte_bpe
from puna.tokenizer.training_text import TrainingText

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
def tokenizer(tokenizer_dir: Path) -> SentencePieceTokenizer:
    """1000 pieces, learned from the library."""
    return SentencePieceTokenizer((tokenizer_dir / "tokenizer.model").read_bytes())


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
def vocabulary_file() -> Callable[[str], Path]:
    """Finds a vocabulary of llama.cpp by its name."""
    return _file


@pytest.fixture(scope="session")
def llama() -> SentencePieceTokenizer:
    """LLaMA's own vocabulary, turned back into the SentencePiece model from llama.cpp's copy of it."""
    tokenizer = read_gguf_tokenizer(_metadata("llama-spm"), "llama")
    assert isinstance(tokenizer, SentencePieceTokenizer)
    return tokenizer


@pytest.fixture(scope="session")
def neox() -> ByteBPETokenizer:
    """GPT-NeoX's vocabulary, split as GPT-NeoX splits; llama.cpp's copy says nothing of that, nor of NFC."""
    tokenizer = read_gguf_tokenizer(_metadata("gpt-neox") | {"tokenizer.ggml.pre": "gpt-2"}, "neox")
    assert isinstance(tokenizer, ByteBPETokenizer)
    return tokenizer


@pytest.fixture(scope="session")
def llama3_file() -> Path:
    """Llama 3's own file, as the package llama-models holds it."""
    spec = importlib.util.find_spec("llama_models")
    if spec is None or spec.origin is None:
        pytest.skip("llama-models is not installed")
    return Path(spec.origin).parent / "llama3" / "tokenizer.model"


@pytest.fixture(scope="session")
def llama3(llama3_file: Path) -> ByteBPETokenizer:
    """Llama 3's tokenizer."""
    return read_tiktoken(llama3_file.read_bytes(), str(llama3_file))


@pytest.fixture(scope="session")
def byte_bpe(library: str, tmp_path_factory: pytest.TempPathFactory) -> ByteBPETokenizer:
    """A byte-level BPE of 1000 pieces, learned from the library."""
    tokenizer = train_tokenizer(
        [library], vocab_size=1000, character_coverage=1.0, config={}, inputs={}, kind="byte-bpe",
        out=tmp_path_factory.mktemp("byte_bpe") / "tokenizer",
    )  # fmt: skip
    assert isinstance(tokenizer, ByteBPETokenizer)
    return tokenizer


@pytest.fixture(scope="session")
def spaced(library: str) -> ByteBPETokenizer:
    """The like of GPT-NeoX: 400 pieces, special tokens that are not the first, and runs of spaces beside its merges."""
    learned = learn_byte_bpe(TrainingText([library]), 400)
    pieces = [learned.piece(token) for token in range(2, 400)]
    runs = [" " * length for length in range(24, 1, -1)]
    vocabulary = [*pieces, *runs, "<|begin|>", "<|endoftext|>"]
    content = write_byte_bpe(
        vocabulary, learned.merges, DIGITS_THEN_GPT2, Ends("<|begin|>", "<|endoftext|>", add_bos=False),
        special=[421, 422], added=range(398, 421),
    )  # fmt: skip
    return ByteBPETokenizer(content)


@pytest.fixture(scope="session")
def llama_golden() -> list[tuple[str, list[int]]]:
    """Strings and the ids that llama.cpp expects for them with LLaMA's vocabulary."""
    path = DATA / "tokenizers" / "ggml-vocab-llama-spm.gguf.inp"
    if not path.exists():
        pytest.skip("llama.cpp's golden tokenizations are not here")
    strings = path.read_bytes().decode().split("\n__ggml_vocab_test__\n")
    lines = path.with_suffix(".out").read_text().split("\n")[: len(strings)]
    return [(string, [int(word) for word in line.split()]) for string, line in zip(strings, lines, strict=True)]


def _file(name: str) -> Path:
    path = DATA / "tokenizers" / f"ggml-vocab-{name}.gguf"
    if not path.exists():
        pytest.skip(f"the vocabulary {name} is not here")
    return path


def _metadata(name: str) -> dict[str, Any]:
    return read_header(_file(name)).metadata
