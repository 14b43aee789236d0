"""The application: errors in one form, and a schema that is true."""

from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from in_process import InProcessModels
from pydantic import ValidationError
from starlette.testclient import TestClient

from puna.serve.app import make_app
from puna.serve.body import Body
from puna.serve.schema.chat import ChatRequest
from puna.serve.served_model import ServedModel


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/v1/nothing", 404, "there is no /v1/nothing here; /openapi.json lists what there is"),
        ("GET", "/v1/completions", 405, "GET is not a method of /v1/completions"),
        ("GET", "/v1/models/none", 404, "there is no model 'none'"),
        ("GET", "/docs", 404, "there is no /docs here; /openapi.json lists what there is"),
    ],
)
def test_refusals_have_the_form_of_openai(http: TestClient, method: str, path: str, status: int, message: str) -> None:
    answer = http.request(method, path)
    assert answer.status_code == status
    assert answer.json()["error"]["message"] == message
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def kinds(kind: type[Body] = Body) -> Iterator[type[Body]]:
    """All kinds of bodies, and of objects in them, that the server takes."""
    for one in kind.__subclasses__():
        if one.__module__.startswith("puna."):
            yield one
            yield from kinds(one)


def collections_in(schema: Any) -> Iterator[dict[str, Any]]:
    """Each list and each object of any names in pydantic's own schema whose contents can be wrong."""
    for part in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list | tuple) else ():
        yield from collections_in(part)
    if isinstance(schema, dict) and schema.get("type") in ("list", "dict"):
        contents = schema.get("items_schema" if schema["type"] == "list" else "values_schema", {"type": "any"})
        if contents["type"] != "any":
            yield schema


def test_a_body_is_given_up_at_the_first_fault_of_a_list_or_its_faults_could_fill_the_memory() -> None:
    found = [(kind.__name__, one) for kind in kinds() for one in collections_in(kind.__pydantic_core_schema__)]
    assert {"ChatRequest", "UserMessage", "CompletionRequest", "ResponseRequest"} <= {name for name, _ in found}
    assert [name for name, one in found if not one.get("fail_fast")] == []
    for field in (
        {"messages": [{"role": "user", "content": [{}] * 100}] * 100},
        {"messages": [{"role": "user", "content": "a"}], "logit_bias": {f"a{number}": "b" for number in range(1000)}},
    ):
        with pytest.raises(ValidationError) as caught:
            ChatRequest.model_validate(field)
        assert caught.value.error_count() < 5


def test_a_defect_is_told_without_its_stack(models: InProcessModels, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> ServedModel:
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(models, "get", broken)
    with TestClient(make_app(models), raise_server_exceptions=False) as client:
        answer = client.get("/v1/models/small")
    assert answer.status_code == 500
    assert answer.json()["error"]["type"] == "server_error"
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("get", "/v1/models", None, 200),
        ("get", "/v1/models/{model}", None, 200),
        ("get", "/health", None, 200),
        ("get", "/ready", None, 200),
        ("get", "/tokenizer_info", None, 200),
        ("post", "/v1/completions", {"prompt": ["a", "b"], "n": 2, "logprobs": 2}, 200),
        ("post", "/v1/completions", {"prompt": "a", "echo": True, "logprobs": 0, "max_tokens": 0}, 200),
        ("post", "/v1/completions", {"prompt": 1}, 400),
        ("post", "/tokenize", {"prompt": "a", "return_token_strs": True}, 200),
        ("post", "/detokenize", {"tokens": [5]}, 200),
        ("post", "/loglikelihood", {"text": ["a"]}, 200),
        ("post", "/loglikelihood-rolling", {"text": ["a"]}, 200),
        ("post", "/generate", {"prefix_text": ["a"]}, 200),
        ("post", "/greedy-until", {"prefix_text": ["a", "b"], "until": ["b", ["c"]]}, 200),
        ("post", "/chat", {"prompt": "a"}, 200),
        ("post", "/chat", {}, 400),
    ],
)
def test_bodies_and_answers_are_those_of_the_schema(
    http: TestClient, method: str, path: str, body: dict[str, Any] | None, status: int
) -> None:
    schema = http.get("/openapi.json").json()
    operation = schema["paths"][path][method]
    answer = http.request(method, path.format(model="small"), json=body)
    assert answer.status_code == status
    described = operation["responses"].get(str(status), operation["responses"]["default"])
    checked = {**described["content"]["application/json"]["schema"], "components": schema["components"]}
    jsonschema.Draft202012Validator(checked).validate(answer.json())
    if body is not None:
        asked = operation["requestBody"]["content"]["application/json"]["schema"]
        wrong = list(jsonschema.Draft202012Validator({**asked, "components": schema["components"]}).iter_errors(body))
        assert bool(wrong) == (status == 400)


def test_every_route_says_how_it_fails_and_takes_no_other_fields(http: TestClient) -> None:
    schema = http.get("/openapi.json").json()
    for operations in schema["paths"].values():
        for operation in operations.values():
            assert "default" in operation["responses"]
            assert "422" not in operation["responses"]
            if "requestBody" in operation:
                reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
                assert schema["components"]["schemas"][reference.split("/")[-1]]["additionalProperties"] is False
