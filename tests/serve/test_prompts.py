"""Prompts as ids: the same as everywhere in Puna, and refused early where they can only be too long."""

import asyncio

import pytest
from small_served import small_model

from puna.serve.errors import ApiError
from puna.serve.prompts import prompts_of, refuse_long, text_ids
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


def test_a_text_is_refused_only_where_no_tokens_are_long_enough(tokenizer: Tokenizer) -> None:
    model = small_model(tokenizer)
    longest = max(map(len, tokenizer.token_bytes()))
    refuse_long("a" * (longest * model.longest), model, "prompt")
    with pytest.raises(ApiError, match=r"^prompt\[3\] has") as caught:
        refuse_long("a" * (longest * (model.longest + 1)), model, "prompt[3]")
    assert (caught.value.param, caught.value.code) == ("prompt[3]", "context_length_exceeded")
