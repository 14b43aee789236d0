"""The alphabet is the one that Hugging Face's library has, and ways to split text read back as they were written."""

import json

import pytest
import tokenizers
from tokenizers import pre_tokenizers

from puna.tokenizer.byte_level import (
    BYTES,
    GPT2_PATTERN,
    LETTERS,
    SPLITS,
    content_of,
    letters,
    pre_tokenizer,
    read_patterns,
)


def test_alphabet_is_the_library_s() -> None:
    assert len(LETTERS) == len(BYTES) == 256
    assert set(BYTES) == set(pre_tokenizers.ByteLevel.alphabet())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    for point in (*range(0x100), 0x7FF, 0x800, 0xFFFD, 0x10000, 0x10FFFF):
        ((written, _),) = byte_level.pre_tokenize_str(chr(point))
        assert letters(chr(point).encode()) == written
        assert content_of(written) == chr(point).encode()


def test_piece_with_another_character_is_text() -> None:
    assert content_of("a b") == b"a b"
    assert content_of("日") == "日".encode()
    assert content_of("\u0120a") == b" a"


@pytest.mark.parametrize("name", SPLITS)
def test_splits_come_back(name: str) -> None:
    patterns = SPLITS[name].patterns
    assert read_patterns(pre_tokenizer(patterns)) == patterns


@pytest.mark.parametrize(
    ("step", "patterns"),
    [
        ({"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}, (GPT2_PATTERN,)),
        ({"type": "Digits", "individual_digits": True}, (r"\p{N}",)),
        ({"type": "Digits", "individual_digits": False}, (r"\p{N}+",)),
        ({"type": "Split", "pattern": {"Regex": "a"}, "behavior": "Removed", "invert": True}, None),
        ({"type": "Split", "pattern": {"String": "a"}, "behavior": "Isolated", "invert": False}, None),
        ({"type": "Sequence", "pretokenizers": [{"type": "Whitespace"}, {"type": "ByteLevel"}]}, None),
        (None, None),
    ],
)
def test_patterns_are_read(step: dict, patterns: tuple[str, ...] | None) -> None:
    assert read_patterns(step) == patterns


@pytest.mark.parametrize("digits", [True, False])
def test_digits_are_what_the_pattern_says(digits: bool) -> None:
    def splitter(step: dict) -> tokenizers.pre_tokenizers.PreTokenizer:
        content = {
            "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
            "pre_tokenizer": step, "post_processor": None, "decoder": None,
            "model": {"type": "BPE", "vocab": {}, "merges": []},
        }  # fmt: skip
        return tokenizers.Tokenizer.from_str(json.dumps(content)).pre_tokenizer

    step = {"type": "Digits", "individual_digits": digits}
    patterns = read_patterns(step)
    assert patterns
    split = {"type": "Split", "pattern": {"Regex": patterns[0]}, "behavior": "Isolated", "invert": False}
    every = "".join(chr(point) for point in range(0x20, 0x3000))
    assert splitter(step).pre_tokenize_str(every) == splitter(split).pre_tokenize_str(every)
