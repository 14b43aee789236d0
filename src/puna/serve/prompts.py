"""Prompts as token ids: texts are read beside the event loop, and not at all where they can only be too long."""

import asyncio
from functools import lru_cache

from puna.serve.errors import ApiError
from puna.serve.served_model import ServedModel
from puna.tokenizer.bos import prompt_ids
from puna.tokenizer.tokenizer import Tokenizer

_SHORT = 2000
"""Characters that are read in less than a millisecond, about what a thread costs."""


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
        return [await text_ids(str(text), model, f"prompt[{place}]") for place, text in enumerate(prompt)]
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
    if len(text) <= _SHORT:
        return tuple(prompt_ids(model.tokenizer, text))
    return tuple(await asyncio.to_thread(prompt_ids, model.tokenizer, text))


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
