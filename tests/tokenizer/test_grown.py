"""Control tokens are added behind a tokenizer's last token, in every form, and texts keep their ids."""

from pathlib import Path
from typing import Any

import pytest

from puna.core.errors import TokenizerError
from puna.tokenizer.agreement import battery, check_agreement, first_disagreement, huggingface_form, tokenizer_form
from puna.tokenizer.gguf import gguf_metadata, read_gguf_tokenizer
from puna.tokenizer.grown import grown
from puna.tokenizer.huggingface import tokenizer_config, tokenizer_json
from puna.tokenizer.load import load_tokenizer
from puna.tokenizer.tokenizer import Tokenizer

NEW = ("<|im_start|>", "<|im_end|>")
each = pytest.mark.parametrize("vocabulary", ["tokenizer", "byte_bpe"])
each_and_real = pytest.mark.parametrize("vocabulary", ["tokenizer", "byte_bpe", "neox", "llama"])


@pytest.fixture
def base(vocabulary: str, request: pytest.FixtureRequest) -> Tokenizer:
    return request.getfixturevalue(vocabulary)


@each
def test_the_new_tokens_are_behind_the_last_one_and_stand_for_no_text(base: Tokenizer, vocabulary: str) -> None:
    found = grown(base, NEW, ends=NEW[1:])
    first = base.vocab_size
    assert found.vocab_size == first + 2
    assert [found.piece(first), found.piece(first + 1)] == [*NEW]
    assert found.is_control(first)
    assert found.is_control(first + 1)
    assert found.stops == (*base.stops, first + 1)
    assert (found.bos_id, found.eos_id, found.unk_id, found.add_bos, found.space_prefix) == (
        base.bos_id, base.eos_id, base.unk_id, base.add_bos, base.space_prefix,
    )  # fmt: skip
    assert found.encode("a<|im_start|>b", special=True).count(first) == 1
    assert found.decode(found.encode("a<|im_end|>b")) == "a<|im_end|>b"
    assert first + 1 not in found.encode("a<|im_end|>b")


@each
def test_texts_keep_their_ids(base: Tokenizer, vocabulary: str) -> None:
    texts = [*battery(), "<|im_start|>user\n", "a<|im_end|>"]
    assert grown(base, NEW).encode_batch(texts) == base.encode_batch(texts)


@each_and_real
def test_every_form_is_the_same_tokenizer(base: Tokenizer, vocabulary: str, tmp_path: Path) -> None:
    found = grown(base, NEW, ends=NEW[1:])
    (tmp_path / found.file).write_bytes(found.content)
    forms: dict[str, Any] = {
        "the file": tokenizer_form(load_tokenizer(tmp_path)),
        "tokenizer.json": huggingface_form(tokenizer_json(found), "tokenizer.json"),
    }
    if vocabulary != "neox":  # which llama.cpp has not
        of_gguf = read_gguf_tokenizer(gguf_metadata(found, found.vocab_size), "gguf")
        assert of_gguf is not None
        assert of_gguf.stops == found.stops
        forms["GGUF"] = tokenizer_form(of_gguf)
    assert load_tokenizer(tmp_path).stops == found.stops
    assert first_disagreement(check_agreement(found, forms)) is None


@each
def test_transformers_finds_the_tokens_in_its_files(base: Tokenizer, vocabulary: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    from puna.core.files import write_json

    found = grown(base, NEW, ends=NEW[1:])
    (tmp_path / "tokenizer.json").write_bytes(tokenizer_json(found))
    write_json(tmp_path / "tokenizer_config.json", tokenizer_config(found, 64))
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    text = "<|im_start|>user\nThe people<|im_end|>\n"
    assert theirs(text, add_special_tokens=False)["input_ids"] == found.encode(text, special=True)
    assert theirs.eos_token_id == found.eos_id


@each
def test_a_tokenizer_that_has_them_is_returned_as_it_is(base: Tokenizer, vocabulary: str) -> None:
    found = grown(base, NEW, ends=NEW[1:])
    assert grown(found, NEW, ends=NEW[1:]) is found
    assert grown(found, ()) is found
    assert grown(base, NEW).stops == base.stops
    assert grown(found, NEW[:1], ends=[found.piece(found.eos_id)]) is found


@each
def test_what_is_a_piece_of_text_cannot_structure_one(base: Tokenizer, vocabulary: str) -> None:
    token = next(token for token in base.encode("the") if len(base.piece(token)) > 1)
    with pytest.raises(TokenizerError, match="as a piece of text, so it cannot structure one"):
        grown(base, [base.piece(token)])
    with pytest.raises(TokenizerError, match=r"has no token '<\|over\|>', at which generating should end"):
        grown(base, NEW, ends=["<|over|>"])
