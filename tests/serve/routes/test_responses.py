"""`/v1/responses` through OpenAI's client: created, streamed and parsed, with calls, forms, and what is refused."""

import json
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import openai
import pytest
from chat_served import ScriptedRunner
from fake_runner import FakeRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from in_process import InProcessModel, InProcessModels
from openai.types.responses import Response
from openai_types import check_event, check_response
from pydantic import BaseModel
from starlette.testclient import TestClient

from puna.infer.engine import Engine
from puna.infer.requests import Event, Request
from puna.serve.app import make_app
from puna.serve.caller import Caller
from puna.serve.errors import ApiError
from puna.serve.schema.response_answer import ResponseAnswer
from puna.serve.served_model import Progress
from puna.tokenizer.byte_bpe import ByteBPETokenizer

WEATHER: Any = {
    "type": "function", "name": "get_weather", "description": "How warm it is.", "strict": True,
    "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],
        "additionalProperties": False,
    },
}  # fmt: skip
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome"}}\n</tool_call>'
CALLS = f"Let me see.\n{CALL}\n{CALL.replace('Rome', 'Oslo')}"


class City(BaseModel):
    """An answer in a form."""

    name: str
    people: int


class Breaking(InProcessModel):
    """A model whose process ends after two events."""

    async def ask(self, request: Request, caller: Caller) -> AsyncGenerator[Event | Progress]:
        told = 0
        async for event in super().ask(request, caller):
            yield event
            told += isinstance(event, Event)
            if told == 2:
                raise ApiError(500, "the model's process has ended")


@pytest.fixture
def http(chatty: ByteBPETokenizer, scripted: InProcessModel) -> Iterator[TestClient]:
    bare = InProcessModel("bare", Engine(FakeRunner(vocab_size=chatty.vocab_size), chatty), chatty)
    breaking = Breaking("breaking", scripted.engine, chatty, scripted.template)
    runner = FakeRunner(vocab_size=chatty.vocab_size, context=512, pages=512)
    random = InProcessModel("random", Engine(runner, chatty), chatty, scripted.template)
    with TestClient(
        make_app(InProcessModels(scripted, bare, breaking, random)), raise_server_exceptions=False
    ) as client:
        yield client


@pytest.fixture
def client(http: TestClient) -> openai.OpenAI:
    return openai.OpenAI(base_url="http://testserver/v1", api_key="none", http_client=http, max_retries=0)


def say(model: InProcessModel, text: str) -> None:
    """What the model answers from now on."""
    assert isinstance(model.engine.runner, ScriptedRunner)
    model.engine.runner.script = text


def asked(http: TestClient, **body: Any) -> Response:
    """A good answer, as its types and the served schema have it."""
    answer = http.post("/v1/responses", json={"input": "Hello", "temperature": 0, **body})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    known = ResponseAnswer.model_validate(found, strict=True, extra="forbid")
    assert known.model_dump() == found
    return check_response(found)


