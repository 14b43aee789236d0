"""The events of a response: their order, numbers and contents, by the types and the accumulator of OpenAI's client."""

import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from openai import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import ResponseOutputMessage
from openai_types import check_event, check_response

from puna.serve.errors import ApiError
from puna.serve.response_writer import ResponseWriter, Usage

SETTINGS = {
    "model": "tiny", "instructions": None, "metadata": {}, "tools": [], "tool_choice": "auto", "temperature": 1.0,
    "top_p": 1.0, "parallel_tool_calls": True,
}  # fmt: skip
USAGE = Usage(prompt=37, cached=32, written=11)
# Order of OpenAI's OpenAPI document, path /responses, example "Streaming", and of its events of function calls.
MESSAGE = "item.added part.added (text.delta )*text.done part.done item.done "
CALL = "item.added (arguments.delta )*arguments.done item.done "
ORDER = re.compile(rf"created in_progress (({MESSAGE})|({CALL}))*(completed|incomplete|failed) ")
SHORT = {
    "response.created": "created", "response.in_progress": "in_progress", "response.output_item.added": "item.added",
    "response.content_part.added": "part.added", "response.output_text.delta": "text.delta",
    "response.output_text.done": "text.done", "response.content_part.done": "part.done",
    "response.output_item.done": "item.done", "response.function_call_arguments.delta": "arguments.delta",
    "response.function_call_arguments.done": "arguments.done", "response.completed": "completed",
    "response.incomplete": "incomplete", "response.failed": "failed",
}  # fmt: skip


def logprob(token: str) -> dict[str, Any]:
    """Of one token, with one alternative."""
    one = {"token": token, "bytes": list(token.encode()), "logprob": -0.5}
    return {**one, "top_logprobs": [one]}


def short(events: list[dict[str, Any]]) -> list[str]:
    """Names of events, in a few letters."""
    return [SHORT[event["type"]] for event in events]


def test_a_message_has_the_events_of_the_published_example_in_its_order() -> None:
    writer = ResponseWriter(SETTINGS, created=1741290958)
    events = writer.begin() + writer.text("Hi") + writer.text(" there!") + writer.end(USAGE, cut=False, now=1741290959)
    assert short(events) == [
        "created", "in_progress", "item.added", "part.added", "text.delta", "text.delta", "text.done", "part.done",
        "item.done", "completed",
    ]  # fmt: skip
    response = check_event(events[-1]).response
    assert response.output_text == events[6]["text"] == "Hi there!"
    assert (response.status, response.created_at, response.completed_at) == ("completed", 1741290958, 1741290959)
    assert response.usage.total_tokens == 48
    assert response.usage.input_tokens_details.cached_tokens == 32


def test_calls_and_texts_are_items_of_their_own() -> None:
    writer = ResponseWriter(SETTINGS, created=1)
    events = writer.begin() + writer.text("Let me look.")
    events += writer.call("weather", "call_1") + writer.arguments('{"city":') + writer.arguments(' "Rome"}')
    events += writer.call("time", "call_2") + writer.arguments("{}") + writer.text("Done.")
    events += writer.end(USAGE, cut=False, now=2)
    message, first, second, last = check_event(events[-1]).response.output
    assert (message.content[0].text, last.content[0].text) == ("Let me look.", "Done.")
    assert (first.name, first.call_id, first.arguments) == ("weather", "call_1", '{"city": "Rome"}')
    assert (second.name, second.call_id, second.arguments) == ("time", "call_2", "{}")
    assert [event["output_index"] for event in events if "item_id" not in event and "item" in event] == [
        0, 0, 1, 1, 2, 2, 3, 3,
    ]  # fmt: skip
    (told, _) = [event for event in events if event["type"] == "response.function_call_arguments.done"]
    assert (told["name"], told["arguments"]) == ("weather", '{"city": "Rome"}')


def test_a_text_that_was_cut_is_incomplete_and_says_why() -> None:
    writer = ResponseWriter(SETTINGS, created=1)
    events = writer.begin() + writer.text("and then") + writer.end(USAGE, cut=True, now=2)
    response = check_event(events[-1]).response
    assert events[-1]["type"] == "response.incomplete"
    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert response.output[0].status == "incomplete"
    assert response.completed_at is None


def test_a_call_is_incomplete_only_where_its_arguments_are() -> None:
    for arguments, status in [('{"city": "Ro', "incomplete"), ('{"city": "Rome"}', "completed"), ("", "incomplete")]:
        writer = ResponseWriter(SETTINGS, created=1)
        events = writer.begin() + writer.call("weather", "call_1") + writer.arguments(arguments)
        response = check_event((events + writer.end(USAGE, cut=True, now=2))[-1]).response
        assert (response.status, response.output[0].status) == ("incomplete", status)


