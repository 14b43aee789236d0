"""Training of both kinds: the same text gives the same bytes, and what cannot be done is said and leaves nothing."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from puna.core.errors import DataError, TokenizerError
from puna.core.files import sha256_file
from puna.core.records import read_record
from puna.tokenizer.load import load_tokenizer
from puna.tokenizer.tokenizer import Kind, Tokenizer
from puna.tokenizer.train import train_tokenizer

FILES: dict[Kind, set[str]] = {
    "sentencepiece": {"tokenizer.model", "tokenizer.json", "record.json"},
    "byte-bpe": {"tokenizer.json", "record.json"},
}
every_kind = pytest.mark.parametrize("kind", FILES)


def train(texts: Any, out: Path, kind: Kind, vocab_size: int = 600) -> Tokenizer:
    return train_tokenizer(
        texts, vocab_size=vocab_size, character_coverage=0.9999, config={}, inputs={}, out=out, kind=kind
    )


@every_kind
def test_same_text_gives_the_same_bytes(library: str, tmp_path: Path, kind: Kind) -> None:
    first = train([library], tmp_path / "one", kind)
    again = train([library], tmp_path / "two" / "elsewhere", kind)
    assert first.content == again.content
    assert sha256_file(tmp_path / "one/tokenizer.json") == sha256_file(tmp_path / "two/elsewhere/tokenizer.json")
    assert str(tmp_path).encode() not in first.content


@every_kind
def test_another_process_on_more_threads_gives_the_same_bytes(library: str, tmp_path: Path, kind: Kind) -> None:
    first = train(library.split("\n\n"), tmp_path / "one", kind)
    (tmp_path / "text").write_text(library, encoding="utf-8")
    code = (
        "from pathlib import Path; from puna.tokenizer.train import train_tokenizer; "
        f"text = Path({str(tmp_path / 'text')!r}).read_text(encoding='utf-8'); "
        "train_tokenizer(text.split('\\n\\n'), vocab_size=600, character_coverage=0.9999, config={}, inputs={}, "
        f"out=Path({str(tmp_path / 'two')!r}), kind={kind!r})"
    )
    threads = {"RAYON_NUM_THREADS": "4", "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, env=os.environ | threads)
    assert load_tokenizer(tmp_path / "two").content == first.content


@every_kind
def test_directory_holds_the_tokenizer_and_the_record(library: str, tmp_path: Path, kind: Kind) -> None:
    out = tmp_path / "tokenizer"
    tokenizer = train_tokenizer(
        [library, "Größe"], vocab_size=600, character_coverage=0.9999, config={"vocab_size": 600},
        inputs={"documents": "hash"}, out=out, kind=kind,
    )  # fmt: skip
    record = read_record(out / "record.json")
    assert record is not None
    assert {path.name for path in out.iterdir()} == FILES[kind]
    assert record["stage"] == "tokenizer"
    assert (record["config"], record["inputs"]) == ({"vocab_size": 600}, {"documents": "hash"})
    assert record["outputs"] == {name: sha256_file(out / name) for name in FILES[kind] - {"record.json"}}
    assert record["results"]["vocab_size"] == 600
    assert record["results"]["training_bytes"] == len(library.encode()) + len("Größe".encode())
    assert record["seconds"] > 0.01
    assert (tokenizer.kind, tokenizer.vocab_size) == (kind, 600)
    assert load_tokenizer(out).content == tokenizer.content


@every_kind
@pytest.mark.parametrize("texts", [[], [""]])
def test_no_text_is_refused(tmp_path: Path, texts: list[str], kind: Kind) -> None:
    with pytest.raises(TokenizerError, match=r"^there is no text to train the tokenizer on$"):
        train(texts, tmp_path / "tokenizer", kind)
    assert list(tmp_path.iterdir()) == []


@every_kind
def test_refused_training_leaves_the_older_tokenizer(library: str, tmp_path: Path, kind: Kind) -> None:
    older = train([library], tmp_path / "tokenizer", kind).content
    with pytest.raises(TokenizerError):
        train(["too little"], tmp_path / "tokenizer", kind)
    assert load_tokenizer(tmp_path / "tokenizer").content == older
    newer = train([library], tmp_path / "tokenizer", kind, vocab_size=500)
    assert load_tokenizer(tmp_path / "tokenizer").content == newer.content != older
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer"]


def test_tokenizer_of_another_kind_replaces_all_of_the_older_one(library: str, tmp_path: Path) -> None:
    train([library], tmp_path / "tokenizer", "sentencepiece")
    newer = train([library], tmp_path / "tokenizer", "byte-bpe")
    assert load_tokenizer(tmp_path / "tokenizer").content == newer.content


@every_kind
@pytest.mark.parametrize(
    "error", [DataError("documents.jsonl: line 3 is damaged"), KeyboardInterrupt(), OSError(5, "")]
)
def test_what_reading_the_text_raises_comes_through(
    library: str, tmp_path: Path, error: BaseException, kind: Kind
) -> None:
    def texts() -> Iterator[str]:
        yield library
        raise error

    with pytest.raises(type(error)) as caught:
        train(texts(), tmp_path / "tokenizer", kind)
    assert caught.value is error
    assert list(tmp_path.iterdir()) == []


@every_kind
def test_text_with_a_lone_surrogate_is_refused(library: str, tmp_path: Path, kind: Kind) -> None:
    with pytest.raises(TokenizerError, match=r"lone surrogate, U\+D800, at position 4"):
        train([library, "half\ud800"], tmp_path / "tokenizer", kind)


@every_kind
def test_training_is_quiet(library: str, tmp_path: Path, kind: Kind, capfd: pytest.CaptureFixture[str]) -> None:
    train([library], tmp_path / "tokenizer", kind)
    with pytest.raises(TokenizerError):
        train(["too little"], tmp_path / "tokenizer", kind)
    assert capfd.readouterr() == ("", "")
