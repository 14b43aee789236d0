"""SIGTERM, as a batch system or a container's end sends it, and SIGHUP, as a closed terminal does."""

import os
import signal
import threading
from pathlib import Path

import pytest

from puna.core.errors import Interrupted
from puna.core.files import atomic_directory
from puna.core.terminate import orderly_end


def _interrupted(out: Path, number: int) -> None:
    with orderly_end(), atomic_directory(out) as directory:
        (directory / "weights").touch()
        os.kill(os.getpid(), number)
        pytest.fail("it went on")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_nothing_half_written_stays_and_the_handler_before_is_back(tmp_path: Path, number: int) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as caught:
        _interrupted(tmp_path / "model", number)
    assert caught.value.exit_code == 128 + number
    assert not list(tmp_path.iterdir())
    assert signal.getsignal(number) is before


def test_a_hang_up_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with orderly_end():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_other_threads_leave_signals_alone() -> None:
    seen = []

    def work() -> None:
        with orderly_end():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]