def test_a_response_that_fails_keeps_what_was_written_and_says_why() -> None:
    writer = ResponseWriter(SETTINGS, created=1)
    events = writer.begin() + writer.text("and") + writer.fail(ApiError(500, "the model's process has ended"))
    response = check_event(events[-1]).response
    assert events[-1]["type"] == "response.failed"
    assert (response.error.code, response.error.message) == ("server_error", "the model's process has ended")
    assert (response.output[0].status, response.output_text) == ("incomplete", "and")
    late = ResponseWriter(SETTINGS, created=1)
    busy = check_event((late.begin() + late.fail(ApiError(429, "too many requests")))[-1]).response
    assert (busy.error.code, busy.output) == ("rate_limit_exceeded", [])


def test_an_answer_without_a_word_is_an_empty_message() -> None:
    writer = ResponseWriter(SETTINGS, created=1)
    events = writer.begin() + writer.text("") + writer.end(Usage(prompt=1, cached=0, written=0), cut=False, now=1)
    (item,) = check_event(events[-1]).response.output
    assert isinstance(item, ResponseOutputMessage)
    assert item.content[0].text == ""


def test_log_probabilities_wait_for_their_text_and_none_is_lost() -> None:
    writer = ResponseWriter(SETTINGS, created=1)
    events = writer.begin() + writer.text("", [logprob("half")]) + writer.text("é", [logprob("other half")])
    events += writer.text("", [logprob("stop")]) + writer.end(USAGE, cut=False, now=1)
    deltas = [event for event in events if event["type"] == "response.output_text.delta"]
    assert [(one["delta"], [told["token"] for told in one["logprobs"]]) for one in deltas] == [
        ("é", ["half", "other half"]), ("", ["stop"]),
    ]  # fmt: skip
    (part,) = check_event(events[-1]).response.output[0].content
    assert [told.token for told in part.logprobs] == ["half", "other half", "stop"]


def test_a_later_text_does_not_change_events_that_are_told() -> None:
    writer = ResponseWriter(SETTINGS, created=1)
    begun = writer.begin()
    first = writer.text("a", [logprob("a")])
    writer.text("b", [logprob("b")])
    writer.end(USAGE, cut=False, now=1)
    assert begun[0]["response"]["output"] == []
    assert first[0]["item"]["content"] == []
    assert [told["token"] for told in first[-1]["logprobs"]] == ["a"]


PIECES = st.lists(
    st.one_of(
        st.tuples(st.just("text"), st.text(max_size=3), st.integers(0, 2)),
        st.tuples(st.just("call"), st.lists(st.text(max_size=3), max_size=3), st.just(0)),
    ),
    max_size=8,
)


@settings(max_examples=40)
@given(PIECES, st.sampled_from(["completed", "incomplete", "failed"]))
def test_any_answer_is_told_in_order_and_added_up_by_the_client(pieces: list[Any], end: str) -> None:
    writer, events = ResponseWriter(SETTINGS, created=1), []
    events += writer.begin()
    for at, (kind, content, number) in enumerate(pieces):
        if kind == "text":
            events += writer.text(content, [logprob("t")] * number)
        else:
            events += writer.call("f", f"call_{at}")
            for argument in content:
                events += writer.arguments(argument)
    if end == "failed":
        events += writer.fail(ApiError(500, "the model's process has ended"))
    else:
        events += writer.end(USAGE, cut=end == "incomplete", now=2)

    assert ORDER.fullmatch("".join(f"{one} " for one in short(events)))
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    state: ResponseStreamState[None] = ResponseStreamState(input_tools=omit, text_format=omit)
    for event in events:
        state.handle_event(check_event(event))
    snapshot = vars(state)["_ResponseStreamState__current_snapshot"]  # the client shows it in pieces only
    final = check_response(events[-1]["response"])
    assert final.status == end
    assert len(snapshot.output) == len(final.output)
    for added, whole in zip(snapshot.output, final.output, strict=True):
        assert (added.type, added.id) == (whole.type, whole.id)
        if added.type == "message":
            assert [part.text for part in added.content] == [part.text for part in whole.content]
        else:
            assert (added.name, added.arguments, added.call_id) == (whole.name, whole.arguments, whole.call_id)
    deltas = [event for event in events if event["type"] == "response.output_text.delta"]
    parts = [part for item in events[-1]["response"]["output"] for part in item.get("content", ())]
    assert [one for delta in deltas for one in delta["logprobs"]] == [one for part in parts for one in part["logprobs"]]
