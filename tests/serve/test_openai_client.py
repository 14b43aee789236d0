"""OpenAI's client against a whole server: keys, limits, routes, and a model in a process of its own.

What each route answers to each field has tests of its own in `tests/serve/routes`; here one model with random weights,
whose template knows functions, is asked in every way that the client has.
"""

import asyncio
import json
from collections.abc import Iterator
from typing import Any, Literal

import openai
import pytest
from chats import TOOL_TEMPLATES, chat_tokenizer
from listening import Listening, listening, until
from model_source import random_model
from prometheus_client.parser import text_string_to_metric_families
from pydantic import BaseModel
from serving import SHAPE

from puna.api.serve import ModelLoader
from puna.config.recipe import ModelConfig
from puna.model.files import save_model
from puna.serve.app import make_app
from puna.serve.engine_client import EngineClient, EngineLimits
from puna.serve.keys import Keys
from puna.serve.models import Models
from puna.serve.run import Settings

KEYS = {"alice": "alice-key-of-sixteen", "metrics": "metrics-key-of-sixteen"}
HELLO: Any = [{"role": "user", "content": "Hello"}]
PARAMETERS = {
    "type": "object", "properties": {"city": {"enum": ["Rome", "Oslo"]}, "days": {"enum": [1, 2]}},
    "required": ["city", "days"], "additionalProperties": False,
}  # fmt: skip
CHAT_TOOL: Any = {"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}
TOOL: Any = {"type": "function", "name": "get_weather", "parameters": PARAMETERS, "strict": True}
GREEDY: dict[str, Any] = {"model": "chatty", "temperature": 0}


class Forecast(BaseModel):
    """An answer in a form that is short in any case."""

    city: Literal["Rome", "Oslo"]
    warm: bool


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    """A server with keys."""
    directory = tmp_path_factory.mktemp("client") / "chatty"
    tokenizer = chat_tokenizer(add_bos=False)
    config = ModelConfig.model_validate({**SHAPE, "vocab_size": tokenizer.vocab_size})
    save_model(
        random_model(config, std=0.2), directory, tokenizer=tokenizer, inputs={}, chat_template=TOOL_TEMPLATES["qwen"]
    )
    models = Models([EngineClient("chatty", ModelLoader(str(directory), {"threads": 1}), EngineLimits())])
    app = make_app(models)
    with listening(app, Settings(keys=Keys(KEYS), metrics=app.state.metrics), models) as started:
        yield started


@pytest.fixture(scope="module")
def client(server: Listening) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEYS["alice"], max_retries=0) as made:
        yield made


def figures(server: Listening) -> dict[tuple[str, ...], float]:
    """All figures of `/metrics` by their names and the values of their labels."""
    with openai.OpenAI(base_url=server.url, api_key=KEYS["metrics"], max_retries=0) as reader:
        page = reader.get("/metrics", cast_to=str)
    families = text_string_to_metric_families(page)
    return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}