def events_of(http: TestClient, **body: Any) -> list[dict[str, Any]]:
    """The events of a stream, whose frames have their names and end without `[DONE]`."""
    answer = http.post("/v1/responses", json={"input": "Hello", "temperature": 0, **body, "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream"), answer.text
    events = []
    for frame in answer.text.removesuffix("\n\n").split("\n\n"):
        if not frame.startswith(":"):
            name, content = frame.split("\n")
            events.append(json.loads(content.removeprefix("data: ")))
            assert name == f"event: {events[-1]['type']}"
            check_event(events[-1])
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


def same_but_names(response: dict[str, Any]) -> dict[str, Any]:
    """A response without what differs between two of the same request."""
    items = [{key: item[key] for key in item if key not in ("id", "call_id")} for item in response["output"]]
    usage = {key: value for key, value in (response["usage"] or {}).items() if key != "input_tokens_details"}
    return {**response, "output": items, "usage": usage, "id": "", "created_at": 0, "completed_at": 0}


def refused(http: TestClient, status: int = 400, **body: Any) -> dict[str, Any]:
    answer = http.post("/v1/responses", json={"input": "Hello", **body})
    assert answer.status_code == status, answer.text
    return answer.json()["error"]


def test_the_client_creates_an_answer(client: openai.OpenAI, scripted: InProcessModel) -> None:
    say(scripted, "The capital is Paris.")
    answer = client.responses.create(input="What is the capital of France?", model="chatty", instructions="Be brief.")
    assert answer.output_text == "The capital is Paris."
    assert (answer.status, answer.model, answer.model_dump()["store"]) == ("completed", "chatty", False)
    assert answer.usage is not None
    assert answer.usage.output_tokens == len(scripted.tokenizer.encode("The capital is Paris."))
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens


def test_a_stream_tells_the_same_answer_in_the_specified_order(http: TestClient, scripted: InProcessModel) -> None:
    say(scripted, "Hello there, Zürich.")
    body = {"include": ["message.output_text.logprobs"], "top_logprobs": 2, "metadata": {"a": "b"}}
    events = events_of(http, **body)
    kinds = [event["type"].removeprefix("response.") for event in events]
    deltas = kinds.count("output_text.delta")
    assert kinds == [
        "created", "in_progress", "output_item.added", "content_part.added", *["output_text.delta"] * deltas,
        "output_text.done", "content_part.done", "output_item.done", "completed",
    ]  # fmt: skip
    assert deltas > 5
    whole = asked(http, **body)
    assert same_but_names(events[-1]["response"]) == same_but_names(
        json.loads(whole.model_dump_json(exclude_unset=True))
    )
    text = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    assert text == whole.output_text == "Hello there, Zürich."


def test_log_probabilities_are_those_of_every_token(http: TestClient, scripted: InProcessModel) -> None:
    say(scripted, "Zürich")
    body = {"include": ["message.output_text.logprobs"], "top_logprobs": 3}
    (part,) = asked(http, **body).output[0].content  # type: ignore[union-attr]
    assert part.type == "output_text"
    assert bytes(byte for one in part.logprobs or () for byte in one.bytes).decode() == "Zürich"
    assert all(len(one.top_logprobs) == 3 and one.logprob == one.top_logprobs[0].logprob for one in part.logprobs or ())
    assert asked(http).output[0].content[0].logprobs == []  # type: ignore[union-attr]


def test_the_client_streams_and_adds_up(client: openai.OpenAI, scripted: InProcessModel) -> None:
    say(scripted, CALLS)
    with client.responses.stream(input="Hello", model="chatty", tools=[WEATHER]) as stream:
        kinds = [event.type for event in stream]
        answer = stream.get_final_response()
    assert kinds.count("response.function_call_arguments.done") == 2
    assert answer.output_text == "Let me see."
    calls = [item for item in answer.output if item.type == "function_call"]
    assert [call.parsed_arguments for call in calls] == [{"city": "Rome"}, {"city": "Oslo"}]


def test_calls_are_items_and_their_results_come_back_as_items(
    client: openai.OpenAI, http: TestClient, scripted: InProcessModel
) -> None:
    say(scripted, CALLS)
    first = client.responses.create(input="How warm is it?", model="chatty", tools=[WEATHER])
    text, *calls = first.output
    assert (text.type, [call.type for call in calls]) == ("message", ["function_call"] * 2)
    streamed = events_of(http, input="How warm is it?", tools=[WEATHER])[-1]["response"]
    assert [item["type"] for item in streamed["output"]] == [item.type for item in first.output]
    assert [item.get("arguments") for item in streamed["output"]] == [None, '{"city": "Rome"}', '{"city": "Oslo"}']
    say(scripted, "It is warm.")
    given = [{"type": "function_call_output", "call_id": call.call_id, "output": "20"} for call in calls]  # type: ignore[union-attr]
    items: Any = [{"role": "user", "content": "How warm is it?"}, *first.output, *given]
    second = client.responses.create(input=items, model="chatty", tools=[WEATHER])
    assert second.output_text == "It is warm."
    assert second.usage is not None
    assert first.usage is not None
    assert second.usage.input_tokens > first.usage.input_tokens


def test_one_call_alone_where_several_are_not_allowed(http: TestClient, scripted: InProcessModel) -> None:
    say(scripted, CALLS)
    answer = asked(http, tools=[WEATHER], parallel_tool_calls=False)
    assert [item.type for item in answer.output].count("function_call") == 1


@pytest.mark.parametrize("choice", ["required", {"type": "function", "name": "get_weather"}])
def test_a_call_that_is_required_is_written_whatever_the_model_would(
    http: TestClient, scripted: InProcessModel, choice: Any
) -> None:
    say(scripted, "I will not.")
    parameters = {**WEATHER["parameters"], "properties": {"city": {"enum": ["Rome", "Oslo"]}}}
    answer = asked(
        http, tools=[{**WEATHER, "parameters": parameters}], tool_choice=choice, parallel_tool_calls=False,
        max_output_tokens=200,
    )  # fmt: skip
    (call,) = answer.output
    assert (answer.status, call.type) == ("completed", "function_call")
    assert call.name == "get_weather"
    assert json.loads(call.arguments)["city"] in ("Rome", "Oslo")


def test_the_client_parses_an_answer_in_a_form(client: openai.OpenAI, scripted: InProcessModel) -> None:
    say(scripted, '{"name": "Paris", "people": 2100000}')
    answer = client.responses.parse(input="Paris?", model="chatty", text_format=City)
    assert answer.output_parsed == City(name="Paris", people=2100000)
    with client.responses.stream(input="Paris?", model="chatty", text_format=City) as stream:
        stream.until_done()
    assert stream.get_final_response().output_parsed == City(name="Paris", people=2100000)


def test_a_text_that_is_cut_says_so(http: TestClient, scripted: InProcessModel) -> None:
    say(scripted, "Hello there, Zürich.")
    answer = asked(http, max_output_tokens=3)
    assert answer.status == "incomplete"
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"
    assert events_of(http, max_output_tokens=3)[-1]["type"] == "response.incomplete"


def test_an_answer_that_breaks_off_fails(http: TestClient, client: openai.OpenAI, scripted: InProcessModel) -> None:
    say(scripted, "Hello there, Zürich.")
    events = events_of(http, model="breaking")
    assert events[-1]["type"] == "response.failed"
    assert events[-1]["response"]["error"] == {"code": "server_error", "message": "the model's process has ended"}
    assert events[-1]["response"]["output"][0]["status"] == "incomplete"
    with pytest.raises(openai.InternalServerError, match="the model's process has ended"):
        client.responses.create(input="Hello", model="breaking")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    body=st.fixed_dictionaries(
        {"seed": st.integers(0, 5), "max_output_tokens": st.integers(1, 30)},
        optional={
            "temperature": st.sampled_from([0, 0.7, 2]), "top_p": st.sampled_from([0.5, 1]),
            "tools": st.just([WEATHER]), "frequency_penalty": st.just(1.5),
            "include": st.just(["message.output_text.logprobs"]), "text": st.just({"format": {"type": "json_object"}}),
            "instructions": st.text(max_size=5),
        },
    ).filter(lambda body: not {"tools", "text"} <= body.keys())  # these are refused together
)  # fmt: skip
def test_whatever_is_asked_a_stream_makes_the_same_answer(http: TestClient, body: dict[str, Any]) -> None:
    streamed = events_of(http, model="random", **body)[-1]["response"]
    whole = asked(http, model="random", **body)
    assert same_but_names(streamed) == same_but_names(json.loads(whole.model_dump_json(exclude_unset=True)))


def test_what_cannot_be_answered_is_refused_before_a_stream_begins(http: TestClient) -> None:
    for stream in (False, True):
        error = refused(http, input="long " * 3000, stream=stream)
        assert (error["code"], error["type"]) == ("context_length_exceeded", "invalid_request_error")
        assert "no chat template" in refused(http, model="bare", stream=stream)["message"]
        assert refused(http, status=404, model="none", stream=stream)["code"] == "model_not_found"
        error = refused(http, previous_response_id="resp_1", stream=stream)
        assert error["message"] == (
            "previous_response_id is not supported: the server keeps no answers; send the conversation's items in input"
        )


def test_schemas_that_would_not_be_enforced_are_refused_by_their_place(http: TestClient) -> None:
    bad = {"type": "object", "patternProperties": {"a": {}}}
    error = refused(http, text={"format": {"type": "json_schema", "name": "n", "schema": bad}})
    assert (error["param"] or "").startswith("text.format.schema")
    assert "patternProperties" in error["message"]
    error = refused(http, tools=[{**WEATHER, "parameters": bad}], tool_choice="required")
    assert (error["param"] or "").startswith("tools[0].parameters")
