"""Bodies of requests: strict JSON, and nothing in them that is not understood.

A route declares its body as a class below `Body`, and its router has `route_class=JsonRoute`. JSON is read by
pydantic's parser, whose depth is bounded and which has no NaN. What is wrong becomes one `ApiError` that names the
field, in dots and indices, and for an unknown field the known one that is most like it.

Only `application/json` is taken: a page of another site can post forms and plain text to a server on this machine
without asking first, but not that.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, ClassVar

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError, from_json

from puna.serve.errors import ApiError, unsupported

_SHOWN = 40
"""Characters of a wrong value that an error repeats."""
_LONGEST_NAME = 100
"""Characters of a field's name for which one that is like it is looked for."""


class Body(BaseModel):
    """What a request says. Fields may be left out or null where their type has None, and no others are taken."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)

    refused: ClassVar[Mapping[str, str]] = {}
    """Fields of other servers that are refused unless they are null, and what is to be done instead."""

    @model_validator(mode="before")
    @classmethod
    def _known(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        known = [field.alias or name for name, field in cls.model_fields.items()]
        for name in data:
            if name in cls.refused:
                if data[name] is not None:
                    raise PydanticCustomError("refused", "{why}", {"field": name, "why": cls.refused[name]})
            elif name not in known:
                # A name of megabytes would be compared for seconds.
                alike = get_close_matches(name, known, n=1) if len(name) < _LONGEST_NAME else []
                raise PydanticCustomError("unknown", "", {"field": name, "alike": alike[0] if alike else ""})
        return {name: value for name, value in data.items() if name not in cls.refused}


def refusal(why: str, *, field: str = "") -> PydanticCustomError:
    """The error of a validator that refuses a value, as `errors.unsupported` says it.

    Args:
        why: What is to be done instead, as the rest of a sentence.
        field: The field, from a validator of the whole body.
    """
    return PydanticCustomError("refused", "{why}", {"why": why} | ({"field": field} if field else {}))


def wrong(problem: str, *, field: str = "") -> PydanticCustomError:
    """The error of a validator in words.

    Args:
        problem: The rest of a sentence that begins with the field: "must be …".
        field: As of `refusal`.
    """
    return PydanticCustomError("wrong", "{problem}", {"problem": problem} | ({"field": field} if field else {}))


class JsonRoute(APIRoute):
    """A route whose body is JSON."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, given the body as parsed here."""
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle

        async def handle_json(request: Request) -> Response:
            parsed = _JsonRequest(request.scope, request.receive)
            await parsed.json()
            return await handle(parsed)

        return handle_json


class _JsonRequest(Request):
    """A request whose body is parsed once, strictly."""

    _value: Any = None
    _parsed = False

    async def json(self) -> Any:
        """The body's value.

        Raises:
            ApiError: It is not JSON.
        """
        if not self._parsed:
            kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind != "application/json":
                raise ApiError(415, "the content type of the body must be application/json")
            self._value, self._parsed = parsed_json(await self.body()), True
        return self._value


def parsed_json(raw: bytes) -> Any:
    """The value of a body.

    Raises:
        ApiError: It is not JSON in UTF-8, or has more levels than 200.
    """
    if not raw:
        raise ApiError(400, "the request has no body, but must have a JSON object")
    try:
        return from_json(raw, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        raise ApiError(400, f"the body is not valid JSON: {error}") from None


def problem_of(error: RequestValidationError) -> ApiError:
    """What is wrong with a request, as one sentence about one field.

    Where a value could have been of several types, the sentence names all of them.
    """
    found = [(_path(one, error.body), one) for one in error.errors()]
    deepest = max(found, key=lambda pair: len(pair[0]))[0]
    ones = [one for path, one in found if path == deepest]
    special = next((one for one in ones if one["type"] in ("refused", "unknown", "wrong")), None)
    return _special(deepest, special) if special else _plain(deepest, ones)


def _special(path: list[str | int], one: Mapping[str, Any]) -> ApiError:
    """The sentence of an error that a `Body` raised."""
    context = one["ctx"]
    name = _dotted([*path, context["field"]] if "field" in context else path)
    if one["type"] == "refused":
        return unsupported(name or "the body", context["why"])
    if one["type"] == "unknown":
        alike = f"; did you mean {_dotted([*path, context['alike']])}?" if context["alike"] else ""
        return ApiError(400, f"{name} is not known{alike}", param=name, code="unknown_parameter")
    return ApiError(400, f"{name or 'the body'} {context['problem']}", param=name or None)


def _plain(path: list[str | int], ones: Sequence[Mapping[str, Any]]) -> ApiError:
    """The sentence of pydantic's own errors about one value."""
    first = ones[0]
    param = _dotted(path) or None
    name = param or "the body"
    if first["type"] == "missing":
        return ApiError(400, f"{name} is missing", param=param, code="missing_required_parameter")
    if first["type"].startswith("union_tag"):  # of objects that one of their fields tells apart
        return _untold(path, first["ctx"])
    messages = list(dict.fromkeys(str(one["msg"]) for one in ones))
    # A type that does not fit says only that; the one that was meant says more.
    more = [text for text in messages if not text.startswith("Input should ")]
    if more:
        return ApiError(400, f"{name}: {more[0][:1].lower()}{more[0][1:]}", param=param)
    wishes = " or ".join(text.removeprefix("Input should ") for text in messages)
    return ApiError(400, f"{name} is {_shown(first['input'])}, but must {wishes}", param=param)


def _untold(path: Sequence[str | int], context: Mapping[str, Any]) -> ApiError:
    """The sentence of an object whose kind is missing or not known."""
    name = _dotted([*path, str(context["discriminator"]).strip("'")])
    if "tag" not in context:
        return ApiError(400, f"{name} is missing", param=name, code="missing_required_parameter")
    return ApiError(
        400, f"{name} is {_shown(context['tag'])}, but must be one of {context['expected_tags']}", param=name
    )


def _path(error: Mapping[str, Any], body: Any) -> list[str | int]:
    """The keys and indices of a place, without pydantic's names of the branches of unions."""
    kind, *loc = error["loc"]
    if kind != "body":
        return loc
    path: list[str | int] = []
    value = body
    for key in loc:
        if (isinstance(value, dict) and key in value) or (isinstance(value, list) and isinstance(key, int)):
            value = value[key]
            path.append(key)
    return [*path, loc[-1]] if error["type"] == "missing" and loc else path


def _dotted(path: Sequence[str | int]) -> str:
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key:.{_SHOWN}}" for key in path)
    return text.removeprefix(".")


def _shown(value: Any) -> str:
    """A value in an error, short."""
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
