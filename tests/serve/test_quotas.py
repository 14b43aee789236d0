"""Requests of a key at once and in a minute, with a clock that the test turns."""

import contextlib

import pytest

from puna.serve.caller import ANYONE, Caller
from puna.serve.errors import ApiError
from puna.serve.quotas import Quotas

ALICE, BOB = Caller("alice", "a"), Caller("bob", "b")


def test_a_key_has_as_many_requests_as_it_may_and_others_theirs() -> None:
    quotas = Quotas(2, None)
    with contextlib.ExitStack() as held:
        for caller in (ALICE, ALICE, BOB):
            held.enter_context(quotas.place(caller))
        with pytest.raises(ApiError, match="this key has 2 requests running or waiting") as caught, quotas.place(ALICE):
            pass
        assert (caught.value.status, caught.value.headers) == (429, {"Retry-After": "1"})
        with quotas.place(BOB):
            pass
    with quotas.place(ALICE), quotas.place(ALICE):
        pass


def test_a_place_is_free_again_where_a_request_fails() -> None:
    quotas = Quotas(1, None)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), quotas.place(ALICE):
            raise ZeroDivisionError


def test_who_comes_without_a_key_is_not_counted() -> None:
    quotas = Quotas(1, 1)
    with quotas.place(ANYONE), quotas.place(ANYONE), quotas.place(ANYONE):
        pass


def test_a_minute_has_as_many_requests_as_it_may_and_says_when_the_next_may_come() -> None:
    now = 100.0
    quotas = Quotas(10, 6, clock=lambda: now)

    def begun(caller: Caller) -> int | None:
        try:
            with quotas.place(caller):
                return None
        except ApiError as error:
            return error.retry_s

    assert [begun(ALICE) for _ in range(7)] == [None] * 6 + [10]
    assert begun(BOB) is None
    now += 4.5
    assert begun(ALICE) == 6
    now += 5.5
    assert [begun(ALICE), begun(ALICE)] == [None, 10]
    now += 3600
    assert [begun(ALICE) for _ in range(7)] == [None] * 6 + [10]
