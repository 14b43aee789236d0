"""The form of every error, for the schema that the server tells of itself."""

from typing import Any

from pydantic import BaseModel


class ErrorDetails(BaseModel):
    """What went wrong, and in which field."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(BaseModel):
    """The body of every answer whose status is not 200."""

    error: ErrorDetails


ERRORS: dict[int | str, dict[str, Any]] = {
    "default": {"model": ErrorAnswer, "description": "What went wrong, as OpenAI's interface tells it."}
}
"""`responses` of every router: no status has another body."""
