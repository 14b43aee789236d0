"""What a model's process does: it takes requests between steps, tells each step, forgets what is cancelled."""

import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from listening import PATIENCE_S
from serving import FakeLoader

from puna.infer.engine import Engine
from puna.infer.guides import Guide
from puna.infer.requests import Event, Request, Sampling
from puna.serve import wire
from puna.serve.worker import Work


def talk(engine: Engine, work: Callable[[socket.socket], None]) -> None:
    """Speak to an engine through a socket; it ends when that is closed."""
    ours, theirs = socket.socketpair()
    ours.settimeout(PATIENCE_S)
    ended: list[type[BaseException]] = []

    def compute() -> None:
        try:
            Work(engine, theirs).run()
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            ended.append(type(error))

    thread = threading.Thread(target=compute)
    with theirs:
        with ours:
            thread.start()
            work(ours)
        thread.join()
    assert ended


def answered(ours: socket.socket, requests: dict[int, Request]) -> dict[int, list[Event]]:
    """All events of some requests; what is told of others is left out."""
    joined = {number: wire.Joined(request.n) for number, request in requests.items()}
    left = {number: request.n for number, request in requests.items()}
    events: dict[int, list[Event]] = {number: [] for number in requests}
    while any(left.values()):
        step = wire.receive(ours)
        for told in step.events:
            if told[0] in requests:
                events[told[0]].append(joined[told[0]].event(told))
                left[told[0]] -= told[4] is not None
    return events


def test_requests_are_answered_under_the_numbers_of_who_asked() -> None:
    requests = {
        number: Request(prompt=(1, 2, number), max_tokens=6, n=1 + number % 2, sampling=Sampling(seed=number))
        for number in (70, 3, 12)
    }
    found: dict[int, list[Event]] = {}

    def ask(ours: socket.socket) -> None:
        for number, request in requests.items():
            ours.sendall(wire.frame((number, request)))
        found.update(answered(ours, requests))

    talk(FakeLoader()()[0], ask)
    for number, request in requests.items():
        expected = list(FakeLoader()()[0].stream([request]))
        done = [event.completion for event in found[number] if event.completion]
        assert [one.tokens for one in sorted(done, key=lambda one: one.sample)] == [
            event.completion.tokens
            for event in sorted(expected, key=lambda event: event.sample)
            if event.completion is not None
        ]


def test_what_the_engine_refuses_is_told_and_others_go_on() -> None:
    def ask(ours: socket.socket) -> None:
        ours.sendall(wire.frame((5, Request(prompt=(100_000,), max_tokens=1))))
        refused = wire.receive(ours)
        assert isinstance(refused, wire.Refused)
        assert (refused.number, "token id 100000" in refused.message) == (5, True)
        good = {6: Request(prompt=(1,), max_tokens=2)}
        ours.sendall(wire.frame((6, good[6])))
        assert len(answered(ours, good)[6]) == 2

    talk(FakeLoader()()[0], ask)


REQUESTS = st.builds(
    Request,
    prompt=st.lists(st.integers(1, 3), min_size=1, max_size=40).map(tuple),
    max_tokens=st.integers(0, 12),
    n=st.integers(1, 3),
    sampling=st.builds(Sampling, seed=st.integers(0, 5)),
    guide=st.sampled_from([None, Guide.regex("[a-z]{1,9}")]),
)


@settings(max_examples=30)
@given(st.lists(st.tuples(REQUESTS, st.booleans()), min_size=1, max_size=12), st.integers(12, 40))
def test_whatever_is_cancelled_nothing_is_left_and_the_rest_is_answered_as_alone(
    asked: list[tuple[Request, bool]], pages: int
) -> None:
    """Some are cancelled as soon as they are asked, some are never; the cache is so small that they displace others."""
    loader = FakeLoader({"pages": pages, "context": 48}, {"max_requests": 4, "max_rows": 8})
    engine = loader()[0]
    kept = {number: request for number, (request, cancelled) in enumerate(asked) if not cancelled}
    found: dict[int, list[Event]] = {}

    def ask(ours: socket.socket) -> None:
        for number, (request, cancelled) in enumerate(asked):
            ours.sendall(wire.frame((number, request)))
            if cancelled:
                ours.sendall(wire.frame((number, None)))
        ours.sendall(wire.frame((999, None)))  # of what there is not, or not any more, nothing is told
        found.update(answered(ours, kept))

    talk(engine, ask)
    for number, request in kept.items():
        alone: list[Any] = [event.completion for event in loader()[0].stream([request]) if event.completion]
        told = [event.completion for event in found[number] if event.completion]
        assert sorted((one.sample, one.text, one.tokens, one.finish) for one in told) == sorted(
            (one.sample, one.text, one.tokens, one.finish) for one in alone
        )
    while engine.busy:  # requests that were cancelled behind the last that was read
        engine.step()
    assert engine._pages.available == pages


def test_nobody_waits_for_the_guide_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiler is held until a request that came later is answered; two that it has were given up meanwhile."""
    engine = FakeLoader()()[0]
    began, held, prepare = threading.Event(), threading.Event(), engine.prepare
    prepared: list[Request] = []

    def slowly(request: Request) -> None:
        prepared.append(request)
        began.set()
        held.wait(PATIENCE_S)
        prepare(request)

    monkeypatch.setattr(engine, "prepare", slowly)
    guided = [Request(prompt=(1, 2), max_tokens=9, guide=Guide.choice([text, "b"])) for text in "acd"]
    refused = Request(prompt=(1,), max_tokens=1, guide=Guide.regex("a(?=b)"))
    found: dict[int, list[Event]] = {}

    def ask(ours: socket.socket) -> None:
        ours.sendall(wire.frame((0, guided[0])))
        assert began.wait(PATIENCE_S)
        for asked in ((1, guided[1]), (2, guided[2]), (0, None), (1, None), (3, Request(prompt=(3,), max_tokens=4))):
            ours.sendall(wire.frame(asked))
        found.update(answered(ours, {3: Request(prompt=(3,), max_tokens=4)}))
        held.set()
        found.update(answered(ours, {0: guided[0], 2: guided[2]}))
        ours.sendall(wire.frame((5, refused)))
        assert "look-around" in wire.receive(ours).message

    talk(engine, ask)
    assert len(found[3]) == 4
    assert found[0][-1].completion.finish == "cancelled"
    assert found[2][-1].completion.text in ("d", "b")
    assert prepared == [guided[0], guided[2], refused], "what was given up before its turn is not compiled"


def test_an_error_of_the_engine_ends_the_process_and_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeLoader()()[0]

    def broken(rows: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(engine.runner, "logits", broken)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(wire.frame((0, Request(prompt=(1,), max_tokens=1))))
        with pytest.raises(MemoryError):
            Work(engine, theirs).run()
