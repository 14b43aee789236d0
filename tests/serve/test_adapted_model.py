"""Adapters are models by names of their own, from one process, and their texts are the same in any company."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest
from adapting import BLOCKS, random_adapter
from chats import TEMPLATES
from listening import Listening, listening

import puna
from puna.api.serve import ModelLoader
from puna.formats.peft.write import write_adapter
from puna.serve.adapted_model import AdaptedModel
from puna.serve.app import make_app
from puna.serve.engine_client import EngineClient, EngineLimits
from puna.serve.models import Models
from puna.serve.run import Settings

NAMES = ("chatty", "polite", "terse")
HELLO: Any = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def adapters(chat_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Two adapters in PEFT's format; the second has norms of DoRA and a chat template of its own."""
    directory = tmp_path_factory.mktemp("adapters")
    config = puna.load(chat_model).config
    write_adapter(random_adapter(config, rank=4, seed=1, only=BLOCKS), directory / "polite")
    terse = random_adapter(config, rank=9, seed=2, magnitudes=True, only=["wq", "wo", "w2"])
    write_adapter(terse, directory / "terse")
    (directory / "terse" / "chat_template.jinja").write_text(TEMPLATES["llama2"])
    return {name: str(directory / name) for name in NAMES[1:]}


@pytest.fixture(scope="module")
def server(chat_model: Path, adapters: dict[str, str]) -> Iterator[Listening]:
    loader = ModelLoader(str(chat_model), {"threads": 1, "adapter": adapters})
    models = Models([EngineClient("chatty", loader, EngineLimits())], {"chatty": list(adapters)})
    app = make_app(models)
    with listening(app, Settings(metrics=app.state.metrics), models) as started:
        yield started


@pytest.fixture(scope="module")
def client(server: Listening) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def test_adapters_are_listed_behind_their_model(client: openai.OpenAI) -> None:
    listed = [(model.id, model.model_dump()["parent"]) for model in client.models.list()]
    assert listed == [("chatty", None), ("polite", "chatty"), ("terse", "chatty")]
    assert client.models.retrieve("polite").id == "polite"
    with pytest.raises(openai.NotFoundError, match="did you mean 'polite'"):
        client.models.retrieve("polit")


def test_each_request_is_answered_by_the_model_that_it_names(
    client: openai.OpenAI, chat_model: Path, adapters: dict[str, str]
) -> None:
    model = puna.load(chat_model, adapter=adapters)
    texts = {}
    for name in NAMES:
        asked = {"prompt": "The capital", "max_tokens": 16, "temperature": 0}
        answer = client.completions.create(model=name, **asked)
        assert answer.model == name
        adapter = "" if name == "chatty" else name
        texts[name] = answer.choices[0].text
        assert texts[name] == model.generate("The capital", max_tokens=16, temperature=0, adapter=adapter)
        chat = client.chat.completions.create(model=name, messages=HELLO, max_tokens=9, temperature=0)
        assert chat.choices[0].message.content == model.chat(HELLO, max_tokens=9, temperature=0, adapter=adapter)
    assert len(set(texts.values())) == 3


def test_texts_are_the_same_alone_and_in_the_company_of_other_adapters(client: openai.OpenAI) -> None:
    def ask(number: int) -> tuple[str, list[float | None]]:
        # The same prompt comes with each adapter, so that a prefix of another one would be found.
        (choice,) = client.completions.create(
            model=NAMES[number % 3], prompt=f"What is the capital of {number // 6}", max_tokens=12, seed=number,
            temperature=number % 2, logprobs=2,
        ).choices  # fmt: skip
        assert choice.logprobs is not None
        return choice.text, list(choice.logprobs.token_logprobs or ())

    alone = [ask(number) for number in range(12)]
    with ThreadPoolExecutor(48) as threads:
        together = list(threads.map(ask, range(48)))
    assert together[:12] == alone
    assert len({text for text, _ in together}) > 24


def test_conversations_are_written_by_the_adapters_own_template(client: openai.OpenAI) -> None:
    prompts = []
    for name in NAMES:
        answer = client.post("/../apply-template", body={"model": name, "messages": HELLO}, cast_to=dict[str, Any])
        prompts.append(answer["prompt"])
    assert prompts[0] == prompts[1]
    assert "[INST]" in prompts[2]


def test_a_model_that_is_an_adapter_itself_answers_with_it(chat_model: Path, adapters: dict[str, str]) -> None:
    _, about = ModelLoader(str(chat_model), {"adapter": adapters["terse"]})()
    assert (about.adapter, about.template) == ("adapter", TEMPLATES["llama2"])

    async def text(model: EngineClient | AdaptedModel) -> str:
        from puna.infer.requests import Request, Sampling
        from puna.serve.caller import ANYONE

        request = Request(prompt=(5, 6, 7), max_tokens=8, sampling=Sampling(temperature=0))
        return "".join([event.text async for event in model.ask(request, ANYONE) if hasattr(event, "text")])

    async def work() -> None:
        alone = EngineClient("tuned", ModelLoader(str(chat_model), {"adapter": adapters["terse"]}), EngineLimits())
        several = EngineClient("chatty", ModelLoader(str(chat_model), {"adapter": adapters}), EngineLimits())
        async with Models([alone, several], {"chatty": list(adapters)}) as models:
            assert list(models.states) == ["tuned", "chatty", "polite", "terse"]
            assert models.default is alone
            assert await text(alone) == await text(models.get("terse")) != await text(several)
            assert models.get("terse").parent == "chatty"
        assert set(models.states.values()) == {"stopped"}

    asyncio.run(work())
