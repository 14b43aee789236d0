"""What is counted and measured, read back by Prometheus's own parser."""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families

from puna.infer.requests import Completion, Event, FinishReason, Request, Token
from puna.serve.caller import ANYONE, Caller
from puna.serve.errors import ApiError
from puna.serve.metrics import Metrics
from puna.serve.served_model import Progress, State

Told = Event | Progress | float | Exception
"""What a model tells, seconds that pass, or the error in which it ends."""


class Clock:
    """A clock that stands still until it is set forward."""

    def __init__(self) -> None:
        self.now = 5.0

    def __call__(self) -> float:
        return self.now


class Script:
    """A model that tells what is written, and the only one of its server."""

    created, title, longest, template, parent = 1, "a script", 64, None, None
    config: Any = None
    tokenizer: Any = None

    def __init__(self, clock: Clock, told: Sequence[Told], name: str = "tiny") -> None:
        self.name, self._clock, self._told = name, clock, told

    async def ask(self, request: Request, caller: Caller) -> AsyncGenerator[Event | Progress]:
        for one in self._told:
            if isinstance(one, float):
                self._clock.now += one
            elif isinstance(one, Exception):
                raise one
            else:
                yield one

    def __iter__(self) -> "Iterator[Script]":
        return iter([self])

    @property
    def default(self) -> "Script":
        return self

    @property
    def states(self) -> Mapping[str, State]:
        return {self.name: "ready", "other": "failed"}

    def get(self, name: str) -> "Script":
        if name != self.name:
            raise ApiError(404, "there is no such model")
        return self


def written(token: int, sample: int = 0) -> Event:
    """An event with a token."""
    return Event(request=0, sample=sample, token=Token(id=token), text="x")


def ended(sample: int = 0, finish: FinishReason = "stop", **counts: int) -> Event:
    """The last event of a sample, without a token."""
    done = Completion(
        request=0, sample=sample, text="", tokens=(), prompt=(), finish=finish, stop=None,
        **{"prompt_tokens": 9, "cached_tokens": 4, **counts},
    )  # fmt: skip
    return Event(request=0, sample=sample, token=None, text="", completion=done)


