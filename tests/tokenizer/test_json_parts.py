"""What a tokenizer.json may ask of the library is on a list, with bounds; everything else is refused before it runs."""

import json
from pathlib import Path
from typing import Any

import pytest

from puna.core.errors import TokenizerError
from puna.tokenizer.byte_bpe import ByteBPETokenizer
from puna.tokenizer.byte_level import SPLITS
from puna.tokenizer.engine import as_tokenizer_error, engine_of
from puna.tokenizer.huggingface import tokenizer_json
from puna.tokenizer.json_parts import check_parts, slow
from puna.tokenizer.load import load_tokenizer
from puna.tokenizer.sentencepiece import SentencePieceTokenizer

BOMB = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 60}


@pytest.mark.parametrize(
    ("part", "step", "sentence"),
    [
        (
            "normalizer",
            {"type": "Precompiled", "precompiled_charsmap": "AAAA"},
            "a normalizer of the kind 'Precompiled'",
        ),
        ("normalizer", {"type": "Nmt"}, "a normalizer of the kind 'Nmt', Puna knows NFC, "),
        ("normalizer", {"type": "BertNormalizer"}, "of the kind 'BertNormalizer'"),
        ("normalizer", {"type": ["NFC"]}, "of the kind ['NFC']"),
        ("normalizer", [], "of the kind None"),
        ("normalizer", {"type": "Sequence"}, "a normalizer that is a sequence of nothing"),
        ("normalizer", {"type": "Sequence", "normalizers": [{"type": "Sequence", "normalizers": 5}]}, "of nothing"),
        ("normalizer", {"type": "Sequence", "normalizers": [{"type": "NFC"}] * 17}, "of 17 steps, more than 16"),
        ("normalizer", {"type": "Sequence", "normalizers": [BOMB, BOMB]}, "can make a text 3,600 times longer"),
        ("normalizer", BOMB | {"content": "b" * 65}, "whose content has more than 64 characters"),
        ("normalizer", BOMB | {"pattern": {"String": ""}}, "that looks for nothing"),
        ("normalizer", BOMB | {"pattern": {"Regex": ""}}, "that looks for nothing"),
        ("normalizer", BOMB | {"pattern": {"Regex": "(a+)+$"}}, "repeats a group that holds a repetition or a choice"),
        ("normalizer", BOMB | {"pattern": {"Regex": "a*"}, "content": "x" * 64}, "can make a text 65 times longer"),
        ("normalizer", {"type": "Prepend", "prepend": "a" * 10**6}, "whose prepend has more than 64 characters"),
        ("pre_tokenizer", {"type": "BertPreTokenizer"}, "a pre_tokenizer of the kind 'BertPreTokenizer'"),
        ("pre_tokenizer", {"type": "Split", "pattern": {"Regex": "a" * 1025}}, "whose pattern has 1,025 characters"),
        ("pre_tokenizer", {"type": "Split", "pattern": {"Regex": "(a|a)*b"}}, "so it may never end"),
        ("post_processor", {"type": "RobertaProcessing"}, "a post_processor of the kind 'RobertaProcessing'"),
        (
            "post_processor",
            {"type": "TemplateProcessing", "single": [{}] * 17},
            "that puts more than 16 parts together",
        ),
        (
            "post_processor",
            {"type": "TemplateProcessing", "special_tokens": {"a": {"ids": [1] * 10**5}}},
            "that puts more than 16 tokens in one place",
        ),
        ("decoder", {"type": "WordPiece"}, "a decoder of the kind 'WordPiece'"),
        ("decoder", {"type": "Strip", "content": " ", "start": 10**9, "stop": 0}, "whose start is not from 0 to 16"),
        ("decoder", {"type": "CTC"}, "a decoder of the kind 'CTC'"),
        ("added_tokens", [{"id": 5, "content": "a" * 1025}], "has an added token of 1025 characters"),
        ("model", {"type": "Unigram"}, "a unigram model, as SentencePiece trains them by default; Puna reads BPE"),
        ("model", {"type": "New"}, "of the kind 'New', one that Puna does not know"),
    ],
)
def test_a_part_that_could_end_the_process_is_refused_by_its_name(part: str, step: Any, sentence: str) -> None:
    data = {"model": {"type": "BPE", "vocab": {}, "merges": []}, part: step}
    with pytest.raises(TokenizerError) as caught:
        check_parts(data, "some.json")
    assert caught.value.message.startswith("some.json: has a")
    assert sentence in caught.value.message
    assert len(caught.value.message) < 300


