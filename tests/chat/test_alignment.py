"""The tokens that hold given characters are found, whatever the tokenizer does to a text."""

from collections.abc import Sequence

import pytest
from chats import ADDED, SPECIAL
from hypothesis import given
from hypothesis import strategies as st

from puna.chat.alignment import Span, by_beginnings, common, tokens_within, walk
from puna.tokenizer.byte_bpe import ByteBPETokenizer
from puna.tokenizer.sentencepiece import SentencePieceTokenizer
from puna.tokenizer.tokenizer import Tokenizer

PARTS = ["a", " ", "  ", "\n", "The capital", "é", "日本", "🙂", "\u2581", "\0", ".", *SPECIAL[:5], *ADDED[:4]]
texts = st.lists(st.sampled_from(PARTS), max_size=12).map("".join)


def no_beginnings(end: int) -> list[int]:
    raise AssertionError("the walk finds all tokens")


@given(text=texts)
def test_the_places_of_tokens_are_the_bytes_of_the_text_one_after_the_other(
    tokenizer: ByteBPETokenizer, text: str
) -> None:
    content, ids = text.encode(), tokenizer.encode(text, special=True)
    places = walk(tokenizer, content, ids)
    assert places is not None
    assert b"".join(content[begin:end] for begin, end in places) == content
    for token, (begin, end) in zip(ids, places, strict=True):
        assert content[begin:end] == (tokenizer.bytes_of(token) or tokenizer.piece(token).encode())


@given(text=texts)
def test_a_dummy_prefix_has_no_place_in_the_text(pieces: SentencePieceTokenizer, text: str) -> None:
    content, ids = text.encode(), pieces.encode(text, special=True)
    places = walk(pieces, content, ids)
    assert places is not None
    assert [0, *(end for _, end in places)] == [*(begin for begin, _ in places), len(content)]
    for token, (begin, end) in zip(ids, places, strict=True):
        own = pieces.bytes_of(token) or pieces.piece(token).encode()
        assert content[begin:end] in (own, own.removeprefix(b" "))


@pytest.mark.parametrize("which", ["tokenizer", "pieces"])
def test_tokens_within_spans_are_those_whose_characters_the_library_says(
    which: str, request: pytest.FixtureRequest
) -> None:
    """Hugging Face's for byte-level BPE; SentencePiece's own, of text whose bytes are characters."""
    used: Tokenizer = request.getfixturevalue(which)
    text = "You are a helpful assistant. What is the capital? The capital is Paris.\n\nuser"
    text += " 日本 🙂" if which == "tokenizer" else ""
    spans = [(4, 9), (20, 31), (52, 56), (70, 71), (74, 75), (len(text) - 1, len(text))]
    ids = used.encode(text, special=True)
    expected = library_places(used, text)
    assert len(expected) == len(ids)
    wanted = [any(b < end and begin < e for b, e in spans) for begin, end in expected]
    assert tokens_within(used, text, ids, spans, no_beginnings) == wanted


def library_places(used: Tokenizer, text: str) -> list[Span]:
    if isinstance(used, ByteBPETokenizer):
        import tokenizers

        return tokenizers.Tokenizer.from_str(used.content.decode()).encode(text, add_special_tokens=False).offsets
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_proto=used.content)
    return [(piece.begin, piece.end) for piece in processor.encode(text, return_type="proto").pieces]


@given(parts=st.lists(st.sampled_from(["the", " capital", " is", " Paris.", "\n"]), min_size=1, max_size=6))
def test_beginnings_tell_the_same_where_places_are_between_control_tokens(
    tokenizer: ByteBPETokenizer, parts: Sequence[str]
) -> None:
    text, spans = "", []
    for part in parts:
        text += "<|im_start|>"
        spans.append((len(text), len(text) + len(part)))
        text += part + "<|im_end|>"
    ids = tokenizer.encode(text, special=True)

    def beginning(end: int) -> list[int]:
        return tokenizer.encode(text[:end], special=True)

    assert by_beginnings(ids, spans, beginning) == tokens_within(tokenizer, text, ids, spans, no_beginnings)


def test_a_text_that_the_tokenizer_changes_is_found_by_its_beginnings(tokenizer: ByteBPETokenizer) -> None:
    ids = tokenizer.encode("<|im_start|>é<|im_end|>", special=True)
    text = "<|im_start|>e\u0301<|im_end|>"  # as a tokenizer that composes characters would give

    def beginning(end: int) -> list[int]:
        return tokenizer.encode(text[:end].replace("e\u0301", "é"), special=True)

    assert walk(tokenizer, text.encode(), ids) is None
    learned = tokens_within(tokenizer, text, ids, [(12, len(text))], beginning)
    assert learned == [False] + [True] * (len(ids) - 1)


def test_nothing_is_within_no_span_or_an_empty_one(tokenizer: ByteBPETokenizer) -> None:
    ids = tokenizer.encode("The capital")
    assert tokens_within(tokenizer, "The capital", ids, [], no_beginnings) == [False] * len(ids)
    assert tokens_within(tokenizer, "The capital", ids, [(3, 3)], no_beginnings) == [False] * len(ids)
    assert by_beginnings(ids, [(3, 3)], no_beginnings) == [False] * len(ids)


def test_sequences_have_a_common_beginning_of_some_length() -> None:
    assert [common(*pair) for pair in (([], [1]), ([1, 2], [1, 3]), ("ab", "ab"))] == [0, 1, 2]
