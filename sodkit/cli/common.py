"""What all commands share: consoles, tables, progress, and how an error ends the program.

stdout carries results only; progress, logs and errors go to stderr.
"""

from __future__ import annotations

import errno
import functools
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, ParamSpec, TypeVar

import typer

from sodkit.errors import SodkitError, UsageError

SCHEMA_VERSION = 1
INTERRUPTED = 130

P = ParamSpec("P")
R = TypeVar("R")
Report = Callable[[int, int], None]
"""Called with (done, total) as work goes on."""


def guarded(command: Callable[P, R], *, debug: bool) -> Callable[P, R]:
    """Wrap a command: errors of ours become a message and an exit code, Ctrl-C becomes 130.

    Args:
        command: the command's function.
        debug: let the traceback through instead.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
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


def _leave_broken_pipe() -> NoReturn:
    """End quietly when the reader of stdout has gone (``sodkit ... | head``)."""
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


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], *, left: int = 1
) -> None:
    """Print a table on stdout: ``left`` columns flush left, the others right; None is a dash.

    The title is a line of its own, never folded: it may hold a path that somebody copies.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index < left else "right", overflow="fold")
    for row in rows:
        table.add_row(*("-" if cell is None else str(cell) for cell in row))
    width = None if sys.stdout.isatty() else 160
    console = Console(width=width, highlight=False)
    console.print(title, style="bold", markup=False, soft_wrap=True)
    console.print(table)


def print_json(data: dict[str, Any]) -> None:
    """Print one JSON object with ``schema_version`` on stdout; NaN is not allowed in it."""
    print(json.dumps({"schema_version": SCHEMA_VERSION, **data}, indent=2, allow_nan=False))


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


@contextmanager
def progress(description: str) -> Iterator[Report]:
    """Show a bar with ETA on stderr while the block runs; nothing if stderr is no terminal.

    Yields:
        a function to call with (done, total).
    """
    if not sys.stderr.isatty():
        yield _silent
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=None)

        def report(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield report


def _silent(done: int, total: int) -> None:
    """Report to nobody."""
