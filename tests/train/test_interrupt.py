"""Signals while training: remembered once, obeyed at once the second time, and given back afterwards."""

import os
import signal
import threading

import pytest

from puna.core.errors import Interrupted
from puna.train.interrupt import Interrupt


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_first_signal_is_remembered(number: signal.Signals, capsys: pytest.CaptureFixture[str]):
    with Interrupt() as interrupt:
        assert interrupt.signal is None
        os.kill(os.getpid(), number)
        assert interrupt.signal == number
    assert capsys.readouterr().err == ""


def test_second_ctrl_c_leaves_at_once():
    with Interrupt():
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_where_nothing_is_to_be_saved_the_first_signal_leaves_at_once():
    with Interrupt() as interrupt:
        with pytest.raises(Interrupted), interrupt.at_once():
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted), interrupt.at_once():  # the one from before
            raise AssertionError("not entered")
    with Interrupt() as interrupt:
        with interrupt.at_once():
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupt.signal == signal.SIGTERM


def test_handlers_are_given_back():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with Interrupt():
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_what_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupt() as interrupt:
            os.kill(os.getpid(), signal.SIGHUP)
            assert interrupt.signal is None
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_other_threads_leave_signals_alone():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work() -> None:
        with Interrupt():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
