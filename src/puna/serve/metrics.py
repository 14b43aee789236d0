"""What the server counts and measures, for Prometheus: requests, tokens and times by model; no key and no text.

Requests are counted around the whole application, whatever refuses them. Tokens and times are taken from what the
engine tells, where a route asks a model: `Metrics.measured` gives the routes models that are watched.

Labels have few values: the paths of routes, statuses, and the names of the server's own models. What a client writes
into a path or a body never becomes one.

Source of the names' form: Prometheus, "Metric and label naming" (base units, `_total` for what only grows).
"""

import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from puna.infer.requests import Event, Request
from puna.serve.asgi import App, Message, Receive, Scope, Send
from puna.serve.caller import Caller
from puna.serve.served_model import Progress, ServedModel, ServedModels, State

_SECONDS = tuple(0.001 * 2**power for power in range(20))
"""Borders of times: from a millisecond to nine minutes, each twice the one before."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_asked_model: ContextVar[list[str]] = ContextVar("_asked_model")
"""The names of the models that the request of this task has asked for; the application's frame reads it afterwards."""


class Metrics:
    """The counters of one server.

    Args:
        clock: Seconds, of which only differences count.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "puna_requests", "HTTP requests answered, by route, model and status; 0 is a client that left before.",
            ["route", "method", "model", "status"], registry=registry,
        )  # fmt: skip
        self._families, self._clock = _Families(registry), clock
        self._meters: dict[str, _Meter] = {}

    def measured(self, models: ServedModels) -> ServedModels:
        """The same models, whose answers are measured."""
        self._registry.register(_States(models))
        return _MeasuredModels(models, self._meter)

    def counted(self, app: App) -> App:
        """The same application, whose requests are counted."""

        async def call(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            status, models = 0, list[str]()
            mark = _asked_model.set(models)

            async def watched(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                await send(message)

            try:
                await app(scope, receive, watched)
            finally:
                _asked_model.reset(mark)
                method = scope["method"] if scope["method"] in _METHODS else "other"
                model = models[0] if models else ""
                self._requests.labels(_route(scope), method, model, str(status)).inc()

        return call

    def page(self, accept: str) -> tuple[bytes, str]:
        """Everything as text, and its content type.

        Args:
            accept: What the client takes: Prometheus's own text form, or OpenMetrics where it asks for that.
        """
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def _meter(self, model: str) -> "_Meter":
        if model not in self._meters:
            self._meters[model] = _Meter(self._families, model, self._clock)
        return self._meters[model]


class _Families:
    """What is measured of every model."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, about: str, *labels: str) -> Counter:
            return Counter(f"puna_{name}", about, ["model", *labels], registry=registry)

        def gauge(name: str, about: str) -> Gauge:
            return Gauge(f"puna_{name}", about, ["model"], registry=registry)

        def seconds(name: str, about: str) -> Histogram:
            return Histogram(f"puna_{name}_seconds", about, ["model"], registry=registry, buckets=_SECONDS)

        self.waiting = gauge("requests_waiting", "Requests of which nothing is computed yet.")
        self.running = gauge("requests_running", "Requests that the engine computes.")
        self.ended = counter(
            "samples", "Texts that have ended, by reason; left is a client that went away, failed an error.", "finish"
        )
        self.prompt = counter("prompt_tokens", "Tokens of the prompts of answered requests.")
        self.cached = counter("cached_tokens", "Of the prompts' tokens, found in the cache.")
        self.written = counter("written_tokens", "Tokens written, also for clients that went away.")
        self.proposed = counter("proposed_tokens", "Tokens that speculation proposed.")
        self.accepted = counter("accepted_tokens", "Of the proposed tokens, accepted.")
        self.first = seconds("time_to_first_token", "From the request to its first token, the queue included.")
        self.between = seconds("time_between_tokens", "Between two tokens of a text.")
        self.whole = seconds("answer", "From the request to its end, of requests that were answered whole.")


