"""Prompts as ids: the same as everywhere in Puna, and refused early where they can only be too long."""

import asyncio
import threading

import pytest
from small_served import small_model

from puna.serve.errors import ApiError
from puna.serve.prompts import beside_the_loop, prompts_of, refuse_long, text_ids, texts_ids
from puna.tokenizer.bos import prompt_ids
from puna.tokenizer.tokenizer import Tokenizer

LONG = "The people of the state " * 1000


def test_prompts_of_every_form_become_ids(tokenizer: Tokenizer) -> None:
    model = small_model(tokenizer)
    first, second = (tuple(prompt_ids(tokenizer, text)) for text in ("The people", "</s>"))
    assert asyncio.run(prompts_of("The people", model)) == [first]
    assert asyncio.run(prompts_of(["The people", "</s>"], model)) == [first, second]
    assert asyncio.run(prompts_of([5, 6], model)) == [(5, 6)]
    assert asyncio.run(prompts_of([[5, 6], [7]], model)) == [(5, 6), (7,)]
    assert asyncio.run(prompts_of("", model)) == [(tokenizer.bos_id,)]
    assert tokenizer.eos_id not in second


def test_a_long_text_is_read_beside_the_loop_to_the_same_ids(tokenizer: Tokenizer) -> None:
    model = small_model(tokenizer)
    model.longest = 100_000
    assert asyncio.run(text_ids(LONG, model, "prompt")) == tuple(prompt_ids(tokenizer, LONG))


def test_much_text_is_read_on_another_thread_however_short_its_parts_are(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []

    def noted(tokenizer: Tokenizer, text: str) -> list[int]:
        threads.append(threading.get_ident())
        return prompt_ids(tokenizer, text)

    monkeypatch.setattr("puna.serve.prompts.prompt_ids", noted)
    model, texts = small_model(tokenizer), ["The people of the state"] * 100
    assert asyncio.run(texts_ids(texts, model, "prompt")) == [tuple(prompt_ids(tokenizer, text)) for text in texts]
    assert asyncio.run(prompts_of(texts, model)) == [tuple(prompt_ids(tokenizer, text)) for text in texts]
    assert len(threads) == 200
    assert threading.get_ident() not in threads
    assert asyncio.run(beside_the_loop(threading.get_ident, 2000)) == threading.get_ident()


def test_which_of_several_texts_is_too_long_is_said(tokenizer: Tokenizer) -> None:
    with pytest.raises(ApiError, match=r"^prefix_text\[1\] has"):
        asyncio.run(texts_ids(["a", LONG], small_model(tokenizer), "prefix_text"))


def test_a_text_is_refused_only_where_no_tokens_are_long_enough(tokenizer: Tokenizer) -> None:
    model = small_model(tokenizer)
    longest = max(map(len, tokenizer.token_bytes()))
    refuse_long("a" * (longest * model.longest), model, "prompt")
    with pytest.raises(ApiError, match=r"^prompt\[3\] has") as caught:
        refuse_long("a" * (longest * (model.longest + 1)), model, "prompt[3]")
    assert (caught.value.param, caught.value.code) == ("prompt[3]", "context_length_exceeded")
