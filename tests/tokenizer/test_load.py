"""A tokenizer is recognised by what its file holds, in a directory too, and everything else is refused by name."""

import json
import random
import shutil
from pathlib import Path

import pytest

from puna.core.errors import FormatError, TokenizerError
from puna.tokenizer.byte_bpe import ByteBPETokenizer
from puna.tokenizer.huggingface import tokenizer_config, tokenizer_json
from puna.tokenizer.llama2c import write_tokenizer_bin
from puna.tokenizer.load import find_tokenizer, load_tokenizer
from puna.tokenizer.sentencepiece import SentencePieceTokenizer


def test_sentencepiece_file_and_its_directory_are_the_same_tokenizer(tokenizer_dir: Path) -> None:
    file = tokenizer_dir / "tokenizer.model"
    tokenizer = SentencePieceTokenizer(file.read_bytes())
    for path in (tokenizer_dir, file):
        again = load_tokenizer(path)
        assert isinstance(again, SentencePieceTokenizer)
        assert again.sha256 == tokenizer.sha256
        assert again.origin == str(file)
    # tokenizer.json lies there too, and means the same.
    other = load_tokenizer(tokenizer_dir / "tokenizer.json")
    assert isinstance(other, SentencePieceTokenizer)
    assert other.encode("  a text", bos=True) == tokenizer.encode("  a text", bos=True)


def test_byte_level_json_is_recognised(byte_bpe: ByteBPETokenizer, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(byte_bpe.content)
    again = load_tokenizer(tmp_path)
    assert isinstance(again, ByteBPETokenizer)
    assert again.sha256 == byte_bpe.sha256


def test_config_beside_a_tokenizer_counts(
    byte_bpe: ByteBPETokenizer, tokenizer: SentencePieceTokenizer, tmp_path: Path
) -> None:
    (tmp_path / "tokenizer.json").write_bytes(byte_bpe.content)
    config = tmp_path / "tokenizer_config.json"
    config.write_text(json.dumps({"bos_token": "<|padding|>", "add_bos_token": False}))
    changed = load_tokenizer(tmp_path)
    assert (changed.bos_id, changed.add_bos, byte_bpe.bos_id, byte_bpe.add_bos) == (1, False, 0, True)
    config.write_text(json.dumps(tokenizer_config(byte_bpe, 64)))
    assert load_tokenizer(tmp_path).sha256 == byte_bpe.sha256
    (tmp_path / "tokenizer.model").write_bytes(tokenizer.content)
    config.write_text(json.dumps(tokenizer_config(tokenizer, 64)))
    assert load_tokenizer(tmp_path).sha256 == tokenizer.sha256
    config.write_text(json.dumps({"add_bos_token": False}))
    silent = load_tokenizer(tmp_path)
    assert not silent.add_bos
    # What was told stays where no config lies beside it.
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / silent.file).write_bytes(silent.content)
    assert not load_tokenizer(tmp_path / "alone").add_bos


def test_llama_3_s_file_is_recognised_by_what_it_holds(
    llama3: ByteBPETokenizer, llama3_file: Path, tmp_path: Path
) -> None:
    shutil.copy(llama3_file, tmp_path / "tokenizer.model")
    again = load_tokenizer(tmp_path)
    assert isinstance(again, ByteBPETokenizer)
    assert again.sha256 == llama3.sha256


@pytest.mark.parametrize(("name", "kind"), [("llama-spm", SentencePieceTokenizer), ("gpt-neox", ByteBPETokenizer)])
def test_gguf_file_is_recognised(name: str, kind: type, vocabulary_file, tmp_path: Path) -> None:
    path = vocabulary_file(name)
    tokenizer = load_tokenizer(path)
    assert isinstance(tokenizer, kind)
    assert tokenizer.origin == str(path)
    shutil.copy(path, tmp_path / "tokenizer.model")
    assert load_tokenizer(tmp_path).sha256 == tokenizer.sha256


def test_llama2cs_file_is_known_by_its_name(tokenizer_dir: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tokenizer_dir)
    write_tokenizer_bin(tokenizer, tmp_path / "tokenizer.bin")
    again = load_tokenizer(tmp_path / "tokenizer.bin")
    assert isinstance(again, SentencePieceTokenizer)
    assert again.encode("  a text") == tokenizer.encode("  a text")
    with pytest.raises(TokenizerError, match=r"none\.bin: cannot be read: No such file or directory$"):
        load_tokenizer(tmp_path / "none.bin")


