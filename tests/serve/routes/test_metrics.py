"""`/metrics` over HTTP: what it counts of real requests, and who may read it."""

from typing import Any

import pytest
from in_process import InProcessModels
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from puna.serve.app import make_app
from puna.serve.caller import Caller
from puna.serve.limits import Limits
from puna.serve.run import Settings, guarded


def figures(client: TestClient) -> dict[tuple[str, ...], float]:
    """All figures by their names and the values of their labels."""
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    families = text_string_to_metric_families(answer.text)
    return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}


def test_requests_and_tokens_of_real_answers_are_counted(models: InProcessModels) -> None:
    app = make_app(models)
    with TestClient(app.state.metrics.counted(app)) as client:
        body = {"model": "small", "prompt": [5, 6, 7], "max_tokens": 4, "temperature": 0, "n": 2}
        usage = client.post("/v1/completions", json=body).json()["usage"]
        client.post("/v1/completions", json={**body, "stream": True})
        client.post("/v1/completions", json={**body, "model": "none"})
        client.post("/v1/completions", json={**body, "best_of": 3})
        found = figures(client)
    assert found["puna_requests_total", "POST", "small", "/v1/completions", "200"] == 2
    assert found["puna_requests_total", "POST", "", "/v1/completions", "404"] == 1
    assert found["puna_requests_total", "POST", "", "/v1/completions", "400"] == 1
    assert found["puna_written_tokens_total", "small"] == 2 * usage["completion_tokens"]
    assert found["puna_prompt_tokens_total", "small"] == 2 * usage["prompt_tokens"]
    assert found["puna_time_to_first_token_seconds_count", "small"] == 2
    assert sum(value for labels, value in found.items() if labels[0] == "puna_samples_total") == 4


def test_requests_that_the_limits_refuse_are_counted(models: InProcessModels) -> None:
    app = make_app(models)
    settings = Settings(limits=Limits(body_bytes=10), metrics=app.state.metrics)
    with TestClient(guarded(app, settings), base_url="http://127.0.0.1") as client:
        assert client.post("/v1/completions", json={"prompt": "Hello"}).status_code == 413
        assert client.get("/metrics", headers={"Host": "elsewhere.example"}).status_code == 403
        found = figures(client)
    assert found["puna_requests_total", "POST", "", "none", "413"] == 1
    assert found["puna_requests_total", "GET", "", "none", "403"] == 1


@pytest.mark.parametrize(("name", "status"), [("metrics", 200), ("alice", 403), ("anyone", 403)])
def test_where_there_are_keys_only_the_one_of_that_name_reads_them(
    models: InProcessModels, name: str, status: int
) -> None:
    app = make_app(models)

    async def keyed(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            scope["puna.caller"] = Caller(name, salt="s")
        await app(scope, receive, send)

    with TestClient(keyed) as client:
        answer = client.get("/metrics")
    assert answer.status_code == status
    assert status == 200 or answer.json()["error"]["type"] == "permission_error"
