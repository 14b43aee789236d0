"""Prompts as token ids: texts are read beside the event loop, and not at all where they can only be too long."""

import asyncio
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeVar

from puna.serve.errors import ApiError
from puna.serve.served_model import ServedModel
from puna.tokenizer.bos import prompt_ids
from puna.tokenizer.tokenizer import Tokenizer

_SHORT = 2000
"""Characters that are read in less than a millisecond, about what a thread costs."""

Read = TypeVar("Read")


async def prompts_of(
    prompt: str | list[str] | list[int] | list[list[int]], model: ServedModel
) -> list[tuple[int, ...]]:
    """The token ids of each prompt, BOS as the tokenizer's files ask.

    Args:
        prompt: As `/v1/completions` takes it.
        model: Whose tokenizer reads it.

    Raises:
        ApiError: A text can only be too long for the model.
    """
    if isinstance(prompt, str):
        return [await text_ids(prompt, model, "prompt")]
    if isinstance(prompt[0], str):
        return await texts_ids([str(text) for text in prompt], model, "prompt")
    if isinstance(prompt[0], int):
        return [tuple(one for one in prompt if isinstance(one, int))]
    return [tuple(one) for one in prompt if isinstance(one, list)]


async def text_ids(text: str, model: ServedModel, param: str) -> tuple[int, ...]:
    """The ids of one text, BOS as the tokenizer's files ask.

    Args:
        text: What is typed is never a control token.
        model: Whose tokenizer reads it.
        param: The field, for errors.

    Raises:
        ApiError: It can only be too long for the model.
    """
    refuse_long(text, model, param)
    return tuple(await beside_the_loop(lambda: prompt_ids(model.tokenizer, text), len(text)))


async def texts_ids(texts: Sequence[str], model: ServedModel, param: str) -> list[tuple[int, ...]]:
    """The ids of each of several texts, as of `text_ids`.

    Args:
        texts: Any number.
        model: Whose tokenizer reads them.
        param: The field with the list of them, for errors.

    Raises:
        ApiError: One of them can only be too long for the model.
    """
    for place, text in enumerate(texts):
        refuse_long(text, model, f"{param}[{place}]")
    return await beside_the_loop(
        lambda: [tuple(prompt_ids(model.tokenizer, text)) for text in texts], sum(map(len, texts))
    )


async def beside_the_loop(read: Callable[[], Read], characters: int) -> Read:
    """What `read` gives; it runs on a thread, unless it takes no longer than that would cost.

    Texts of one request may have megabytes together, however short each is, and meanwhile everybody else's answers
    would stand still.

    Args:
        read: Reads text.
        characters: Of this text.
    """
    return read() if characters <= _SHORT else await asyncio.to_thread(read)


def refuse_long(text: str, model: ServedModel, param: str) -> None:
    """Refuse a text that has more tokens than the model's context even if each were the longest one.

    Raises:
        ApiError: It has.
    """
    least = len(text) // _longest_token(model.tokenizer)
    if least > model.longest:
        raise ApiError(
            400, f"{param} has {len(text):,} characters, which are at least {least:,} tokens, but the model's context "
            f"is {model.longest:,}: shorten it", param=param, code="context_length_exceeded",
        )  # fmt: skip


@lru_cache(maxsize=64)
def _longest_token(tokenizer: Tokenizer) -> int:
    """Bytes of the longest token, which are at least its characters."""
    return max(map(len, tokenizer.token_bytes()))