def figures(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """All figures by their names and the values of their labels, in the order of the labels' names."""
    page, content_type = metrics.page("")
    assert content_type.startswith("text/plain; version=")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def asked(told: Sequence[Told], n: int = 1) -> dict[tuple[str, ...], float]:
    """The figures after one request to a model that tells this."""
    clock = Clock()
    metrics = Metrics(clock)
    model = metrics.measured(Script(clock, told)).default

    async def read() -> None:
        async for _ in model.ask(Request(prompt=(1,), max_tokens=4, n=n), ANYONE):
            pass

    with contextlib.suppress(ApiError):
        asyncio.run(read())
    return figures(metrics)


def test_tokens_and_times_are_those_of_the_engines_events() -> None:
    told = [
        Progress(0, 9), 0.25, written(3), 0.5, written(4), 1.5, written(5), 0.001,
        ended(proposed_tokens=6, accepted_tokens=2),
    ]  # fmt: skip
    found = asked(told)
    assert found["puna_prompt_tokens_total", "tiny"] == 9
    assert found["puna_cached_tokens_total", "tiny"] == 4
    assert found["puna_written_tokens_total", "tiny"] == 3
    assert (found["puna_proposed_tokens_total", "tiny"], found["puna_accepted_tokens_total", "tiny"]) == (6, 2)
    assert found["puna_time_to_first_token_seconds_sum", "tiny"] == 0.25
    assert found["puna_time_to_first_token_seconds_count", "tiny"] == 1
    assert found["puna_time_between_tokens_seconds_sum", "tiny"] == 2.0
    assert found["puna_time_between_tokens_seconds_count", "tiny"] == 2
    assert found["puna_answer_seconds_sum", "tiny"] == pytest.approx(2.251)
    assert found["puna_samples_total", "stop", "tiny"] == 1


def test_the_time_between_tokens_is_taken_in_each_sample() -> None:
    told = [1.0, written(3, 0), 0.5, written(3, 1), 0.25, written(4, 0), ended(0), written(4, 1), ended(1, "length")]
    found = asked(told, n=2)
    assert found["puna_time_to_first_token_seconds_sum", "tiny"] == 1.0
    assert found["puna_time_to_first_token_seconds_count", "tiny"] == 1
    assert found["puna_time_between_tokens_seconds_sum", "tiny"] == 0.75 + 0.25
    assert found["puna_prompt_tokens_total", "tiny"] == 9
    assert (found["puna_samples_total", "stop", "tiny"], found["puna_samples_total", "length", "tiny"]) == (1, 1)


def test_what_breaks_off_is_counted_by_why() -> None:
    found = asked([written(3), ended(0), ApiError(500, "the model's process has ended")], n=2)
    assert (found["puna_samples_total", "stop", "tiny"], found["puna_samples_total", "failed", "tiny"]) == (1, 1)
    assert found["puna_answer_seconds_count", "tiny"] == 0
    assert found["puna_requests_running", "tiny"] == 0


def test_a_request_waits_until_something_is_computed_and_leaves_no_trace_when_its_client_goes() -> None:
    clock = Clock()
    metrics = Metrics(clock)
    script = Script(clock, [Progress(0, 9), Progress(4, 9), written(3), written(4)])
    model = metrics.measured(script).get("tiny")

    def stage() -> tuple[float, float]:
        found = figures(metrics)
        return found["puna_requests_waiting", "tiny"], found["puna_requests_running", "tiny"]

    async def read() -> None:
        events = model.ask(Request(prompt=(1,), max_tokens=4), ANYONE)
        assert stage() == (0, 0)
        await anext(events)
        assert stage() == (1, 0)
        await anext(events)
        assert stage() == (0, 1)
        await anext(events)
        await events.aclose()
        assert stage() == (0, 0)

    asyncio.run(read())
    found = figures(metrics)
    assert found["puna_samples_total", "left", "tiny"] == 1
    assert found["puna_written_tokens_total", "tiny"] == 1


def test_the_states_of_all_models_are_shown() -> None:
    found = asked([])
    states = {labels[1:]: value for labels, value in found.items() if labels[0] == "puna_model_state"}
    assert {labels for labels, value in states.items() if value} == {("tiny", "ready"), ("other", "failed")}
    assert len(states) == 2 * 5


@pytest.fixture
def counted() -> tuple[Metrics, Any]:
    """Metrics around an application with a route that asks a model."""
    metrics = Metrics()
    models = metrics.measured(Script(Clock(), []))
    app = FastAPI()

    @app.get("/models/{name}")
    async def model(name: str) -> str:
        return models.get(name).title

    @app.exception_handler(ApiError)
    async def refused(request: Any, error: Any) -> Any:
        from fastapi.responses import JSONResponse

        return JSONResponse(error.body, status_code=error.status)

    return metrics, metrics.counted(app)


def get(app: Any, path: str, method: str = "GET") -> None:
    """Send a request to an application, without a network."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        pass

    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"", "headers": [],
        "http_version": "1.1", "scheme": "http", "root_path": "", "client": ("127.0.0.1", 1), "server": ("x", 80),
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))


def test_requests_are_counted_by_the_routes_path_and_never_by_what_a_client_wrote(counted: Any) -> None:
    metrics, app = counted
    for path in ("/models/tiny", "/models/tiny", "/models/secret-name", "/models/secret/path", "/secret"):
        get(app, path)
    get(app, "/models/tiny", method="SECRET")
    found = {labels[1:]: value for labels, value in figures(metrics).items() if labels[0] == "puna_requests_total"}
    assert found == {
        ("GET", "tiny", "/models/{name}", "200"): 2, ("GET", "", "/models/{name}", "404"): 1,
        ("GET", "", "none", "404"): 2, ("other", "", "/models/{name}", "405"): 1,
    }  # fmt: skip
    assert b"secret" not in metrics.page("")[0].lower()


def test_open_metrics_is_written_where_it_is_asked_for(counted: Any) -> None:
    metrics, app = counted
    get(app, "/models/tiny")
    page, content_type = metrics.page("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    families = {family.name: family for family in open_metrics(page.decode())}
    assert [sample.value for sample in families["puna_requests"].samples if sample.name.endswith("_total")] == [1]


def test_the_page_of_the_guide_has_every_figure_with_its_kind_and_labels() -> None:
    clock = Clock()
    metrics = Metrics(clock)
    model = metrics.measured(Script(clock, [written(3), written(4), ended()])).get("tiny")

    async def read() -> None:
        async for _ in model.ask(Request(prompt=(1,), max_tokens=4), ANYONE):
            pass

    asyncio.run(read())
    get(metrics.counted(FastAPI()), "/")
    page, _ = metrics.page("")
    found = {}
    for family in text_string_to_metric_families(page.decode()):
        if family.name.startswith("puna_") and not family.name.endswith("_created"):
            labels = {name for sample in family.samples for name in sample.labels} - {"le"}
            found[family.name + "_total" * (family.type == "counter")] = (family.type, labels)
    guide = (Path(__file__).parents[2] / "docs/guide/serving-metrics.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(puna_\w+)` \| (\w+) \| ([^|]*) \|", guide, flags=re.MULTILINE)
    assert {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows} == found
