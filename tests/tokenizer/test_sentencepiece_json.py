"""A tokenizer.json becomes a SentencePiece model of the same ids, or is refused with the first string that differs."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import tokenizers

from puna.core.errors import TokenizerError
from puna.tokenizer.agreement import battery
from puna.tokenizer.huggingface import tokenizer_json
from puna.tokenizer.sentencepiece import SPACE, SentencePieceTokenizer
from puna.tokenizer.sentencepiece_json import is_sentencepiece_like, read_sentencepiece_json


def read(data: dict[str, Any], config: dict[str, Any] | None = None) -> SentencePieceTokenizer:
    return read_sentencepiece_json(data, json.dumps(data).encode(), "some.json", config)


@pytest.fixture
def data(tokenizer: SentencePieceTokenizer) -> dict[str, Any]:
    """Our own tokenizer.json."""
    return json.loads(tokenizer_json(tokenizer))


def as_transformers_wrote_it(data: dict[str, Any]) -> dict[str, Any]:
    """LLaMA 2's and TinyLlama's form: merges as strings, control tokens that are not a special case of a template."""
    bos = "<s>"
    data["model"]["merges"] = [" ".join(merge) for merge in data["model"]["merges"]]
    data["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {bos: {"id": bos, "ids": [1], "tokens": [bos]}},
    }
    return data


@pytest.mark.parametrize("vocabulary", ["tokenizer", "llama"])
@pytest.mark.parametrize("form", [lambda data: data, as_transformers_wrote_it], ids=["ours", "LLaMA 2's"])
def test_model_is_the_one_that_the_json_was_made_from(
    vocabulary: str, form: Callable[[dict[str, Any]], dict[str, Any]], library: str, languages: list[str],
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    original: SentencePieceTokenizer = request.getfixturevalue(vocabulary)
    again = read(form(json.loads(tokenizer_json(original))))
    assert (again.bos_id, again.eos_id, again.unk_id, again.add_bos) == (1, 2, 0, True)
    assert again.space_prefix
    for text in (*battery(), *library.split("\n")[::7], *languages[::7]):
        assert again.encode(text) == original.encode(text)


def test_form_without_a_dummy_prefix_is_taken_as_it_is(data: dict[str, Any]) -> None:
    data["normalizer"]["normalizers"].pop(0)
    data["decoder"]["decoders"].pop()
    tokenizer = read(data)
    assert not tokenizer.space_prefix
    other = tokenizers.Tokenizer.from_str(json.dumps(data))
    for text in battery():
        assert tokenizer.encode(text, bos=True) == other.encode(text).ids


def test_metaspace_that_never_prepends_is_not_a_dummy_prefix(data: dict[str, Any]) -> None:
    data["normalizer"] = None
    data["pre_tokenizer"] = {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "never", "split": False}
    data["decoder"]["decoders"].pop()
    assert not read(data).space_prefix


def test_config_says_whether_a_text_begins_with_a_token(data: dict[str, Any]) -> None:
    data["post_processor"] = None
    assert not read(data).add_bos
    assert read(data, {"add_bos_token": True}).add_bos
    assert read(data, {"bos_token": "</s>", "add_bos_token": True}).bos_id == 2


def test_token_that_is_found_before_anything_else_stays_one(data: dict[str, Any]) -> None:
    entry = {
        "id": 1000, "content": "<|tool|>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
        "special": False,
    }  # fmt: skip
    data["added_tokens"].append(entry)
    # Hugging Face puts a dummy prefix after such a token too, SentencePiece itself does not.
    other = tokenizers.Tokenizer.from_str(json.dumps(data))
    with_prefix = read(data)
    assert (with_prefix.added, with_prefix.prefix_each) == ({"<|tool|>": 1000}, True)
    for text in ("a<|tool|>b", "<|tool|> a", "<|tool|><|tool|>", "a <|tool|>"):
        assert with_prefix.encode(text, bos=True) == other.encode(text).ids
    data["normalizer"]["normalizers"].pop(0)
    data["decoder"]["decoders"].pop()
    assert read(data).added == {"<|tool|>": 1000}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(
            lambda data: data.update(
                normalizer=None,
                pre_tokenizer={
                    "type": "Metaspace", "replacement": SPACE, "prepend_scheme": "first", "split": False,
                },
            ),
            "does not do what a SentencePiece model does: some.json writes ' ' with id 908 at 1, not 259",
            id="transformers' LlamaTokenizer",
        ),
        (lambda data: data["normalizer"]["normalizers"].insert(0, {"type": "NFKC"}), "does not do what"),
        (lambda data: data["decoder"]["decoders"].pop(1), "decodes the ids of"),
        (lambda data: data["added_tokens"].append({"id": 3, "content": "<s>", "special": True}), "two ids"),
        (lambda data: data["model"]["vocab"].update(a=5), "ids that are twice there, or left out"),
        (lambda data: data["model"].update(vocab=[]), "is not a tokenizer.json, or a damaged one"),
        (lambda data: data.update(added_tokens=7), "is not a tokenizer.json, or a damaged one"),
    ],
)  # fmt: skip
def test_what_differs_is_refused(data: dict[str, Any], change: Callable[[dict[str, Any]], Any], reason: str) -> None:
    change(data)
    with pytest.raises(TokenizerError) as caught:
        read(data)
    assert caught.value.message.startswith("some.json: ")
    assert reason in caught.value.message


def test_kind_is_told_from_the_vocabulary(data: dict[str, Any]) -> None:
    assert is_sentencepiece_like(data)
    del data["model"]["vocab"]["<0x41>"]
    assert is_sentencepiece_like(data)
    vocabulary = data["model"]["vocab"]
    data["model"]["vocab"] = {piece: token for piece, token in vocabulary.items() if not piece.startswith(SPACE)}
    assert not is_sentencepiece_like(data)
    assert not is_sentencepiece_like({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}})
    assert not is_sentencepiece_like([])
