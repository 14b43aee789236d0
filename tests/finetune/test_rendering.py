"""An example as documents; what takes too long to write is not written."""

import pytest
from tuning import TEMPLATE, pair, talk

from puna.chat.masks import pair_of, tokens_of
from puna.chat.template import ChatTemplate
from puna.finetune.rendering import DAY, Rendering
from puna.finetune.truncation import TOO_LONG, Limits
from puna.tokenizer.tokenizer import Tokenizer


def rendering(tokenizer: Tokenizer, *, learn: str = "answers", pairs: bool = False) -> Rendering:
    return Rendering(TEMPLATE, tokenizer, Limits(128, None, None, cut=True), learn, pairs)


@pytest.mark.parametrize("learn", ["answers", "last-answer", "everything"])
def test_a_conversation_is_written_as_the_template_does_it(tokenizer: Tokenizer, learn: str):
    example = talk("Hello", "Hi.", "You", "Yes")
    (document,) = rendering(tokenizer, learn=learn).write(example).documents
    expected = tokens_of(ChatTemplate(TEMPLATE, tokenizer), example, learn=learn, now=DAY)
    assert document.ids.tolist() == expected.ids[: len(document.ids)]
    assert document.learned.tolist() == expected.learned[: len(document.ids)]
    assert not any(expected.learned[len(document.ids) :])


def test_of_a_pair_both_answers_are_learned_behind_the_same_prompt(tokenizer: Tokenizer):
    example = pair("Hello", "Hi.", "No, you")
    documents = rendering(tokenizer, pairs=True).write(example).documents
    for document, expected in zip(documents, pair_of(ChatTemplate(TEMPLATE, tokenizer), example, now=DAY), strict=True):
        assert document.ids.tolist() == expected.ids[: len(document.ids)]
        assert document.learned.tolist() == expected.learned[: len(document.ids)]
    chosen, rejected = documents
    prompt = chosen.learned.tolist().index(True)
    assert rejected.learned.tolist().index(True) == prompt
    assert chosen.ids[:prompt].tolist() == rejected.ids[:prompt].tolist()


def test_a_turn_of_megabytes_is_dropped_before_it_is_written(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch):
    kept = rendering(tokenizer).write(talk("the capital " * 100, "Hi."))
    assert (kept.reason, len(kept.documents)) == ("", 1)
    monkeypatch.delattr("puna.finetune.rendering.tokens_of_each")
    assert rendering(tokenizer).write(talk("a" * 10_000_000, "Hi.")).reason == TOO_LONG


@pytest.mark.parametrize("learn", ["answers", "everything"])
def test_examples_together_become_what_each_becomes_by_itself(tokenizer: Tokenizer, learn: str):
    examples = [
        talk("Hello", "Hi."), talk("a" * 10_000_000, "Hi."), talk("Hello", ""), talk("no answer"),
        talk("the capital " * 9000, "Hi."), talk("<|im_start|>", "Hi.\n"), talk("", " "),
    ]  # fmt: skip
    used = rendering(tokenizer, learn=learn)
    together = used.write_each(examples)
    for one, example in zip(together, examples, strict=True):
        other = used.write(example)
        assert one[1:] == other[1:]
        for document, expected in zip(one.documents, other.documents, strict=True):
            assert document.ids.tolist() == expected.ids.tolist()
            assert document.learned.tolist() == expected.learned.tolist()
    assert len({one.reason for one in together}) > 1
