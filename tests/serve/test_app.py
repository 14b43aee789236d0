"""The application: errors in one form, and a schema that is true."""

import pytest
from in_process import InProcessModels
from starlette.testclient import TestClient

from puna.serve.app import make_app
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


def test_a_defect_is_told_without_its_stack(models: InProcessModels, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> ServedModel:
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(models, "get", broken)
    with TestClient(make_app(models), raise_server_exceptions=False) as client:
        answer = client.get("/v1/models/small")
    assert answer.status_code == 500
    assert answer.json()["error"]["type"] == "server_error"
    assert "secret" not in answer.text