def test_directory_is_searched_in_order(tokenizer_dir: Path, tmp_path: Path) -> None:
    assert find_tokenizer(tmp_path) is None
    for name in ("tokenizer.json", "tokenizer.model"):
        shutil.copy(tokenizer_dir / name, tmp_path)
        assert find_tokenizer(tmp_path) == tmp_path / name


def test_missing_tokenizer_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "none"
    for path, said in (
        (tmp_path, "holds no tokenizer, neither tokenizer.model nor tokenizer.json"),
        (missing, "cannot be read: No such file or directory"),
    ):
        with pytest.raises(TokenizerError) as caught:
            load_tokenizer(path)
        assert caught.value.message == f"{path}: {said}"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not a SentencePiece model"),
        (b"\x00" * 100, "is not a SentencePiece model"),
        (b"\x80\x02}q\x00.", "is not a SentencePiece model"),
        (b"{}", "is not a tokenizer.json, which has a model"),
        (
            b'{"model": {"type": "BPE", "vocab": {}, "merges": []}}',
            "is not a tokenizer.json of a byte-level BPE, nor of a BPE with SentencePiece's spaces",
        ),
        (b'{"model": {"type": "Unigram", "vocab": []}}', "of the kind 'Unigram', a unigram model, as SentencePiece"),
        (b'{"model": {"type": "WordPiece", "vocab": {}}}', "of the kind 'WordPiece', a WordPiece model, BERT's kind"),
        (b'{"model": {"type": "WordLevel", "vocab": {}}}', "of the kind 'WordLevel', a list of whole words"),
        (b'{"model": {"type": ["BPE"]}}', "of the kind ['BPE'], damaged"),
        (b'{"config": {"pattern": ""}, "vocab": []}', "is Mistral's tekken.json, which Puna does not read"),
        (b'{"a": 0, "b": 1}', "is a vocabulary without its merges, GPT-2's older form"),
        (b'{"model"', "is not JSON"),
        (b"{" + b'"a":{' * 100_000, "is nested 100,001 levels deep"),
        (b"GGUF", "goes beyond the file's 4 bytes"),
        (b"GGUF\x03" + bytes(19), "has no tokenizer"),
        (b"IQ== 0\nIg== 5\n", "line 2 has rank 5"),
    ],
)
def test_other_file_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "tokenizer.model"
    path.write_bytes(content)
    with pytest.raises((TokenizerError, FormatError)) as caught:
        load_tokenizer(tmp_path)
    assert caught.value.message.startswith(f"{path}: ")
    assert reason in caught.value.message


@pytest.mark.parametrize("content", ["[]", "{", "5"])
def test_damaged_config_is_named(tokenizer_dir: Path, tmp_path: Path, content: str) -> None:
    shutil.copy(tokenizer_dir / "tokenizer.model", tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(content)
    with pytest.raises(TokenizerError, match=r"tokenizer_config\.json: "):
        load_tokenizer(tmp_path)


def test_damaged_json_is_refused_or_still_works(tokenizer: SentencePieceTokenizer, tmp_path: Path) -> None:
    rng = random.Random(0)
    content = tokenizer_json(tokenizer)
    refused = 0
    for _ in range(40):
        damaged = bytearray(content)
        for _ in range(rng.choice([1, 5])):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        (tmp_path / "tokenizer.json").write_bytes(damaged)
        try:
            load_tokenizer(tmp_path)
        except TokenizerError:
            refused += 1
    assert refused > 20


def test_weights_named_by_mistake_are_not_read(tmp_path: Path) -> None:
    with (tmp_path / "consolidated.00.pth").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(TokenizerError, match="has 1,099,511,627,776 bytes, more than the 67,108,864 that"):
        load_tokenizer(tmp_path / "consolidated.00.pth")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<!DOCTYPE html>", "is not JSON"), (b"", "it is empty"), (b"\xef\xbb\xbf{}", "byte order mark"),
        ("{}".encode("utf-16"), "UTF-16"),
    ],
)  # fmt: skip
def test_a_tokenizer_json_that_is_not_json_is_called_so(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(TokenizerError, match=rf"tokenizer\.json: .*{said}"):
        load_tokenizer(tmp_path)
