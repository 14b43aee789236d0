"""`/health`: the status says whether requests are answered."""

import pytest
from in_process import InProcessModels
from starlette.testclient import TestClient

from puna.serve.served_model import State


@pytest.mark.parametrize(
    ("state", "status"), [("ready", 200), ("unloaded", 200), ("loading", 503), ("failed", 503), ("stopped", 503)]
)
def test_the_status_is_that_of_the_worst_model(
    http: TestClient, models: InProcessModels, state: State, status: int
) -> None:
    models.states["other"] = state
    answer = http.get("/health")
    assert answer.status_code == status
    assert answer.json() == {
        "status": "ok" if status == 200 else "unavailable", "models": {"small": "ready", "other": state},
    }  # fmt: skip
