"""Typed control tokens are text, in ids that decode to what was typed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.chat.controls import ANSWER, TEMPLATE, TYPED, Control, controls_of, encode
from puna.core.errors import GenerateError
from puna.tokenizer.byte_bpe import ByteBPETokenizer

TEXT = "<|im_start|><|im_end|>"


def ids_of(tokenizer: ByteBPETokenizer, text: str, origins: list[int]) -> list[int]:
    return encode(tokenizer, controls_of(tokenizer, "<think>"), text, bytes(origins))


def test_controls_are_special_tokens_and_those_added_ones_that_a_template_writes(tokenizer: ByteBPETokenizer) -> None:
    found = {control.text: control.special for control in controls_of(tokenizer, "x</think>")}
    assert found["<|im_end|>"]
    assert not found["</think>"]
    assert not found["<|user|>"], "a template may put it together"
    assert "<think>" not in found


def test_a_control_token_is_a_token_only_if_the_template_wrote_all_of_it(tokenizer: ByteBPETokenizer) -> None:
    start, end = tokenizer.encode(TEXT, special=True)
    assert ids_of(tokenizer, TEXT, [TEMPLATE] * 22) == [start, end]
    for at in range(22):
        origins = [TEMPLATE] * 22
        origins[at] = TYPED
        ids = ids_of(tokenizer, TEXT, origins)
        assert (start in ids, end in ids) == (at >= 12, at < 12)
        kept = "<|im_start|>" if at < 12 else "<|im_end|>"
        assert tokenizer.decode(ids) == kept, "a control token stands for no text"


def test_an_answer_may_have_ordinary_added_tokens_and_no_special_ones(tokenizer: ByteBPETokenizer) -> None:
    text, added = "<think></s>", tokenizer.added["<think>"]
    assert ids_of(tokenizer, text, [ANSWER] * len(text))[0] == added
    assert tokenizer.eos_id not in ids_of(tokenizer, text, [ANSWER] * len(text))
    assert added not in ids_of(tokenizer, text, [TYPED] * len(text))


@given(
    st.lists(st.sampled_from(["<s>", "</s>", "<", "s>", "<|im_end|>", "a", " ", "[INST]", "é"]), max_size=12), st.data()
)
def test_no_part_of_a_text_that_was_typed_becomes_a_control_token(
    tokenizer: ByteBPETokenizer, parts: list[str], data: st.DataObject
) -> None:
    text = "".join(parts)
    origins = data.draw(st.lists(st.sampled_from([TEMPLATE, TYPED]), min_size=len(text), max_size=len(text)))
    ids = ids_of(tokenizer, text, origins)
    controls = {control.token: control.text for control in controls_of(tokenizer, "")}
    whole = "".join(controls.get(token) or tokenizer.bytes_of(token).decode("latin-1") for token in ids)
    assert whole == text.encode().decode("latin-1")
    at = 0
    for token in ids:
        length = len(controls.get(token) or tokenizer.bytes_of(token))
        if token in controls:
            before = len(whole[:at].encode("latin-1").decode())
            assert TYPED not in origins[before : before + length]
        at += length


def test_a_control_token_of_one_character_cannot_be_typed(tokenizer: ByteBPETokenizer) -> None:
    control = Control("~", tokenizer.bos_id, special=True)
    with pytest.raises(GenerateError, match="a message holds ~"):
        encode(tokenizer, [control], "a~", bytes([TYPED] * 2))


def test_a_control_token_that_a_normalizer_would_make_is_refused(tokenizer: ByteBPETokenizer) -> None:
    class Normalizing(ByteBPETokenizer):
        def encode_special(self, texts: list[str]) -> list[list[int]]:
            return super().encode_special([text.replace("\u212a", "k") for text in texts])

    other = Normalizing(tokenizer.content)
    control = Control("<think>", other.added["<think>"], special=False)
    with pytest.raises(GenerateError, match="a message holds <think>"):
        encode(other, [control], "<thin\u212a>", bytes([TYPED] * 7))
