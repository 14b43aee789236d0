"""Errors in the form of OpenAI's interface, which its client turns into exceptions of its own."""

import httpx2
import openai
import pytest

from puna.serve.errors import ApiError, internal, unsupported


def raised(error: ApiError) -> openai.APIStatusError:
    """What OpenAI's client raises where a server answers with this error."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(error.status, json=error.body, headers=error.headers)

    with (
        httpx2.Client(transport=httpx2.MockTransport(answer)) as http,
        openai.OpenAI(api_key="none", base_url="http://server/v1", http_client=http, max_retries=0) as client,
        pytest.raises(openai.APIStatusError) as caught,
    ):
        client.models.list()
    return caught.value


@pytest.mark.parametrize(
    ("status", "kind", "exception"),
    [
        (400, "invalid_request_error", openai.BadRequestError),
        (401, "authentication_error", openai.AuthenticationError),
        (403, "permission_error", openai.PermissionDeniedError),
        (404, "not_found_error", openai.NotFoundError),
        (413, "invalid_request_error", openai.APIStatusError),
        (429, "rate_limit_error", openai.RateLimitError),
        (500, "server_error", openai.InternalServerError),
        (503, "server_error", openai.InternalServerError),
    ],
)
def test_the_client_raises_the_exception_of_the_status(
    status: int, kind: str, exception: type[openai.APIStatusError]
) -> None:
    error = raised(ApiError(status, "what is wrong", param="messages[2].content", code="a_word"))
    assert type(error) is exception
    assert (error.status_code, error.type, error.param, error.code) == (
        status, kind, "messages[2].content", "a_word",
    )  # fmt: skip
    assert "what is wrong" in error.message


def test_the_time_to_wait_is_a_header_of_whole_seconds() -> None:
    assert raised(ApiError(429, "too many", retry_s=7)).response.headers["retry-after"] == "7"
    assert "retry-after" not in raised(ApiError(429, "too many")).response.headers


def test_an_unsupported_field_is_named_with_what_to_do() -> None:
    error = raised(unsupported("best_of", "write n texts"))
    assert (error.status_code, error.param, error.code) == (400, "best_of", "unsupported_parameter")
    assert "best_of is not supported: write n texts" in error.message


def test_a_defect_tells_nothing_of_itself() -> None:
    assert internal().body == {
        "error": {
            "message": "the server failed to answer this request; its log says why", "type": "server_error",
            "param": None, "code": None,
        }
    }  # fmt: skip


def test_what_an_error_repeats_is_cut_in_its_middle() -> None:
    error = ApiError(400, f"prompt: {'x' * 10**6} is not a number", param="y" * 10**6)
    assert error.message == str(error)
    assert error.message.startswith("prompt: xxx")
    assert error.message.endswith("xxx is not a number")
    assert all(len(error.body["error"][field]) < 600 for field in ("message", "param"))
    whole = ApiError(400, "a" * 600, param="b")
    assert (whole.message, whole.param) == ("a" * 600, "b")
