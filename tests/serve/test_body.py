"""Bodies: strict JSON, one sentence for what is wrong, and nothing accepted that is not understood."""

import json
import math
from typing import Any, ClassVar

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, field_validator
from starlette.testclient import TestClient

from puna.serve.answers import whole
from puna.serve.body import Body, JsonRoute, parsed_json, problem_of, refusal, wrong
from puna.serve.errors import ApiError


class Inner(Body):
    """An object within."""

    deep: int
    even: int | None = None

    @field_validator("even")
    @classmethod
    def _even(cls, value: int | None) -> int | None:
        if value is not None and value % 2:
            raise wrong("must be even")
        return value


class Outer(Body):
    """A body."""

    refused: ClassVar[dict[str, str]] = {"magic": "there is none"}

    name: str
    share: float | None = Field(None, le=1)
    inner: Inner | None = None
    inners: list[Inner] | None = None
    choice: int | list[int] | None = None
    odd: str | None = None

    @field_validator("odd")
    @classmethod
    def _none(cls, value: str | None) -> str | None:
        if value:
            raise refusal("leave it out")
        return value


def app() -> FastAPI:
    """Gives a body back."""
    router = APIRouter(route_class=JsonRoute)

    @router.post("/")
    async def back(body: Outer):  # type: ignore[no-untyped-def]
        return whole(body.model_dump(exclude_unset=True))

    made = FastAPI()
    made.include_router(router)

    async def told(request: Any, error: Any) -> Any:
        answer = whole((problem_of(error) if isinstance(error, RequestValidationError) else error).body)
        answer.status_code = 400 if isinstance(error, RequestValidationError) else error.status
        return answer

    made.add_exception_handler(RequestValidationError, told)
    made.add_exception_handler(ApiError, told)
    return made


CLIENT = TestClient(app())


def error_of(body: Any) -> tuple[str, str | None]:
    """The message and the field of an error."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = CLIENT.post("/", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    return error["message"], error["param"]


def test_a_body_that_is_right_arrives_as_it_is() -> None:
    body = {"name": "ä", "share": 1, "inner": {"deep": 2, "even": None}, "choice": [1, 2], "odd": None}
    assert CLIENT.post("/", json={**body, "magic": None}).json() == body


@pytest.mark.parametrize(
    ("body", "message", "param"),
    [
        ({}, "name is missing", "name"),
        ([], "the body is a list, but must be a valid dictionary or object to extract fields from", None),
        (None, "the body is null, but must be a valid dictionary or object to extract fields from", None),
        ({"name": None}, "name is null, but must be a valid string", "name"),
        ({"name": 3}, "name is 3, but must be a valid string", "name"),
        ({"name": "a", "nam": 1}, "nam is not known; did you mean name?", "nam"),
        ({"name": "a", "zzz": None}, "zzz is not known", "zzz"),
        ({"name": "a", "magic": 1}, "magic is not supported: there is none", "magic"),
        ({"name": "a", "odd": "b"}, "odd is not supported: leave it out", "odd"),
        ({"name": "a", "share": 2.5}, "share is 2.5, but must be less than or equal to 1", "share"),
        ({"name": "a", "share": "1"}, "share is '1', but must be a valid number", "share"),
        ({"name": "a", "inner": {}}, "inner.deep is missing", "inner.deep"),
        ({"name": "a", "inner": {"deep": 1, "even": 3}}, "inner.even must be even", "inner.even"),
        ({"name": "a", "inner": {"deap": 1}}, "inner.deap is not known; did you mean inner.deep?", "inner.deap"),
        ({"name": "a", "inners": [{"deep": 1}, {"deep": True}]}, "inners[1].deep is true, but must be a valid integer",
         "inners[1].deep"),
        ({"name": "a", "choice": "b"}, "choice is 'b', but must be a valid integer or be a valid list", "choice"),
        ({"name": "a", "choice": [1, "b"]}, "choice[1] is 'b', but must be a valid integer", "choice[1]"),
        ({"name": "a", "choice": {"a": 1}}, "choice is an object, but must be a valid integer or be a valid list",
         "choice"),
        ({"name": "a", "choice": "x" * 100}, f"choice is '{'x' * 39}…, but must be a valid integer or be a valid list",
         "choice"),
        (b'{"name": "a", "share": 1e999}', "share is inf, but must be a finite number", "share"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_place(body: Any, message: str, param: str | None) -> None:
    assert error_of(body) == (message, param)


@pytest.mark.parametrize(
    "raw",
    [
        b"{", b'{"name": NaN}', b'{"name": -Infinity}', b'{"name": "\\ud800"}', b'{"name": "\xff"}', b"\xff\xfe{}",
        b"[" * 100_000, b'{"a":' * 300 + b"1" + b"}" * 300, b'{"name": ' + b"9" * 5000 + b"}", b"{'name': 1}", b"\x00",
    ],
)  # fmt: skip
def test_what_is_not_json_is_refused(raw: bytes) -> None:
    message, param = error_of(raw)
    assert message.startswith("the body is not valid JSON: ")
    assert param is None


def test_an_empty_body_is_refused() -> None:
    assert error_of(b"") == ("the request has no body, but must have a JSON object", None)


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonp"])
def test_only_json_is_taken_which_pages_of_other_sites_cannot_send(kind: str | None) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    answer = CLIENT.post("/", content=b'{"name": "a"}', headers=headers)
    assert answer.status_code == 415
    assert CLIENT.post(
        "/", content=b'{"name": "a"}', headers={"Content-Type": "Application/JSON; charset=utf-8"}
    ).is_success  # fmt: skip


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(["name", "share", "inner", "inners", "choice", "odd", "magic", "deep"]) | st.text(max_size=5)


@given(body=st.dictionaries(NAMES, VALUES, max_size=6) | VALUES)
def test_any_json_is_taken_as_it_is_or_refused_in_a_sentence(body: Any) -> None:
    answer = CLIENT.post("/", content=json.dumps(body), headers={"Content-Type": "application/json"})
    if answer.status_code == 200:
        assert answer.json() == {name: value for name, value in body.items() if name != "magic"}
    else:
        assert answer.status_code == 400
        assert 0 < len(answer.json()["error"]["message"]) < 400


@given(raw=st.binary(max_size=40))
def test_any_bytes_are_parsed_as_python_does_or_refused_in_words(raw: bytes) -> None:
    try:
        value = parsed_json(raw)
    except ApiError:
        return
    assert same(value, json.loads(raw))


def same(first: Any, second: Any) -> bool:
    """Whether two values are equal, floats to the last digit."""
    return first == second or (isinstance(first, float) and math.isclose(first, second, rel_tol=0))
