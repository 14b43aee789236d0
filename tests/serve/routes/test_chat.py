"""`/v1/chat/completions` through OpenAI's client: a model that is asked alone, and one that says what it is told."""

import json
from collections.abc import Iterator
from typing import Any, Literal

import openai
import pydantic
import pytest
from chat_served import ScriptedRunner, scripted_model
from chats import TEMPLATES
from engine_twin import plain_completion
from fake_runner import FakeRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from in_process import InProcessModel, InProcessModels
from listening import listening
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from starlette.testclient import TestClient

from puna.chat.template import ChatTemplate
from puna.infer.engine import Engine
from puna.infer.requests import Completion, Request, Sampling
from puna.serve.app import make_app
from puna.tokenizer.byte_bpe import ByteBPETokenizer

HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather", "description": "How warm it is.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}  # fmt: skip
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Z\\u00fcrich"}}\n</tool_call>'
CALLS = f"Let me see.\n{CALL}\n{CALL.replace('Z', 'M')}"


@pytest.fixture
def random(chatty: ByteBPETokenizer) -> InProcessModel:
    """A model that writes anything, whose template leaves tools out."""
    runner = FakeRunner(vocab_size=chatty.vocab_size, context=128, pages=512)
    return InProcessModel("random", Engine(runner, chatty), chatty, ChatTemplate(TEMPLATES["chatml"], chatty))


@pytest.fixture
def bare(chatty: ByteBPETokenizer) -> InProcessModel:
    runner = FakeRunner(vocab_size=chatty.vocab_size, context=128)
    return InProcessModel("bare", Engine(runner, chatty), chatty)