def test_models_are_listed_and_found(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["chatty"]
    assert client.models.retrieve("chatty").object == "model"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("chaty")
    assert caught.value.code == "model_not_found"


def test_completions_are_the_same_whole_and_streamed(client: openai.OpenAI) -> None:
    whole = client.completions.create(prompt="The capital", max_tokens=12, n=2, seed=3, temperature=1, model="chatty")
    assert whole.usage is not None
    assert [choice.index for choice in whole.choices] == [0, 1]
    texts, usage = ["", ""], None
    for chunk in client.completions.create(
        prompt="The capital", max_tokens=12, n=2, seed=3, temperature=1, model="chatty", stream=True,
        stream_options={"include_usage": True},
    ):  # fmt: skip
        for choice in chunk.choices:
            texts[choice.index] += choice.text
        usage = chunk.usage or usage
    assert texts == [choice.text for choice in whole.choices]
    assert usage is not None
    assert usage.total_tokens == whole.usage.total_tokens


def test_the_prompts_own_log_probabilities_come_with_echo(client: openai.OpenAI) -> None:
    read = client.completions.create(prompt=[[5, 6, 7], [8, 9]], max_tokens=0, echo=True, logprobs=1, model="chatty")
    lists = [choice.logprobs for choice in read.choices]
    assert [len(one.token_logprobs or ()) for one in lists if one] == [3, 2]
    assert all(one is not None and one.token_logprobs is not None and one.token_logprobs[0] is None for one in lists)


def test_chats_are_the_same_whole_and_streamed(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"messages": HELLO, "max_completion_tokens": 12, "logprobs": True, "top_logprobs": 2}
    whole = client.chat.completions.create(**asked, **GREEDY)
    with client.chat.completions.stream(**asked, **GREEDY) as stream:
        stream.until_done()  # its final completion would be an error, since the answer is cut
        streamed = stream.current_completion_snapshot
    assert streamed.choices[0].message.content == whole.choices[0].message.content
    assert streamed.choices[0].finish_reason == whole.choices[0].finish_reason == "length"
    logprobs = [one.choices[0].logprobs for one in (whole, streamed)]
    assert logprobs[0] is not None
    assert logprobs[1] is not None
    assert logprobs[0].content == logprobs[1].content
    assert len(logprobs[0].content or ()) == 12


def test_a_chat_answers_in_the_form_of_a_class(client: openai.OpenAI) -> None:
    answer = client.chat.completions.parse(
        messages=HELLO, model="chatty", response_format=Forecast, max_completion_tokens=200
    )
    assert isinstance(answer.choices[0].message.parsed, Forecast)


def test_a_chat_calls_a_function_and_goes_on_with_what_it_gave(client: openai.OpenAI) -> None:
    first = client.chat.completions.create(
        messages=HELLO, tools=[CHAT_TOOL], tool_choice="required", parallel_tool_calls=False,
        max_completion_tokens=300, **GREEDY,
    )  # fmt: skip
    assert first.choices[0].finish_reason == "tool_calls"
    message = first.choices[0].message
    assert message.tool_calls
    for call in message.tool_calls:
        assert call.type == "function"
        assert set(json.loads(call.function.arguments)) == {"city", "days"}
    results: Any = [{"role": "tool", "tool_call_id": call.id, "content": "20"} for call in message.tool_calls]
    second = client.chat.completions.create(
        messages=[*HELLO, message, *results], tools=[CHAT_TOOL], max_completion_tokens=4, **GREEDY
    )
    assert first.usage is not None
    assert second.usage is not None
    assert second.usage.prompt_tokens > first.usage.prompt_tokens


def test_responses_are_the_same_whole_and_streamed(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {
        "input": "Hello", "instructions": "Be brief.", "max_output_tokens": 12, "top_logprobs": 1,
        "include": ["message.output_text.logprobs"],
    }  # fmt: skip
    whole = client.responses.create(**asked, **GREEDY)
    events = list(client.responses.create(**asked, **GREEDY, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [events[0].type, events[-1].type] == ["response.created", "response.incomplete"]
    last = events[-1]
    assert last.type == "response.incomplete"
    assert last.response.output_text == whole.output_text
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == whole.output_text
    assert [item.content for item in last.response.output if item.type == "message"] == [
        item.content for item in whole.output if item.type == "message"
    ]


def test_a_response_answers_in_the_form_of_a_class(client: openai.OpenAI) -> None:
    answer = client.responses.parse(input="Hello", model="chatty", text_format=Forecast, max_output_tokens=200)
    assert isinstance(answer.output_parsed, Forecast)


def test_a_response_calls_a_function_and_goes_on_with_what_it_gave(client: openai.OpenAI) -> None:
    with client.responses.stream(
        input="Hello", tools=[TOOL], tool_choice={"type": "function", "name": "get_weather"}, max_output_tokens=300,
        parallel_tool_calls=False, **GREEDY,
    ) as stream:  # fmt: skip
        first = stream.get_final_response()
    (call,) = first.output
    assert call.type == "function_call"
    assert isinstance(call.parsed_arguments, dict)
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "20"}
    items: Any = [*HELLO, call, result]
    second = client.responses.create(input=items, tools=[TOOL], max_output_tokens=4, **GREEDY)
    assert second.usage is not None
    assert first.usage is not None
    assert second.usage.input_tokens > first.usage.input_tokens
    assert second.usage.input_tokens_details.cached_tokens > 0


def test_answers_do_not_depend_on_company(server: Listening, client: openai.OpenAI) -> None:
    texts = [f"Number {number}" for number in range(16)]
    alone = [client.responses.create(input=text, max_output_tokens=8, **GREEDY).output_text for text in texts]

    async def together() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=KEYS["alice"], max_retries=0) as many:
            answers = [many.responses.create(input=text, max_output_tokens=8, **GREEDY) for text in texts]
            return [answer.output_text for answer in await asyncio.gather(*answers)]

    assert asyncio.run(together()) == alone


def test_errors_are_the_exceptions_of_the_client(server: Listening, client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(input="Hello", previous_response_id="resp_1")
    assert (caught.value.param, caught.value.code) == ("previous_response_id", "unsupported_parameter")
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(messages=HELLO, model="chatty", temperature=3)
    assert caught.value.param == "temperature"
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(prompt=[5] * 2000, model="chatty")
    assert caught.value.code == "context_length_exceeded"
    with (
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.models.list()
    with pytest.raises(openai.PermissionDeniedError):
        client.get(f"{server.url}/metrics", cast_to=str)


def test_a_stream_that_is_closed_ends_in_the_engine_and_is_counted(server: Listening, client: openai.OpenAI) -> None:
    before = figures(server).get(("puna_samples_total", "left", "chatty"), 0)
    with client.responses.create(input="Hello", model="chatty", stream=True) as stream:
        while next(stream).type != "response.output_text.delta":
            pass
    until(lambda: figures(server).get(("puna_samples_total", "left", "chatty"), 0) == before + 1)
    found = figures(server)
    assert found["puna_requests_running", "chatty"] == 0
    assert found["puna_requests_total", "POST", "chatty", "/v1/responses", "200"] >= 1
