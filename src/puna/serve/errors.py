"""Errors as OpenAI's interface tells them, which its clients turn into exceptions.

```json
{"error": {"message": "…", "type": "invalid_request_error", "param": "temperature", "code": null}}
```

Source: OpenAI's API reference, "Error codes"; openai-python's `APIStatusError` reads `code`, `param` and `type`.
"""

from typing import Any, Literal

ErrorType = Literal[
    "invalid_request_error", "authentication_error", "permission_error", "not_found_error", "rate_limit_error",
    "server_error",
]  # fmt: skip
_TYPES: dict[int, ErrorType] = {
    401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error",
}  # fmt: skip

_LONGEST = 600
"""Characters of a message or a field's name: errors repeat what was sent, which may be megabytes."""


class ApiError(Exception):
    """What a client did wrong, or why it cannot be answered now; never a path, a stack or another user's text.

    Args:
        status: Of HTTP; 4xx is the client's, 5xx the server's.
        message: One sentence for the client's user: the field, what was expected, what to do.
        param: The field, in dots and indices: `messages[2].content`.
        code: A word for programs, such as `context_length_exceeded`.
        retry_s: Seconds after which to try again, for 429 and 503.
    """

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None,
        retry_s: int | None = None,
    ) -> None:  # fmt: skip
        self.status, self.code, self.retry_s = status, code, retry_s
        self.message = _cut(message)
        self.param = None if param is None else _cut(param)
        super().__init__(self.message)

    @property
    def headers(self) -> dict[str, str]:
        """What goes with the answer: when to try again, and of a 401 how to show a key (RFC 9110, section 15.5.2)."""
        headers = {} if self.retry_s is None else {"Retry-After": str(self.retry_s)}
        return headers | {"WWW-Authenticate": "Bearer"} if self.status == 401 else headers

    @property
    def body(self) -> dict[str, Any]:
        """The answer, an object of JSON."""
        kind = _TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 100]} … {text[-90:]}"


def unsupported(param: str, why: str) -> ApiError:
    """The refusal of a field that the server knows and does not have: nothing is accepted and then ignored.

    Args:
        param: The field.
        why: What is to be done instead, as the rest of a sentence.
    """
    return ApiError(400, f"{param} is not supported: {why}", param=param, code="unsupported_parameter")


def internal() -> ApiError:
    """What a client is told of a defect of the server; the log has the rest."""
    return ApiError(500, "the server failed to answer this request; its log says why")