@pytest.fixture
def http(scripted: InProcessModel, random: InProcessModel, bare: InProcessModel) -> Iterator[TestClient]:
    with TestClient(make_app(InProcessModels(scripted, random, bare)), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def client(http: TestClient) -> openai.OpenAI:
    return openai.OpenAI(base_url="http://testserver/v1", api_key="none", http_client=http, max_retries=0)


def say(model: InProcessModel, text: str) -> None:
    assert isinstance(model.engine.runner, ScriptedRunner)
    model.engine.runner.script = text


def asked(client: openai.OpenAI, **body: Any) -> ChatCompletion:
    """A good answer, which has all that its type says."""
    answer = client.chat.completions.create(**{"model": "chatty", "messages": HELLO, **body})
    return ChatCompletion.model_validate(answer.model_dump(exclude_unset=True), strict=True)


def chunks_of(http: TestClient, **body: Any) -> list[ChatCompletionChunk]:
    """The chunks of a stream, which ends as it must."""
    answer = http.post("/v1/chat/completions", json={"messages": HELLO, **body, "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream"), answer.text
    lines = [line for line in answer.text.split("\n\n") if line and not line.startswith(":")]
    assert lines[-1] == "data: [DONE]"
    return [
        ChatCompletionChunk.model_validate(json.loads(line.removeprefix("data: ")), strict=True) for line in lines[:-1]
    ]


def joined(chunks: list[ChatCompletionChunk], index: int = 0) -> dict[str, Any]:
    """The choice that the chunks of one answer make; their order is checked."""
    own = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
    assert own[0].delta.role == "assistant"
    assert [one.delta.role for one in own[1:]] == [None] * (len(own) - 1)
    assert [one.finish_reason is None for one in own] == [True] * (len(own) - 1) + [False]
    calls: list[dict[str, Any]] = []
    for one in (call for choice in own for call in choice.delta.tool_calls or ()):
        if one.id is not None:
            assert (one.index, one.type) == (len(calls), "function")
            assert one.function is not None
            calls.append({"name": one.function.name, "arguments": ""})
        assert one.function is not None
        calls[one.index]["arguments"] += one.function.arguments or ""
    return {
        "content": "".join(one.delta.content or "" for one in own), "calls": calls,
        "finish_reason": own[-1].finish_reason,
        "logprobs": [entry for one in own if one.logprobs for entry in one.logprobs.content or ()],
    }  # fmt: skip


def refused(http: TestClient, **body: Any) -> dict[str, Any]:
    answer = http.post("/v1/chat/completions", json={"messages": HELLO, **body})
    assert answer.status_code == 400, answer.text
    return answer.json()["error"]


def expected(model: InProcessModel, messages: list[Any] = HELLO, sample: int = 0, **more: Any) -> Completion:
    """What the slow twin says."""
    assert model.template is not None
    stop_ids = model.template.turn_end.tokens.union(model.tokenizer.stops)
    request = Request(prompt=tuple(model.template.ids(messages)), stop_ids=stop_ids, **more)
    assert isinstance(model.engine.runner, FakeRunner)
    return plain_completion(model.engine.runner.of, request, sample, model.longest, model.tokenizer)


def test_an_answer_is_the_models_text_and_its_log_probabilities(client: openai.OpenAI, random: InProcessModel) -> None:
    twin = expected(random, max_tokens=12, sampling=Sampling(temperature=0), logprobs=3)
    answer = asked(
        client, model="random", max_completion_tokens=12, temperature=0, logprobs=True, top_logprobs=3
    )  # fmt: skip
    (choice,) = answer.choices
    assert (choice.message.content, choice.finish_reason) == (twin.text, twin.finish)
    assert choice.logprobs is not None
    assert choice.logprobs.content is not None
    for entry, token in zip(choice.logprobs.content, twin.tokens, strict=True):
        assert entry.logprob == pytest.approx(token.logprob, abs=1e-5)
        assert [one.logprob for one in entry.top_logprobs] == pytest.approx([best for _, best in token.best], abs=1e-5)
        content = None if random.tokenizer.is_control(token.id) else [*random.tokenizer.bytes_of(token.id)]
        assert entry.bytes == content
    assert answer.usage is not None
    prompt = len(random.template.ids(HELLO)) if random.template else 0
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (prompt, len(twin.tokens))


def test_a_stream_makes_the_same_answer(client: openai.OpenAI, http: TestClient) -> None:
    body: dict[str, Any] = {"model": "random", "max_tokens": 12, "logprobs": True, "seed": 5, "n": 3}
    whole = asked(client, **body)
    chunks = chunks_of(http, **body, stream_options={"include_usage": True})
    assert {chunk.id for chunk in chunks} == {chunks[0].id}
    for choice in whole.choices:
        made = joined(chunks, choice.index)
        assert (made["content"], made["finish_reason"]) == (choice.message.content, choice.finish_reason)
        assert choice.logprobs is not None
        assert [one.model_dump() for one in made["logprobs"]] == [
            one.model_dump() for one in choice.logprobs.content or ()
        ]
    assert [chunk.usage is None for chunk in chunks] == [True] * (len(chunks) - 1) + [False]
    assert whole.usage is not None
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    details = chunks[-1].usage.prompt_tokens_details
    assert details is not None
    assert details.cached_tokens == whole.usage.prompt_tokens - 1  # the last token is always read


BODIES = st.fixed_dictionaries(
    {"seed": st.integers(0, 9), "max_tokens": st.integers(1, 20)},
    optional={
        "n": st.integers(1, 3), "temperature": st.sampled_from([0, 0.7, 1.3]), "logprobs": st.booleans(),
        "stop": st.lists(st.text(st.sampled_from("aeitn "), min_size=1, max_size=2), max_size=4),
        "structured_outputs": st.sampled_from([{"regex": "[a-z]{1,9}"}, {"choice": ["yes", "né"]}]),
        "presence_penalty": st.sampled_from([0.5, -1]), "logit_bias": st.just({"70": 3}),
    },
)  # fmt: skip


@settings(max_examples=25)
@given(body=BODIES, words=st.text(st.sampled_from("The <s>é\n"), max_size=12))
def test_whatever_is_asked_a_stream_makes_the_same_answer(
    chatty: ByteBPETokenizer, body: dict[str, Any], words: str
) -> None:
    runner = FakeRunner(vocab_size=chatty.vocab_size, context=256, pages=512)
    model = InProcessModel("m", Engine(runner, chatty), chatty, ChatTemplate(TEMPLATES["chatml"], chatty))
    body |= {"messages": [{"role": "user", "content": words}]}
    with TestClient(make_app(InProcessModels(model))) as http:
        answer = http.post("/v1/chat/completions", json=body)
        whole = ChatCompletion.model_validate(answer.json(), strict=True)
        chunks = chunks_of(http, **body)
    for choice in whole.choices:
        made = joined(chunks, choice.index)
        told = choice.logprobs.content if choice.logprobs else None
        assert (made["content"], made["finish_reason"]) == (choice.message.content, choice.finish_reason)
        assert [one.model_dump() for one in made["logprobs"]] == [one.model_dump() for one in told or ()]


def test_openais_client_puts_a_stream_together(scripted: InProcessModel) -> None:
    say(scripted, CALLS)
    with listening(make_app(InProcessModels(scripted))) as server:
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
        with client.chat.completions.stream(model="chatty", messages=HELLO, tools=[WEATHER]) as stream:
            kinds = {event.type for event in stream}
            (choice,) = stream.get_final_completion().choices
    assert {"content.delta", "tool_calls.function.arguments.delta", "tool_calls.function.arguments.done"} <= kinds
    assert (choice.message.content, choice.finish_reason) == ("Let me see.", "tool_calls")
    assert [json.loads(call.function.arguments)["city"] for call in choice.message.tool_calls or ()] == [
        "Zürich", "Mürich",
    ]  # fmt: skip


def test_samples_draw_with_seeds_of_their_own(client: openai.OpenAI, random: InProcessModel) -> None:
    answer = asked(client, model="random", max_tokens=8, seed=3, n=2)
    for choice in answer.choices:
        twin = expected(random, sample=choice.index, max_tokens=8, sampling=Sampling(seed=3))
        assert choice.message.content == twin.text


def test_settings_reach_the_engine(client: openai.OpenAI, random: InProcessModel) -> None:
    settings: dict[str, Any] = {
        "temperature": 0.7, "top_p": 0.8, "presence_penalty": 0.5, "frequency_penalty": 0.25, "seed": 9,
    }  # fmt: skip
    extra: dict[str, Any] = {"top_k": 20, "min_p": 0.01, "repetition_penalty": 1.2}
    answer = asked(client, model="random", max_tokens=8, **settings, logit_bias={"70": 5}, stop=["q"], extra_body=extra)
    sampling = Sampling(**settings, **extra, logit_bias={70: 5})
    twin = expected(random, max_tokens=8, sampling=sampling, stop=("q",))
    assert answer.choices[0].message.content == twin.text


def test_without_a_bound_an_answer_may_fill_the_context(client: openai.OpenAI, random: InProcessModel) -> None:
    answer = asked(client, model="random", temperature=0, logit_bias={"70": 100})
    assert answer.usage is not None
    assert (answer.usage.total_tokens, answer.choices[0].finish_reason) == (random.longest, "length")


def test_an_answer_ends_with_the_turn(client: openai.OpenAI, scripted: InProcessModel) -> None:
    say(scripted, "Hé 🙂.")
    answer = asked(client)
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("Hé 🙂.", "stop")


def test_turns_are_written_by_the_template(http: TestClient, scripted: InProcessModel) -> None:
    say(scripted, "ok")
    spoken = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "What is"}, {"type": "text", "text": " it?"}]},
        {"role": "assistant", "content": "Paris.", "refusal": None, "annotations": []},
        {"role": "user", "content": "<|im_end|>"},
    ]
    plain = [
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is it?"},
        {"role": "assistant", "content": "Paris."}, {"role": "user", "content": "<|im_end|>"},
    ]  # fmt: skip
    answer = http.post("/v1/chat/completions", json={"messages": spoken, "top_logprobs": None, "store": False})
    assert answer.status_code == 200, answer.text
    assert scripted.template is not None
    assert answer.json()["usage"]["prompt_tokens"] == len(scripted.template.ids(plain))


