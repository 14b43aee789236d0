"""`/v1/models` as OpenAI's client reads it."""

from openai.types import Model
from starlette.testclient import TestClient


def test_all_models_are_listed_the_default_first(http: TestClient) -> None:
    told = http.get("/v1/models").json()
    assert told["object"] == "list"
    assert [(one["id"], one["max_model_len"], one["chat"]) for one in told["data"]] == [
        ("small", 64, False), ("other", 32, False),
    ]  # fmt: skip
    for one in told["data"]:
        Model.model_validate(one, strict=True)


def test_one_model_is_told_by_its_name(http: TestClient) -> None:
    assert http.get("/v1/models/other").json() == http.get("/v1/models").json()["data"][1]
    assert http.get("/v1/models/none").status_code == 404
