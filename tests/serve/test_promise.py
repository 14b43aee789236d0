"""The engine's promise through HTTP and the pipe: whoever else is served, and however a text comes, it is the same."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import openai
import pytest

WORDS = ("You", "What", "The capital", "user", "é日", "", "a", "\n")
PROMPTS = [f"{word} {number}" for number in range(8) for word in WORDS]


def asked(client: openai.OpenAI, prompt: str, **more: Any) -> tuple[str, list[float | None]]:
    """A text and the log-probabilities of its tokens."""
    body = {"model": "chatty", "prompt": prompt, "max_tokens": 24, "logprobs": 2, "seed": 7, **more}
    if not more.get("stream"):
        (choice,) = client.completions.create(**body).choices
        assert choice.logprobs is not None
        return choice.text, list(choice.logprobs.token_logprobs or ())
    text, logprobs = "", []
    for chunk in client.completions.create(**body):
        text += chunk.choices[0].text
        logprobs += chunk.choices[0].logprobs.token_logprobs if chunk.choices[0].logprobs else []
    return text, logprobs


@pytest.mark.parametrize("temperature", [0, 1])
def test_texts_are_the_same_alone_and_among_sixty_four_streamed_or_not(
    client: openai.OpenAI, temperature: float
) -> None:
    assert len(PROMPTS) == 64
    alone = [asked(client, prompt, temperature=temperature) for prompt in PROMPTS[:9]]
    with ThreadPoolExecutor(64) as threads:
        for stream in (False, True):
            ask = partial(asked, client, temperature=temperature, stream=stream)
            together = list(threads.map(ask, PROMPTS))
            assert together[:9] == alone
    assert len({text for text, _ in together}) > 32
