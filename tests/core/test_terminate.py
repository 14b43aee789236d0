"""SIGTERM, as a batch system or a container's end sends it."""

import os
import signal
import threading
from pathlib import Path

import pytest

from puna.core.errors import Interrupted
from puna.core.files import atomic_directory
from puna.core.terminate import orderly_end


def _interrupted(out: Path) -> None:
    with orderly_end(), atomic_directory(out) as directory:
        (directory / "weights").touch()
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail("it went on")


def test_nothing_half_written_stays_and_the_handler_before_is_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted) as caught:
        _interrupted(tmp_path / "model")
    assert caught.value.exit_code == 128 + signal.SIGTERM
    assert not list(tmp_path.iterdir())
    assert signal.getsignal(signal.SIGTERM) is before


def test_other_threads_leave_signals_alone() -> None:
    seen = []

    def work() -> None:
        with orderly_end():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]
