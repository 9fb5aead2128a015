"""The program ``sodkit``: gathers the commands; each one's module is thin and imports late."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import typer

from sodkit._version import __version__
from sodkit.cli.analyze_anchors import analyze_anchors
from sodkit.cli.analyze_proposals import analyze_proposals
from sodkit.cli.check import check
from sodkit.cli.common import guarded
from sodkit.cli.convert import convert
from sodkit.cli.decoders import decoders_quiet
from sodkit.cli.demo import demo
from sodkit.cli.env import env
from sodkit.cli.eval import evaluate
from sodkit.cli.export import export
from sodkit.cli.import_weights import import_weights
from sodkit.cli.predict import predict
from sodkit.cli.recipes import recipes
from sodkit.cli.split import split
from sodkit.cli.together import is_one_of_many, run_together
from sodkit.cli.train import train
from sodkit.cli.visualize import visualize

COMMANDS: tuple[tuple[str, Callable[..., Any]], ...] = (
    ("split", split),
    ("train", train),
    ("predict", predict),
    ("eval", evaluate),
    ("visualize", visualize),
    ("analyze-anchors", analyze_anchors),
    ("analyze-proposals", analyze_proposals),
    ("import-weights", import_weights),
    ("export", export),
    ("convert", convert),
    ("check", check),
    ("recipes", recipes),
    ("env", env),
    ("demo", demo),
)


def make_app(begin: Callable[[], None] = lambda: None, *, debug: bool = False) -> typer.Typer:
    """Build the command line.

    Args:
        begin: called when a command begins, after its options are read.
        debug: show tracebacks of errors that otherwise end in one message.
    """
    app = typer.Typer(
        name="sodkit",
        help="Small object detection: split, train, predict, evaluate, look.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for name, command in COMMANDS:
        app.command(name, no_args_is_help=name not in {"recipes", "env", "demo"})(
            guarded(command, debug=debug, begin=begin)
        )
    return app


def _show_version(value: bool) -> None:
    if value:
        print(f"sodkit {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks (anywhere on the line).")
    ] = False,
) -> None:
    """Small object detection: split, train, predict, evaluate, look."""


def main() -> None:
    """Run the command line on ``sys.argv``; ``--debug`` may stand anywhere."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    make = partial(make_app, debug=len(arguments) < len(sys.argv) - 1)
    with decoders_quiet():
        if is_one_of_many(os.environ):
            run_together(make, arguments, first=os.environ.get("RANK") == "0")
        else:
            make()(arguments, prog_name="sodkit")
