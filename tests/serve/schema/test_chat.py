"""What chats are asked is read strictly: every field of OpenAI's list is taken or refused by its name."""

from typing import Any, get_type_hints

import pytest
from openai.types.chat import completion_create_params
from pydantic import ValidationError

from puna.serve.schema.chat import ChatRequest

HELLO = {"messages": [{"role": "user", "content": "Hello"}]}
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "f"}}


def problem(**body: Any) -> str:
    """What is wrong with a body."""
    with pytest.raises(ValidationError) as caught:
        ChatRequest.model_validate({**HELLO, **body})
    error = caught.value.errors()[0]
    context = error.get("ctx", {})
    return f"{context.get('field', '')}: {context.get('why', context.get('problem', error['msg']))}"


def test_each_field_of_openais_list_is_taken_or_refused_with_a_reason() -> None:
    theirs = set(get_type_hints(completion_create_params.CompletionCreateParamsStreaming))
    assert theirs - set(ChatRequest.model_fields) == set(ChatRequest.refused)


@pytest.mark.parametrize("field", sorted(ChatRequest.refused))
def test_a_field_that_is_refused_may_be_null(field: str) -> None:
    assert problem(**{field: "x"}) == f"{field}: {ChatRequest.refused[field]}"
    ChatRequest.model_validate({**HELLO, field: None})


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"max_tokens": 1, "max_completion_tokens": 2}, "max_tokens: is not the same as max_completion_tokens"),
        ({"top_logprobs": 2}, "top_logprobs: must be left out where logprobs is not true"),
        ({"stream_options": {"include_usage": True}}, "stream_options: must be left out where stream is not true"),
        ({"store": True}, ": the server keeps no conversations"),
        ({"tool_choice": "required"}, "tool_choice: must be left out where there are no tools"),
        ({"parallel_tool_calls": True}, "parallel_tool_calls: must be left out where there are no tools"),
        ({"tools": [TOOL, TOOL]}, "tools[1].function.name: is the name of two functions"),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}},
            "tool_choice.function.name: is not the name of one of the tools",
        ),
        ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "custom: the tools of this server are functions"),
        (
            {"tools": [TOOL], "response_format": {"type": "json_object"}},
            "response_format: an answer in this form calls nothing",
        ),
        (
            {"response_format": {"type": "json_object"}, "structured_outputs": {"regex": "a"}},
            "structured_outputs: must be left out where response_format is given",
        ),
        ({"modalities": ["audio"]}, ": Input should be 'text'"),
        ({"service_tier": "flex"}, ": Input should be 'auto' or 'default'"),
        ({"top_logprobs": 21, "logprobs": True}, ": Input should be less than or equal to 20"),
        ({"messages": []}, ": List should have at least 1 item"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(body: dict[str, Any], says: str) -> None:
    assert problem(**body).startswith(says)


def test_what_changes_no_text_is_taken() -> None:
    ChatRequest.model_validate(
        {
            **HELLO, "user": "u", "safety_identifier": "s", "prompt_cache_key": "k", "metadata": {"a": "b"},
            "service_tier": "auto", "store": False, "modalities": ["text"], "tools": [],
            "response_format": {"type": "text"},
        }
    )  # fmt: skip


def test_functions_are_those_that_may_be_called() -> None:
    other = {"type": "function", "function": {"name": "g", "parameters": {"type": "object"}}}
    named = {"type": "function", "function": {"name": "g"}}
    body = ChatRequest.model_validate({**HELLO, "tools": [TOOL, other], "tool_choice": named})
    assert [tool.name for tool in body.functions()] == ["f", "g"]
    assert (body.allowed(), body.must_call) == (["g"], True)
    strict = {"type": "function", "function": {"name": "h", "strict": True}}
    assert ChatRequest.model_validate({**HELLO, "tools": [TOOL, strict]}).strict() == ["h"]
    none = ChatRequest.model_validate({**HELLO, "tools": [TOOL], "tool_choice": "none"})
    assert (none.functions(), none.allowed(), none.must_call) == ([], None, False)