DAMAGED = {
    "added_tokens": (5, True, {"a": 1}, [None], [5], [[]], [{}], [{"content": 5}]),
    "normalizer": (
        {"type": "Replace"}, {"type": "Replace", "pattern": "a", "content": "b"}, {"type": "Prepend", "prepend": 5},
        {"type": "Replace", "pattern": {"String": "a"}, "content": 5}, BOMB | {"pattern": {"Regex": 5}}, 5, "NFC",
    ),
    "pre_tokenizer": ({"type": "Split"}, {"type": "Split", "pattern": [None]}),
    "post_processor": (
        {"type": "TemplateProcessing", "single": 5}, {"type": "TemplateProcessing", "special_tokens": {"a": None}},
        {"type": "TemplateProcessing", "special_tokens": [1]}, {"type": "Sequence", "processors": [None]},
    ),
    "decoder": ({"type": "Strip", "content": " ", "start": "x", "stop": 0},),
    "model": (5, [], {"type": []}, {"type": 5}, {"continuing_subword_prefix": "##"}),
}  # fmt: skip


@pytest.mark.parametrize("part", DAMAGED)
def test_a_part_of_another_type_than_it_should_be_is_a_sentence(part: str, tmp_path: Path) -> None:
    for value in DAMAGED[part]:
        data = {"model": {"type": "BPE", "vocab": {}, "merges": []}} | {part: value}
        (tmp_path / "tokenizer.json").write_text(json.dumps(data))
        with pytest.raises(TokenizerError):
            load_tokenizer(tmp_path)


def test_the_parts_of_known_tokenizers_pass(tokenizer: SentencePieceTokenizer, byte_bpe: ByteBPETokenizer) -> None:
    for known in (tokenizer, byte_bpe):
        check_parts(json.loads(tokenizer_json(known)), "known")


KNOWN = [
    # GPT-4o's, DeepSeek's, one that groups digits from the right, T5's
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\s+(?!\S)",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*",
    r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))",
    " {2,}",
]


@pytest.mark.parametrize(
    "expression", [*KNOWN, *sorted({each for split in SPLITS.values() for each in split.patterns})]
)
def test_known_expressions_are_not_slow(expression: str) -> None:
    assert slow(expression) is None


@pytest.mark.parametrize(
    "expression",
    [
        "(a+)+$", "(a|a)*b", "(a|aa)+$", "(?:a*)*", r"(\w+\s?)*$", "(a{1,1000}){1,1000}", "(?=(a+)+)", "(x+x+)+y",
        "(?>a+)+", "((((a*))))*", "(a?){20}a{20}", "(a{1,3})*", "(a|a){16}(a|a){16}", "a?" * 30, "(a|a)" * 30,
        r"\((a+)+", "[(](a+)+", "(a+)*?", "(a+)++", "a*a*a*a*b", "a{2,}a{2,}a{2,}a{2,}", "[[:alpha:]]+[^]]*a*a*",
        r"(a)\1", r"(?<n>a)\k<n>", r"\g<0>", "(?R)",
    ],
)  # fmt: skip
def test_expressions_that_may_never_end_are_known(expression: str) -> None:
    assert slow(expression) is not None


def test_a_panic_of_the_library_is_a_sentence_and_an_interruption_stays_one() -> None:
    panic = type("PanicException", (BaseException,), {})("no entry found")
    told = as_tokenizer_error(panic, "some.json")
    assert isinstance(told, TokenizerError)
    assert told.message == "some.json: is not a tokenizer.json, or a damaged one: PanicException: no entry found"
    for other in (KeyboardInterrupt(), TokenizerError("x")):
        assert as_tokenizer_error(other, "some.json") is other


def test_padding_of_a_file_does_not_fill_the_memory(byte_bpe: ByteBPETokenizer) -> None:
    padding = {
        "strategy": {"Fixed": 10**7}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
        "pad_token": "<|padding|>",
    }  # fmt: skip
    content = json.dumps(json.loads(byte_bpe.content) | {"padding": padding}).encode()
    assert len(engine_of(content, "padded").encode("a").ids) < 5
