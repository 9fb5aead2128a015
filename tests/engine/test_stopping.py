"""Signals are held back, passed on, or left alone."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from sodkit.engine.stopping import Stopping
from sodkit.engine.world import World
from sodkit.errors import TerminatedError


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def test_a_signal_waits_for_the_end_of_the_block() -> None:
    said: list[str] = []
    stopping, done = Stopping(said.append), list[int | None]()

    def work() -> None:
        send(signal.SIGTERM)
        done.append(stopping.asked)

    with pytest.raises(TerminatedError), stopping.handling(), stopping.held():
        work()
    assert done == [signal.SIGTERM]
    assert len(said) == 1
    assert TerminatedError().exit_code == 143


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, TerminatedError)]
)
def test_outside_of_a_block_it_acts_at_once(number: int, error: type[BaseException]) -> None:
    before = signal.getsignal(number)
    with pytest.raises(error), Stopping(print).handling():
        send(number)
    assert signal.getsignal(number) == before


def test_an_error_of_the_block_comes_before_the_signal() -> None:
    stopping = Stopping(lambda _: None)

    def fail() -> None:
        send(signal.SIGINT)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), stopping.handling(), stopping.held():
        fail()


def test_what_is_ignored_stays_ignored() -> None:
    """As nohup and shells do for what runs in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        stopping = Stopping(print)
        with stopping.handling(), stopping.held():
            send(signal.SIGINT)
        assert stopping.asked is None
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_leave_signals_alone() -> None:
    seen: list[object] = []

    def work() -> None:
        before = signal.getsignal(signal.SIGINT)
        with Stopping(print).handling():
            seen.append(signal.getsignal(signal.SIGINT) == before)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [True]


def test_a_child_process_ends_by_the_signal() -> None:
    """It inherits the handler, and is no training."""
    stopping = Stopping(print)
    with stopping.handling(), stopping.held():
        child = os.fork()
        if not child:
            send(signal.SIGTERM)
            os._exit(0)
        _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGTERM
    assert stopping.asked is None


def test_with_several_processes_the_second_signal_waits_too() -> None:
    """torchrun sends all processes what the terminal has sent them already."""
    said: list[str] = []
    stopping, done = Stopping(said.append, World(0, 2)), list[str]()

    def work() -> None:
        send(signal.SIGINT)
        send(signal.SIGINT)
        done.append("saved")

    with pytest.raises(KeyboardInterrupt), stopping.handling(), stopping.held():
        work()
    assert done == ["saved"]
    assert said == ["stopping after this step and saving the state"]
