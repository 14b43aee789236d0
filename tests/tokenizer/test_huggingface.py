"""The Hugging Face files are the same tokenizer, for `tokenizers` and for `transformers`, on every kind of text."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from puna.core.files import write_json
from puna.tokenizer.agreement import battery_for
from puna.tokenizer.huggingface import tokenizer_config, tokenizer_json, write_tokenizer_json
from puna.tokenizer.load import load_tokenizer
from puna.tokenizer.sentencepiece import SPACE, SentencePieceTokenizer
from puna.tokenizer.tokenizer import Tokenizer
from puna.tokenizer.train import train_tokenizer

Fast = Any
VOCABULARIES = ["tokenizer", "llama"]
KINDS = ["tokenizer", "llama", "byte_bpe", "spaced", "neox"]
pieces_and_characters = st.one_of(
    st.characters(exclude_categories=["Cs"], exclude_characters=SPACE),
    st.sampled_from(["    ", "the", "self.", " return", "ation", "\n", "\t", "0", "é", "日", "🙂", "<", ">", "/"]),
)
texts = st.lists(pieces_and_characters).map("".join)


@pytest.fixture(scope="module", params=VOCABULARIES)
def pair(request: pytest.FixtureRequest) -> tuple[SentencePieceTokenizer, tokenizers.Tokenizer]:
    """A tokenizer and the same as `tokenizers` reads it from its JSON."""
    tokenizer: SentencePieceTokenizer = request.getfixturevalue(request.param)
    return tokenizer, tokenizers.Tokenizer.from_str(tokenizer_json(tokenizer).decode())


@pytest.fixture(scope="module")
def overlapping(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tokenizer, tokenizers.Tokenizer]:
    """A tokenizer of two letters, whose pieces can be put together in many ways, and the same from its JSON."""
    rng = random.Random(0)
    words = ["".join(rng.choices("ab", k=rng.randint(1, 30))) for _ in range(300)]
    out = tmp_path_factory.mktemp("ab") / "tokenizer"
    tokenizer = train_tokenizer(words, vocab_size=400, character_coverage=1.0, config={}, inputs={}, out=out)
    return tokenizer, tokenizers.Tokenizer.from_file(str(out / "tokenizer.json"))


@pytest.fixture(scope="module", params=KINDS)
def fast_pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Tokenizer, Fast]:
    """A tokenizer and the same as `transformers` loads it from a directory."""
    from transformers import AutoTokenizer

    tokenizer: Tokenizer = request.getfixturevalue(request.param)
    directory = tmp_path_factory.mktemp("hf")
    write_tokenizer_json(tokenizer, directory / "tokenizer.json")
    write_json(directory / "tokenizer_config.json", tokenizer_config(tokenizer, context=128))
    return tokenizer, AutoTokenizer.from_pretrained(directory)


def lines_of(text: str) -> list[str]:
    """Lines as they stand, indentation included; a few lines together too."""
    lines = text.split("\n")
    return lines + ["\n".join(lines[i : i + 7]) for i in range(0, len(lines), 7)]


def assert_equal_on(strings: list[str], tokenizer: Tokenizer, other: tokenizers.Tokenizer) -> None:
    ours = tokenizer.encode_batch(strings)
    theirs = [encoding.ids for encoding in other.encode_batch(strings, add_special_tokens=False)]
    assert [s for s, a, b in zip(strings, ours, theirs, strict=True) if a != b] == []
    assert other.decode_batch(ours) == strings


def test_ids_and_text_are_equal_on_code(
    pair: tuple[SentencePieceTokenizer, tokenizers.Tokenizer], library: str
) -> None:
    strings = lines_of(library)
    assert sum(string.startswith(" ") for string in strings) > 3000
    assert_equal_on(strings, *pair)


def test_ids_and_text_are_equal_in_many_languages(
    pair: tuple[SentencePieceTokenizer, tokenizers.Tokenizer], languages: list[str]
) -> None:
    assert_equal_on(languages, *pair)


@given(text=texts)
def test_ids_and_text_are_equal_on_any_text(
    pair: tuple[SentencePieceTokenizer, tokenizers.Tokenizer], text: str
) -> None:
    if not any(control in text for control in ("<s>", "</s>", "<unk>")):
        assert_equal_on([text], *pair)


@given(text=st.text("ab", max_size=60))
def test_overlapping_merges_come_in_the_same_order(
    overlapping: tuple[Tokenizer, tokenizers.Tokenizer], text: str
) -> None:
    assert_equal_on([text], *overlapping)


def test_ids_are_those_that_llama_cpp_expects(
    llama: SentencePieceTokenizer, llama_golden: list[tuple[str, list[int]]]
) -> None:
    content = tokenizer_json(llama).decode()
    other = tokenizers.Tokenizer.from_str(content)
    assert len(json.loads(content)["model"]["merges"]) == 61249
    for text, ids in llama_golden:
        assert other.encode(text, add_special_tokens=False).ids == ids, text
        assert other.decode(ids) == text


def test_transformers_takes_the_files(fast_pair: tuple[Tokenizer, Fast], library: str, languages: list[str]) -> None:
    tokenizer, fast = fast_pair
    for text in [*battery_for(tokenizer, reads_control=True), *lines_of(library)[::20], *languages[::20]]:
        ids = tokenizer.encode(text, bos=tokenizer.add_bos)
        assert fast(text, truncation=False)["input_ids"] == ids
        assert fast.decode(ids, skip_special_tokens=True) == text


def test_transformers_knows_the_control_tokens_and_the_context(fast_pair: tuple[Tokenizer, Fast]) -> None:
    tokenizer, fast = fast_pair
    expected = (tokenizer.unk_id, tokenizer.bos_id, tokenizer.eos_id)
    assert (fast.unk_token_id, fast.bos_token_id, fast.eos_token_id) == expected
    assert (fast.model_max_length, len(fast)) == (128, tokenizer.vocab_size)
    bos = tokenizer.add_bos
    assert fast("a", "b")["input_ids"] == tokenizer.encode("a", bos=bos) + tokenizer.encode("b", bos=bos)
    assert fast("a", add_special_tokens=False)["input_ids"] == tokenizer.encode("a")


def test_transformers_writes_the_same_tokenizer_again(fast_pair: tuple[Tokenizer, Fast], tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer, fast = fast_pair
    fast.save_pretrained(tmp_path)
    theirs: Fast = AutoTokenizer.from_pretrained(tmp_path)
    ours = load_tokenizer(tmp_path)
    assert (ours.bos_id, ours.eos_id, ours.add_bos) == (tokenizer.bos_id, tokenizer.eos_id, tokenizer.add_bos)
    for text in ["    indented", "Hello world 123", "日本🙂"]:
        ids = tokenizer.encode(text, bos=tokenizer.add_bos)
        assert theirs(text)["input_ids"] == ids
        assert ours.encode(text, bos=ours.add_bos) == ids


def test_the_two_differences_by_design(pair: tuple[SentencePieceTokenizer, tokenizers.Tokenizer]) -> None:
    tokenizer, other = pair
    assert tokenizer.eos_id in other.encode("</s>").ids
    assert tokenizer.eos_id not in tokenizer.encode("</s>")
    assert other.encode(f"a{SPACE}b").ids == other.encode("a b").ids
    assert tokenizer.encode(f"a{SPACE}b") != tokenizer.encode("a b")


def test_vocabulary_and_merges_are_those_of_the_model(tokenizer: SentencePieceTokenizer) -> None:
    processor = sentencepiece.SentencePieceProcessor()
    processor.LoadFromSerializedProto(tokenizer.content)
    model = json.loads(tokenizer_json(tokenizer))["model"]
    assert model["vocab"] == {processor.id_to_piece(token): token for token in range(1000)}
    assert all(left + right in model["vocab"] for left, right in model["merges"])
    scores = [processor.get_score(model["vocab"][left + right]) for left, right in model["merges"]]
    assert scores == sorted(scores, reverse=True)
