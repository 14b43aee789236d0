"""What `/v1/responses` takes and what it refuses, and how it says so."""

from typing import Any, get_type_hints

import pytest
from bodies import read, refusal_of
from openai.types.responses.response_create_params import ResponseCreateParamsBase

from puna.serve.schema.responses import ResponseRequest

# A value of each field of OpenAI's that asks for something the server does not do.
REFUSED: dict[str, Any] = {
    "previous_response_id": "resp_1", "conversation": "conv_1", "prompt": {"id": "pmpt_1"}, "store": True,
    "background": True, "background_options": {}, "context_management": [], "moderation": {"model": "m"},
    "access_programs": {}, "image": {}, "prompt_cache_options": {}, "prompt_cache_retention": "24h",
    "truncation": "auto",
}  # fmt: skip
WRONG: dict[str, Any] = {
    "service_tier": "flex", "reasoning": {"effort": "high"}, "include": ["file_search_call.results"],
    "text": {"verbosity": "low"}, "stream_options": {"include_obfuscation": True}, "temperature": 2.1, "top_p": -0.1,
    "max_output_tokens": 0, "top_logprobs": 21, "metadata": {"key": "v" * 513}, "tool_choice": {"type": "web_search"},
    "safety_identifier": "x" * 129, "input": [], "instructions": 3, "parallel_tool_calls": "yes", "stream": 1,
    "model": 7, "tools": [{"type": "function"}], "user": 1, "prompt_cache_key": [], "max_tool_calls": 0,
}  # fmt: skip
TAKEN: dict[str, Any] = {
    "model": "tiny", "input": "Hello", "instructions": "Be brief.", "max_output_tokens": 8, "max_tool_calls": 1,
    "temperature": 0, "top_p": 1, "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tools": [{"type": "function", "name": "f", "parameters": {}, "strict": True, "description": None}],
    "tool_choice": "auto", "parallel_tool_calls": True, "top_logprobs": 20, "stream": True,
    "include": ["message.output_text.logprobs", "reasoning.encrypted_content"], "store": False, "background": False,
    "stream_options": {"include_obfuscation": False}, "truncation": "disabled", "service_tier": "auto",
    "reasoning": {"effort": None, "summary": None}, "metadata": {"key": "value"}, "user": "u",
    "safety_identifier": "s", "prompt_cache_key": "p",
}  # fmt: skip


def test_every_field_of_openais_is_taken_or_refused_by_its_name() -> None:
    theirs = set(get_type_hints(ResponseCreateParamsBase)) | {"stream"}
    assert theirs == set(TAKEN) | set(REFUSED)
    read(ResponseRequest, TAKEN)
    for name, value in REFUSED.items():
        error = refusal_of(ResponseRequest, {"input": "Hello", name: value})
        assert (error.param, error.code) == (name, "unsupported_parameter")
        assert error.message.startswith(f"{name} is not supported: ")


@pytest.mark.parametrize("name", sorted(WRONG))
def test_a_value_that_is_not_taken_is_refused_by_its_field(name: str) -> None:
    error = refusal_of(ResponseRequest, {"input": "Hello", name: WRONG[name]})
    assert (error.param or "").startswith(name)
    assert name in error.message


def test_null_is_the_same_as_nothing() -> None:
    absent = read(ResponseRequest, {"input": "Hello"})
    null = dict.fromkeys({*TAKEN, *REFUSED, *WRONG, "seed", "top_k"} - {"input"})
    assert read(ResponseRequest, {"input": "Hello", **null}).model_dump() == absent.model_dump()


def test_an_unknown_field_is_refused_with_the_one_that_is_meant() -> None:
    error = refusal_of(ResponseRequest, {"input": "Hello", "max_output_token": 3})
    assert error.message == "max_output_token is not known; did you mean max_output_tokens?"
    assert error.code == "unknown_parameter"
    assert "max_tokens is not known" in refusal_of(ResponseRequest, {"input": "Hello", "max_tokens": 3}).message


def test_a_tool_of_openais_is_refused_by_its_name() -> None:
    error = refusal_of(ResponseRequest, {"input": "Hello", "tools": [{"type": "web_search", "filters": {}}]})
    assert error.param == "tools[0].type"
    assert error.message == (
        "tools[0].type is not supported: the server has no web_search, only functions of its clients"
    )


def test_an_answer_in_a_form_and_functions_that_may_be_called_are_refused_together() -> None:
    both = {"input": "Hello", "tools": TAKEN["tools"], "text": {"format": {"type": "json_object"}}}
    for choice in (None, "auto", "required", {"type": "function", "name": "f"}):
        error = refusal_of(ResponseRequest, {**both, "tool_choice": choice})
        assert error.message == (
            'text.format is not supported: an answer in this form calls nothing; set tool_choice to "none"'
        )
        assert error.param == "text.format"
    read(ResponseRequest, {**both, "tool_choice": "none"})
    read(ResponseRequest, {**both, "text": {"format": {"type": "text"}}})


def test_numbers_of_likely_tokens_are_not_silently_dropped() -> None:
    error = refusal_of(ResponseRequest, {"input": "Hello", "top_logprobs": 3})
    assert (error.param, "message.output_text.logprobs" in error.message) == ("top_logprobs", True)
    assert not read(ResponseRequest, {"input": "Hello", "top_logprobs": 0}).tells_logprobs
    error = refusal_of(ResponseRequest, {"input": "Hello", "stream_options": {}})
    assert error.message == "stream_options must be left out where stream is not true"
