"""A byte-level BPE is learned as GPT-NeoX's was, and merges are those that counting pairs by hand gives."""

import re
from collections import Counter
from itertools import pairwise

import pytest
import regex

from puna.core.errors import TokenizerError
from puna.tokenizer.byte_bpe import ByteBPETokenizer
from puna.tokenizer.byte_level import GPT2_PATTERN, LETTERS, letters
from puna.tokenizer.train_byte_bpe import learn_byte_bpe
from puna.tokenizer.training_text import TrainingText


def merges_by_hand(text: str, count: int) -> list[tuple[str, str]]:
    """The most frequent pair again and again; of equally frequent ones, that of the lowest ids."""
    ids = {letter: number for number, letter in enumerate(sorted(LETTERS.values()))}
    words = Counter(tuple(letters(word.encode())) for word in regex.findall(GPT2_PATTERN, text))
    merges = []
    for _ in range(count):
        pairs: Counter[tuple[str, str]] = Counter()
        for word, times in words.items():
            for pair in pairwise(word):
                pairs[pair] += times
        best = min(pairs, key=lambda pair: (-pairs[pair], ids[pair[0]], ids[pair[1]]))
        merges.append(best)
        ids["".join(best)] = len(ids)
        merged: Counter[tuple[str, ...]] = Counter()
        for word, times in words.items():
            parts: list[str] = []
            for part in word:
                if parts and (parts[-1], part) == best:
                    parts[-1] += part
                else:
                    parts.append(part)
            merged[tuple(parts)] += times
        words = merged
    return merges


def test_merges_are_those_that_counting_by_hand_gives(library: str) -> None:
    text = library[:40_000] + "  größer als 日本  " * 30
    tokenizer = learn_byte_bpe(TrainingText([text]), 2 + 256 + 80)
    assert tokenizer.merges == merges_by_hand(text, 80)


def test_vocabulary_is_special_tokens_then_bytes_then_merges(byte_bpe: ByteBPETokenizer) -> None:
    pieces = [byte_bpe.piece(token) for token in range(1000)]
    assert pieces[:2] == ["<|endoftext|>", "<|padding|>"]
    assert pieces[2:258] == sorted(LETTERS.values())
    assert pieces[258:] == ["".join(pair) for pair in byte_bpe.merges]
    assert (byte_bpe.bos_id, byte_bpe.eos_id, byte_bpe.add_bos) == (0, 0, True)
    assert byte_bpe.patterns == (GPT2_PATTERN,)
    assert not byte_bpe.normalizes
    assert byte_bpe.added == {}


def test_indentation_is_learned(byte_bpe: ByteBPETokenizer) -> None:
    assert len(byte_bpe.encode("\n        return")) == len(byte_bpe.encode("\n    return"))


def test_trained_text_is_shorter_in_tokens_than_in_bytes(byte_bpe: ByteBPETokenizer, library: str) -> None:
    assert len(byte_bpe.encode(library)) < 0.5 * len(library.encode())


def test_vocabulary_that_the_text_does_not_allow_is_refused_with_the_largest_possible() -> None:
    text = "the quick brown fox jumps over the lazy dog"
    with pytest.raises(TokenizerError) as caught:
        learn_byte_bpe(TrainingText([text]), 5000)
    match = re.fullmatch(
        r"model.vocab_size = 5000 is too large: 43 bytes of text allow (\d+) at most", caught.value.message
    )
    assert match
    largest = int(match[1])
    assert learn_byte_bpe(TrainingText([text]), largest).vocab_size == largest
    with pytest.raises(TokenizerError, match=f"allow {largest} at most"):
        learn_byte_bpe(TrainingText([text]), largest + 1)


def test_vocabulary_too_small_for_the_bytes_is_refused(library: str) -> None:
    assert learn_byte_bpe(TrainingText([library]), 258).merges == []
    with pytest.raises(TokenizerError, match=r"model.vocab_size = 257 is too small: .* alone need 258"):
        learn_byte_bpe(TrainingText([library]), 257)