class _Meter:
    """What is measured of one model."""

    def __init__(self, families: _Families, model: str, clock: Callable[[], float]) -> None:
        self._clock, self._model, self._ended = clock, model, families.ended
        self._waiting, self._running = families.waiting.labels(model), families.running.labels(model)
        self._prompt, self._cached = families.prompt.labels(model), families.cached.labels(model)
        self._written = families.written.labels(model)
        self._proposed, self._accepted = families.proposed.labels(model), families.accepted.labels(model)
        self._first, self._between = families.first.labels(model), families.between.labels(model)
        self._whole = families.whole.labels(model)

    async def watch(
        self, events: AsyncGenerator[Event | Progress], request: Request
    ) -> AsyncGenerator[Event | Progress]:
        """The same events, measured."""
        begun = self._clock()
        last: dict[int, float] = {}
        unfinished, end = request.n, "left"
        stage = self._waiting
        stage.inc()
        try:
            async with contextlib.aclosing(events):
                async for event in events:
                    if stage is self._waiting and (isinstance(event, Event) or event.computed):
                        stage.dec()
                        stage = self._running
                        stage.inc()
                    if isinstance(event, Event):
                        unfinished -= self._take(event, begun, last)
                    yield event
            self._whole.observe(self._clock() - begun)
        except Exception:
            end = "failed"
            raise
        finally:
            stage.dec()
            if unfinished:
                self._ended.labels(self._model, end).inc(unfinished)

    def _take(self, event: Event, begun: float, last: dict[int, float]) -> bool:
        """Measure an event.

        Args:
            event: Of the engine.
            begun: When the request came.
            last: When each of its samples wrote its last token.

        Returns:
            Whether its sample has ended.
        """
        if event.token is not None:
            now = self._clock()
            self._written.inc()
            if event.sample in last:
                self._between.observe(now - last[event.sample])
            elif not last:
                self._first.observe(now - begun)
            last[event.sample] = now
        done = event.completion
        if done is None:
            return False
        self._ended.labels(self._model, done.finish).inc()
        self._proposed.inc(done.proposed_tokens)
        self._accepted.inc(done.accepted_tokens)
        if event.sample == 0:  # the samples of a request share its prompt
            self._prompt.inc(done.prompt_tokens)
            self._cached.inc(done.cached_tokens)
        return True


class _MeasuredModel:
    """A model whose answers are measured; the rest is the model's own."""

    def __init__(self, model: ServedModel, meter: _Meter) -> None:
        self._model, self._meter = model, meter
        self.name, self.created, self.title = model.name, model.created, model.title
        self.config, self.tokenizer, self.template = model.config, model.tokenizer, model.template
        self.longest, self.parent = model.longest, model.parent

    def ask(self, request: Request, caller: Caller) -> AsyncGenerator[Event | Progress]:
        """As `ServedModel.ask`."""
        return self._meter.watch(self._model.ask(request, caller), request)


class _MeasuredModels:
    """The models of a server, whose answers are measured."""

    def __init__(self, models: ServedModels, meter: Callable[[str], _Meter]) -> None:
        self._models, self._meter = models, meter

    def __iter__(self) -> Iterator[ServedModel]:
        """As `ServedModels`; these are only looked at."""
        return iter(self._models)

    @property
    def default(self) -> ServedModel:
        """As `ServedModels.default`."""
        return self._of(self._models.default)

    @property
    def states(self) -> Mapping[str, State]:
        """As `ServedModels.states`."""
        return self._models.states

    def get(self, name: str) -> ServedModel:
        """As `ServedModels.get`."""
        return self._of(self._models.get(name))

    def _of(self, model: ServedModel) -> ServedModel:
        if (asked := _asked_model.get(None)) is not None:
            asked.append(model.name)
        return _MeasuredModel(model, self._meter(model.name))


class _States(Collector):
    """The models' states when somebody looks."""

    def __init__(self, models: ServedModels) -> None:
        self._models = models

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One figure for each model and state: 1 for the one that it is in, otherwise 0."""
        family = GaugeMetricFamily("puna_model_state", "The state that a model is in.", labels=["model", "state"])
        for name, now in self._models.states.items():
            for state in get_args(State):
                family.add_metric([name, state], float(now == state))
        yield family


def _route(scope: Scope) -> str:
    """The path of the route that answered, as it is declared; a path that nothing is at is not repeated."""
    return getattr(scope.get("route"), "path", "none")
