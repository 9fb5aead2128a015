"""One call of a reader, watched: how it ended, what it said, how long it took, what it took up."""

from __future__ import annotations

import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType

import sodkit
from sodkit.errors import SodkitError

_PACKAGE = Path(sodkit.__file__).parent
_ROOT = _PACKAGE.parent

FAULTS = ("raised", "said", "slow", "memory", "died")
"""Ends that are faults; the others are ``accepted`` and ``refused``."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a call may take: seconds, and bytes above what the process had before."""

    seconds: float = 10.0
    memory: int = 2 * 1024**3


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended.

    Attributes:
        end: ``accepted``, ``refused`` by an error of ours, or one of ``FAULTS``.
        what: the exception and its message, or what was said.
        place: file and line, the innermost of sodkit's that took part.
    """

    end: str
    what: str = ""
    place: str = ""


class TooSlowError(BaseException):
    """Raised inside of a call that takes too long; no reader catches it."""


def _too_slow(number: int, frame: FrameType | None) -> None:
    raise TooSlowError


class Watch:
    """Watches calls in this process, whose stdout and stderr it takes over."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process lives
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for descriptor in (1, 2):
            os.dup2(self._said.fileno(), descriptor)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", ResourceWarning)  # as users have it, and it comes late
        signal.signal(signal.SIGALRM, _too_slow)
        self._before = _peak()
        # Far above the limit: room that a library asks for in vain must show as a failure of ours.
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (_address_space() + 3 * limits.memory, hard))

    def call(self, function: Callable[[Path], object], folder: Path) -> Outcome:
        """Call a reader and say how it ended."""
        start = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, self._limits.seconds)
        try:
            try:
                function(folder)
                outcome = Outcome("accepted")
            except SodkitError as error:
                outcome = Outcome("refused", f"{type(error).__name__}: {error}")
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except TooSlowError as error:
            outcome = Outcome("slow", "interrupted", _place(error.__traceback__))
        except BaseException as error:
            what = f"{type(error).__name__}: {str(error)[:300]}"
            outcome = Outcome("raised", what, _place(error.__traceback__))
        return self._closer(outcome, time.monotonic() - start)

    def _closer(self, outcome: Outcome, seconds: float) -> Outcome:
        """Return another outcome if memory, time or what was said is worse."""
        taken = _peak() - self._before
        if taken > self._limits.memory:
            what = f"took {taken >> 20} MB ({outcome.end}: {outcome.what[:200]})"
            return Outcome("memory", what, outcome.place)
        if outcome.end in FAULTS:
            self._heard()
            return outcome
        if seconds > self._limits.seconds:
            return Outcome("slow", f"took {seconds:.0f} s")
        said = self._heard()
        return Outcome("said", said, _first_words(said)) if said else outcome

    def _heard(self) -> str:
        """Return what was written to stdout and stderr since the last time."""
        sys.stdout.flush()
        sys.stderr.flush()
        size = os.fstat(self._said.fileno()).st_size
        if not size:
            return ""
        text = os.pread(self._said.fileno(), 2000, 0).decode("utf-8", "replace")
        os.ftruncate(self._said.fileno(), 0)
        os.lseek(self._said.fileno(), 0, os.SEEK_SET)
        return text


def _first_words(said: str) -> str:
    """Return the first words of what was said, without numbers: the same for all of a kind."""
    words = "".join("#" if letter.isdigit() else letter for letter in said[:300]).split()
    return " ".join(word[:60] for word in words[:4])


def _place(trace: TracebackType | None) -> str:
    """Return the innermost place in sodkit, else the innermost at all."""
    frames = traceback.extract_tb(trace)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(_PACKAGE)] or frames
    if not own:
        return ""
    name = Path(own[-1].filename)
    short = name.relative_to(_ROOT) if name.is_relative_to(_ROOT) else name
    return f"{short}:{own[-1].lineno}"


def _peak() -> int:
    """Return the most bytes that this process has had in memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    return pages * resource.getpagesize()