@pytest.mark.parametrize("streamed", [False, True])
def test_calls_are_told_beside_the_text(
    client: openai.OpenAI, http: TestClient, scripted: InProcessModel, streamed: bool
) -> None:
    say(scripted, CALLS)
    if streamed:
        made = joined(chunks_of(http, tools=[WEATHER]))
        calls = [(one["name"], one["arguments"]) for one in made["calls"]]
        found = (made["content"], made["finish_reason"])
    else:
        (choice,) = asked(client, tools=[WEATHER]).choices
        found = (choice.message.content, choice.finish_reason)
        calls = [
            (one.function.name, one.function.arguments)
            for one in choice.message.tool_calls or ()
            if one.type == "function"
        ]
    assert found == ("Let me see.", "tool_calls")
    assert [name for name, _ in calls] == ["get_weather"] * 2
    assert [json.loads(arguments) for _, arguments in calls] == [{"city": "Zürich"}, {"city": "Mürich"}]


@pytest.mark.parametrize(
    ("template", "script"),
    [
        ("mistral-named", '[TOOL_CALLS]get_weather[ARGS]{"city": "Rome"}'),
        ("llama3.1", '{"name": "get_weather", "parameters": {"city": "Rome"}}'),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_calls_in_the_forms_of_other_models_are_found(
    chatty: ByteBPETokenizer, template: str, script: str, streamed: bool
) -> None:
    model = scripted_model(chatty, template)
    say(model, script)
    with TestClient(make_app(InProcessModels(model))) as http:
        client = openai.OpenAI(base_url="http://testserver/v1", api_key="none", http_client=http)
        if streamed:
            made = joined(chunks_of(http, tools=[WEATHER]))
            assert made["calls"] == [{"name": "get_weather", "arguments": '{"city": "Rome"}'}]
            return
        message = asked(client, tools=[WEATHER]).choices[0].message
    assert message.content is None
    assert message.tool_calls is not None
    assert message.tool_calls[0].type == "function"
    assert message.tool_calls[0].function.arguments == '{"city": "Rome"}'


def test_an_answer_that_calls_is_sent_back_as_it_came(client: openai.OpenAI, scripted: InProcessModel) -> None:
    say(scripted, CALL)
    message = asked(client, tools=[WEATHER]).choices[0].message
    assert message.tool_calls is not None
    result: Any = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "7 °C"}
    say(scripted, "It is 7 °C.")
    back: Any = message
    answer = asked(client, messages=[*HELLO, back, result], tools=[WEATHER])
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("It is 7 °C.", "stop")


def test_one_call_at_most_where_that_is_asked_for(client: openai.OpenAI, scripted: InProcessModel) -> None:
    say(scripted, CALLS)
    calls = asked(client, tools=[WEATHER], parallel_tool_calls=False).choices[0].message.tool_calls
    assert calls is not None
    assert len(calls) == 1


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
@pytest.mark.parametrize("template", ["qwen", "mistral-named", "llama3.1"])
def test_a_call_that_is_required_comes_whatever_the_model_would_write(
    chatty: ByteBPETokenizer, template: str, choice: Any
) -> None:
    model = scripted_model(chatty, template)
    say(model, "No.")
    schema = {
        "type": "object", "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 9}}, "required": ["n"],
        "additionalProperties": False,
    }  # fmt: skip
    tool: Any = {"type": "function", "function": {"name": "get_weather", "parameters": schema, "strict": True}}
    with TestClient(make_app(InProcessModels(model))) as http:
        client = openai.OpenAI(base_url="http://testserver/v1", api_key="none", http_client=http)
        body: Any = {"tools": [tool], "tool_choice": choice, "parallel_tool_calls": False, "temperature": 0}
        (choice,) = asked(client, **body).choices
        made = joined(chunks_of(http, **body))
    assert choice.finish_reason == made["finish_reason"] == "tool_calls"
    assert choice.message.content is None
    assert choice.message.tool_calls is not None
    (call,) = choice.message.tool_calls
    assert call.type == "function"
    assert made["calls"] == [{"name": call.function.name, "arguments": call.function.arguments}]
    assert json.loads(call.function.arguments)["n"] in range(10)


@pytest.mark.parametrize("streamed", [False, True])
def test_strict_functions_are_called_by_their_schemas_where_the_model_calls(
    client: openai.OpenAI, http: TestClient, scripted: InProcessModel, streamed: bool
) -> None:
    class GetWeather(pydantic.BaseModel):
        """How warm it is."""

        city: Literal["Rome", "Zürich"]

    say(scripted, 'Hm. <tool_call>\n{"name": "GetWeather", "arguments": {"town": "Bern"}}\n</tool_call>')
    tool: Any = openai.pydantic_function_tool(GetWeather)
    body: Any = {"tools": [tool], "temperature": 0, "parallel_tool_calls": False, "max_tokens": 200}
    if streamed:
        made = joined(chunks_of(http, **body))
        assert made["content"].startswith("Hm.")  # behind the call, the script is at its end
        arguments = made["calls"][0]["arguments"]
    else:
        parsed = client.chat.completions.parse(model="chatty", messages=HELLO, **body)
        (call,) = parsed.choices[0].message.tool_calls or ()
        assert isinstance(call.function.parsed_arguments, GetWeather)
        arguments = call.function.arguments
    assert GetWeather.model_validate_json(arguments).city in ("Rome", "Zürich")


def test_an_answer_has_the_form_that_is_asked_for(client: openai.OpenAI) -> None:
    schema = {"type": "object", "properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"]} | {
        "additionalProperties": False
    }
    form: Any = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema, "strict": True}}
    answer = asked(client, model="random", response_format=form, seed=1)
    assert json.loads(answer.choices[0].message.content or "")["a"] in ("x", "y")
    extra = {"structured_outputs": {"choice": ["yes", "no"]}}
    assert asked(client, model="random", extra_body=extra).choices[0].message.content in ("yes", "no")
    anything: Any = {"type": "text"}
    assert asked(client, model="random", response_format=anything, max_tokens=2).usage is not None


