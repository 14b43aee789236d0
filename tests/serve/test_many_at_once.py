"""The engine's promise through HTTP: a request is answered the same alone and among 64, streamed or not."""

import asyncio
import contextlib
import subprocess
import sys
import urllib.request
from typing import Any

import openai
from listening import Listening, until

BODIES: list[dict[str, Any]] = [
    {
        "model": "chatty", "prompt": "What is the capital of France? " * (1 + number % 5) + str(number),
        "max_tokens": 5 + number % 7, "logprobs": number % 3, "temperature": number % 2, "seed": number,
        "n": 1 + number % 2,
    }
    for number in range(64)
]  # fmt: skip
Told = dict[int, tuple[str, str | None, list[Any]]]
"""By the number of a text: the text, why it ended, and its log-probabilities."""


async def whole(client: openai.AsyncOpenAI, body: dict[str, Any]) -> Told:
    answer = await client.completions.create(**body)
    return {
        choice.index: (choice.text, choice.finish_reason, _logprobs(choice.logprobs))
        for choice in answer.choices
    }  # fmt: skip


async def streamed(client: openai.AsyncOpenAI, body: dict[str, Any]) -> Told:
    told: Told = {}
    async for chunk in await client.completions.create(stream=True, **body):
        for choice in chunk.choices:
            text, _, logprobs = told.get(choice.index, ("", None, []))
            more = logprobs + _logprobs(choice.logprobs)
            told[choice.index] = (text + choice.text, choice.finish_reason, more)
    return told


def _logprobs(logprobs: Any) -> list[Any]:
    """Each token's log-probability, and those of the likeliest."""
    if logprobs is None:
        return []
    return list(zip(logprobs.token_logprobs, logprobs.top_logprobs or [None] * 10_000, strict=False))


@contextlib.asynccontextmanager
async def asynchronous(served: Listening) -> Any:
    async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_answers_are_the_same_alone_and_among_64_streamed_or_not(served: Listening) -> None:
    async def work() -> None:
        async with asynchronous(served) as client:
            alone = [await whole(client, body) for body in BODIES]
            asked = [(whole, streamed)[number % 3 == 0](client, body) for number, body in enumerate(BODIES)]
            together = await asyncio.gather(*asked)
            assert together == alone
            assert await streamed(client, BODIES[1]) == alone[1], "and streamed alone"
            assert len({text for told in alone for text, _, _ in told.values()}) > 60, "the texts differ"

    asyncio.run(work())


def metric(served: Listening, begin: str) -> int:
    """The sum of the server's figures whose lines begin so."""
    with urllib.request.urlopen(f"{served.url}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return int(sum(float(line.split()[-1]) for line in lines if line.startswith(begin)))


def test_a_client_that_goes_away_is_cancelled(served: Listening, client: openai.OpenAI) -> None:
    left = 'puna_samples_total{finish="left"'
    before = metric(served, left)
    stream = client.completions.create(model="chatty", prompt="x", max_tokens=1000, n=16, stream=True)
    next(iter(stream))
    stream.close()
    until(lambda: metric(served, "puna_requests_running{") == 0)
    assert metric(served, left) > before


def test_what_answers_http_has_no_torch() -> None:
    code = (
        "import sys\nfrom puna.serve.app import make_app\nfrom puna.serve.models import Models\n"
        "from puna.serve.engine_client import EngineClient, EngineLimits\nfrom puna.api.serve import ModelLoader\n"
        "make_app(Models([EngineClient('a', ModelLoader('a'), EngineLimits())]))\n"
        "assert not {'torch', 'transformers', 'safetensors'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
