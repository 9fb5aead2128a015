"""The command line in the processes that ``torchrun`` starts: one of them speaks for all."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence

import typer

from sodkit.cli.common import print_error
from sodkit.errors import UsageError

COMMANDS = ("train", "predict")
"""What several processes can do together."""


def is_one_of_many(variables: Mapping[str, str]) -> bool:
    """Return whether ``torchrun``'s variables say that there are other processes."""
    return variables.get("WORLD_SIZE", "1") != "1"


def run_together(
    make_app: Callable[[Callable[[], None]], typer.Typer], arguments: Sequence[str], *, first: bool
) -> None:
    """Run the command line as one of several processes, which all get the same arguments.

    Results, help and wrong usage are printed by the first one.

    Args:
        make_app: makes the command line; is given what is called when a command begins.
        arguments: of the command line.
        first: this is the first process.
    """
    command = next((one for one in arguments if not one.startswith("-")), None)
    if command is not None and command not in COMMANDS:
        if first:
            print_error(
                UsageError(
                    f"sodkit {command} runs in one process",
                    hint=f"leave torchrun away: it is for {' and '.join(COMMANDS)}",
                )
            )
        sys.exit(UsageError.exit_code)
    if first:
        make_app(lambda: None)(list(arguments), prog_name="sodkit")
        return
    errors = sys.stderr

    def begin() -> None:
        sys.stderr = errors  # what goes wrong in this process only is its own to say

    with open(os.devnull, "w") as nowhere:
        sys.stdout = sys.stderr = nowhere
        make_app(begin)(list(arguments), prog_name="sodkit")
