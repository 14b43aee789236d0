"""Processes that work for another one: they begin as they are told, and one that is killed is a sentence."""

import os
from pathlib import Path

import pytest

from puna.core.errors import DataError
from puna.core.workers import worker_pool


def test_each_process_begins_as_it_is_told(tmp_path: Path) -> None:
    with worker_pool(1, os.chdir, tmp_path, killed="killed", hint="again") as pool:
        assert Path(pool.submit(os.getcwd).result()) == tmp_path
        assert pool.submit(os.getpid).result() != os.getpid()


def test_a_killed_process_is_a_sentence_with_a_way_on() -> None:
    def work() -> None:
        with worker_pool(1, os.getpid, killed="a worker was killed", hint="again") as pool:
            pool.submit(os._exit, 1).result()

    with pytest.raises(DataError, match="a worker was killed") as caught:
        work()
    assert caught.value.hint == "again"


def test_an_error_of_the_caller_ends_the_processes_and_stays_what_it_is() -> None:
    found: list[int] = []

    def work() -> None:
        with worker_pool(1, os.getpid, killed="killed", hint="again") as pool:
            found.append(pool.submit(os.getpid).result())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    with pytest.raises(ProcessLookupError):
        os.kill(found[0], 0)
