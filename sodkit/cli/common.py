"""What all commands share: consoles, tables, progress, and how an error ends the program.

stdout carries results only; progress, logs and errors go to stderr.
"""

from __future__ import annotations

import errno
import functools
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar

import typer

from sodkit.errors import DataWarning, ReportedError, SodkitError, UsageError

if TYPE_CHECKING:
    from sodkit.data.left_out import LeftOut

INTERRUPTED = 130
LINE_SECONDS = 30.0
"""Between lines about a long command's progress, where there is no terminal."""

P = ParamSpec("P")
R = TypeVar("R")
Report = Callable[[int, int], None]
"""Called with (done, total) as work goes on."""


def guarded(
    command: Callable[P, R], *, debug: bool, begin: Callable[[], None] = lambda: None
) -> Callable[P, R]:
    """Wrap a command: errors of ours become a message and an exit code, Ctrl-C becomes 130.

    Args:
        command: the command's function.
        debug: let the traceback through instead.
        begin: called before the command.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        begin()
        try:
            with _warnings_as_notes():
                return command(*args, **kwargs)
        except ReportedError as error:
            raise typer.Exit(error.exit_code) from None
        except SodkitError as error:
            if debug:
                raise
            print_error(error)
            raise typer.Exit(error.exit_code) from None
        except MemoryError as error:
            if debug:
                raise
            what = f"the memory is full: {error}".removesuffix(": ")
            print_error(SodkitError(what, hint="close other programs, or give fewer images"))
            raise typer.Exit(SodkitError.exit_code) from None
        except KeyboardInterrupt:
            if debug:
                raise
            print("interrupted", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            _leave_broken_pipe()
        except OSError as error:
            if debug or error.errno != errno.ENAMETOOLONG:
                raise
            print_error(UsageError("the name is too long for a file", where=error.filename))
            raise typer.Exit(UsageError.exit_code) from None

    return run


@contextmanager
def _warnings_as_notes() -> Iterator[None]:
    """Print warnings about data as lines for people; worker processes do the same."""
    show = warnings.showwarning

    def shown(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
        if issubclass(category, DataWarning):
            note(f"warning: {message}")
        else:
            show(message, category, *rest, **more)

    with warnings.catch_warnings():
        warnings.showwarning = shown
        warnings.simplefilter("always", DataWarning)
        yield


def _leave_broken_pipe() -> NoReturn:
    """End quietly when nobody reads stdout any more (``sodkit ... | head``)."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise typer.Exit(0)


def print_error(error: SodkitError) -> None:
    """Print what, where and the hint to stderr."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print("[bold red]error:[/] ", end="")
    place = "" if error.where is None else f"{error.where}: "
    console.print(f"{place}{error.what}", markup=False)
    if error.hint is not None:
        console.print(f"  {error.hint}", markup=False)


def note(message: str) -> None:
    """Print a line for people to stderr."""
    print(message, file=sys.stderr, flush=True)


def silent(*_: object) -> None:
    """Say nothing: what the processes do that are not the first one of a run."""


def print_json(data: dict[str, Any]) -> None:
    """Print one JSON object with ``schema_version`` on stdout; NaN is not allowed in it."""
    from sodkit.outputs import json_object

    print(json_object(data))


@contextmanager
def output_folder(
    folder: Path | None, command: str, names: Sequence[str], *, overwrite: bool
) -> Iterator[None]:
    """Let a command write these files into ``--out``, as its only writer; None: no --out given."""
    if folder is None:
        yield
        return
    from sodkit.outputs import fill_folder

    with fill_folder(folder, command, names, overwrite=overwrite):
        yield


def list_left_out(left: LeftOut, folder: Path | None) -> None:
    """Say what ``--skip-bad`` left out, and write the list into ``--out`` if it is given."""
    from sodkit.data.left_out import LEFT_OUT

    path = None if folder is None else folder / LEFT_OUT
    if path is not None:
        left.write(path)
    for sentence in left.sentences(path):
        note(sentence)


def chosen_checkpoint(path: Path, say: Callable[[str], None] = note) -> Path:
    """Return the checkpoint that a path stands for, and say which one if it is a run's folder."""
    from sodkit.engine.run_folder import checkpoint_in

    file = checkpoint_in(path)
    if file != path:
        say(f"checkpoint: {file}")
    return file


@contextmanager
def progress(description: str) -> Iterator[Report]:
    """Report on stderr how far the block is: a bar with ETA; without a terminal a line each 30 s.

    Yields:
        a function to call with (done, total).
    """
    if not sys.stderr.isatty():
        yield ProgressLines(description)
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=None)

        def report(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield report


class ProgressLines:
    """Prints a line on stderr each ``LINE_SECONDS``, for a log file; called with (done, total).

    Called with less done than before it is about something new, and the clock starts again.
    """

    def __init__(self, description: str) -> None:
        self._description = description
        self._began = self._printed = time.monotonic()
        self._done = 0

    def __call__(self, done: int, total: int) -> None:
        """Print a line if one is due."""
        now = time.monotonic()
        if done < self._done:
            self._began = now
        self._done = done
        if now - self._printed < LINE_SECONDS or done >= total:
            return
        self._printed = now
        left = f", {clock((now - self._began) / done * (total - done))} left" if done else ""
        note(f"{self._description}: {done}/{total}{left}")


def clock(seconds: float) -> str:
    """Return a time as h:mm:ss."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