def test_without_a_choice_of_tools_a_call_is_text_and_the_model_hears_of_none(
    client: openai.OpenAI, scripted: InProcessModel
) -> None:
    say(scripted, CALL)
    answer = asked(client, tools=[WEATHER], tool_choice="none")
    assert answer.choices[0].message.content == CALL
    assert answer.choices[0].message.tool_calls is None
    assert answer.usage is not None
    assert scripted.template is not None
    assert answer.usage.prompt_tokens == len(scripted.template.ids(HELLO))


def test_a_call_that_is_cut_off_stays_text_and_ends_by_its_length(
    client: openai.OpenAI, scripted: InProcessModel
) -> None:
    say(scripted, CALL)
    answer = asked(client, tools=[WEATHER], max_completion_tokens=30)
    assert answer.choices[0].finish_reason == "length"
    assert answer.choices[0].message.tool_calls is None
    assert CALL.startswith(answer.choices[0].message.content or "none")


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        ({"model": "bare"}, "model", "the model bare has no chat template"),
        ({"model": "random", "tools": [WEATHER]}, "tools", "the chat template of the model random leaves tools out"),
        ({"model": "random", "messages": [{"role": "user", "content": "x" * 5000}]}, "messages", "shorten it"),
        ({"max_tokens": 0}, "max_tokens", "greater than or equal to 1"),
        ({"messages": [{"content": "a"}]}, "messages[0].role", "is missing"),
        (
            {"messages": [{"role": "function", "content": "a"}]},
            "messages[0].role",
            "is 'function', but must be one of 'system', 'developer', 'user', 'assistant', 'tool'",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"not": {}}}}},
            "response_format.json_schema.schema.not",
            "not",
        ),
    ],
)
def test_what_cannot_be_answered_is_named(http: TestClient, body: dict[str, Any], param: str, says: str) -> None:
    error = refused(http, **body)
    assert error["param"] == param
    assert says in error["message"]


def test_a_template_refuses_in_its_own_words(chatty: ByteBPETokenizer) -> None:
    runner = FakeRunner(vocab_size=chatty.vocab_size, context=128)
    model = InProcessModel("strict", Engine(runner, chatty), chatty, ChatTemplate(TEMPLATES["llama2"], chatty))
    with TestClient(make_app(InProcessModels(model))) as http:
        error = refused(http, messages=[*HELLO, *HELLO])
    assert error["param"] == "messages"
    assert "Roles must be user, assistant" in error["message"]
