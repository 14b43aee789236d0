"""An existing tokenizer: found where users keep one, and written into a build so that it stays the same."""

import json
import shutil
from pathlib import Path

import pytest

from puna.core.errors import TokenizerError
from puna.core.records import read_record
from puna.tokenizer.existing import named_tokenizer, write_existing
from puna.tokenizer.load import load_tokenizer
from puna.tokenizer.sentencepiece import SentencePieceTokenizer

TEXT = "def f(x):\n    return  '日本', 10 * x\n"


@pytest.mark.parametrize("inside", ["", "model", "tokenizer"])
def test_a_tokenizer_is_found_in_a_directory_a_run_and_a_data_build(
    tokenizer_dir: Path, tokenizer: SentencePieceTokenizer, tmp_path: Path, inside: str
) -> None:
    shutil.copytree(tokenizer_dir, tmp_path / "place" / inside, dirs_exist_ok=True)
    assert named_tokenizer(str(tmp_path / "place")).sha256 == tokenizer.sha256


@pytest.mark.parametrize("name", ["tokenizer.model", "tokenizer.json"])
def test_a_file_is_named_and_what_is_written_encodes_as_it_does(tokenizer_dir: Path, tmp_path: Path, name: str) -> None:
    alone = tmp_path / "alone" / name
    alone.parent.mkdir()
    shutil.copy(tokenizer_dir / name, alone)
    named = named_tokenizer(str(alone))
    write_existing(named, str(alone), tmp_path / "out")
    written = load_tokenizer(tmp_path / "out")
    assert (written.sha256, written.vocab_size, written.bos_id) == (named.sha256, named.vocab_size, named.bos_id)
    assert written.encode(TEXT) == named.encode(TEXT)
    record = read_record(tmp_path / "out" / "record.json")
    assert record is not None
    assert record["config"] == {"from": {"kind": named.kind, "vocab_size": 1000, "sha256": named.sha256}}
    assert record["results"]["taken_from"] == name
    assert str(tmp_path) not in json.dumps({key: value for key, value in record.items() if key != "command"})


def test_a_place_without_a_tokenizer_is_a_sentence_about_the_recipes_key(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"tokenizer.from: .*holds no tokenizer"):
        named_tokenizer(str(tmp_path))
    with pytest.raises(TokenizerError, match=r"tokenizer.from: .*nothing.*No such file"):
        named_tokenizer(str(tmp_path / "nothing"))
