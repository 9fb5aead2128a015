"""Ctrl-C and SIGTERM while a run trains: held back until the step is done and the state is saved.

A step changes weights, batch statistics and exemplars one after the other, so a run can go on only
from between two steps.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

from sodkit.engine.world import ALONE, World
from sodkit.errors import TerminatedError

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopping:
    """Handles the signals that end a run.

    Args:
        say: called with a sentence when a signal is held back.
        world: with several processes a further signal does not end the run at once: ``torchrun``
            passes on what the terminal has sent already, and kills what does not end in 30 s.

    Attributes:
        asked: the signal that was held back, None: none came.
    """

    def __init__(self, say: Callable[[str], None], world: World = ALONE) -> None:
        self._patient = world.size > 1
        self.asked: int | None = None
        self._say = say
        self._held = False
        self._process = os.getpid()

    @contextmanager
    def handling(self) -> Iterator[None]:
        """Handle the signals while the block runs; one that is ignored (nohup) stays ignored.

        Only the main thread can handle signals: in another one nothing changes.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in SIGNALS}
        mine = [n for n, handler in before.items() if handler not in (None, signal.SIG_IGN)]
        try:
            for number in mine:
                signal.signal(number, self._handle)
            yield
        finally:
            for number in mine:
                signal.signal(number, before[number])

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the first signal back until the block ends; a second one ends the run at once.

        Raises:
            KeyboardInterrupt: Ctrl-C came.
            TerminatedError: SIGTERM came.
        """
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self.asked is not None:
            self.end()

    def end(self) -> NoReturn:
        """Raise what the signal stands for."""
        raise KeyboardInterrupt if self.asked != signal.SIGTERM else TerminatedError

    def _handle(self, number: int, _: FrameType | None) -> None:
        if os.getpid() != self._process:  # a child process has inherited the handler
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        again, self.asked = self.asked is not None, number
        if again and self._patient and self._held:
            return
        if again or not self._held:
            self.end()
        with suppress(RuntimeError):  # the signal came in the middle of another line's output
            at_once = "" if self._patient else "; once more stops at once"
            self._say(f"stopping after this step and saving the state{at_once}")
