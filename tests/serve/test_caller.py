"""Who asks: callers without keys share all, others nothing."""

import dataclasses

import pytest

from puna.infer.requests import Request
from puna.serve.caller import ANYONE, Caller


def test_who_comes_without_a_key_has_the_salt_of_requests_that_have_none() -> None:
    assert ANYONE == Caller() == Caller(name="anyone", salt="")
    assert ANYONE.salt == Request(prompt=(1,), max_tokens=1).salt


def test_a_caller_stays_who_it_is() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Caller(name="alice", salt="a").name = "bob"  # type: ignore[misc]
