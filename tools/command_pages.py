"""Pages of the commands, from the functions behind them: their docstrings, arguments and options.

They are made from the signatures, not from the text of ``--help``, which changes with typer.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from typer.models import ArgumentInfo, OptionInfo

from sodkit.cli.main import COMMANDS

HEAD = "<!-- made by `make pages`: do not edit -->\n\n"
"""First line of every page that is made."""
_INDEX = (
    HEAD
    + """# Commands

{commands}
`sodkit --install-completion` sets up completion in your shell. `sodkit --debug COMMAND ...` shows
the traceback of an error. The result is on stdout, all else on stderr; `--json` prints one JSON
object with `schema_version`.

## Exit codes

{codes}
An error is one message: what is wrong, where, and what to do.
"""
)
_CODE = ("code", "meaning")
_CODES = (
    ("0", "done"),
    ("1", "failed while it ran: the disk is full, memory does not suffice"),
    ("2", "wrong usage: options, settings or paths that make no sense"),
    ("3", "bad data: annotations, images, predictions"),
    ("4", "a bad checkpoint or weights"),
    ("5", "an optional package is missing; the message names the extra"),
    ("130", "interrupted by Ctrl-C"),
    ("143", "ended by SIGTERM"),
)


def command_pages() -> dict[str, str]:
    """Return the text of each page by its path below ``docs``."""
    pages = {f"commands/{name}.md": _page(name, function) for name, function in COMMANDS}
    return {"commands/index.md": _index()} | pages


def _index() -> str:
    rows = [(f"[`{name}`]({name}.md)", _summary(function)) for name, function in COMMANDS]
    return _INDEX.format(commands=table(("command", "does"), rows), codes=table(_CODE, _CODES))


def _summary(function: Callable[..., Any]) -> str:
    return inspect.cleandoc(function.__doc__ or "").split("\n")[0]


def _page(name: str, function: Callable[..., Any]) -> str:
    parts = list(_parameters(function))
    arguments = [part for part in parts if isinstance(part[2], ArgumentInfo)]
    options = [_option(*part) for part in parts if isinstance(part[2], OptionInfo)]
    usage = " ".join(["sodkit", name, *(_argument(*part) for part in arguments), "[OPTIONS]"])
    meanings = [(f"`{_metavar(*part)}`", part[2].help or "") for part in arguments]
    return "\n".join(
        [
            f"{HEAD}# `sodkit {name}`\n\n{_text(function)}\n",
            f"```text\n{usage}\n```\n",
            *([table(("argument", "meaning"), meanings)] if meanings else []),
            "## Options\n",
            table(("option", "value", "default", "meaning"), options),
        ]
    )


def _text(function: Callable[..., Any]) -> str:
    """Return the docstring, its examples as code."""
    lines = inspect.cleandoc(function.__doc__ or "").split("\n")
    return "\n".join(
        f"Example:\n\n```\n{line.removeprefix('Example: ')}\n```"
        if line.startswith("Example: ")
        else line.replace("``", "`")
        for line in lines
    )


Parameter = tuple[inspect.Parameter, Any, Any]
"""A parameter of a command, its type without ``None``, and typer's ArgumentInfo or OptionInfo."""


def _parameters(function: Callable[..., Any]) -> Iterator[Parameter]:
    hints = get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        kind, info = get_args(hints[name])
        if not info.hidden:
            yield parameter, _without_none(kind), info


def _without_none(kind: Any) -> Any:
    kinds = [one for one in get_args(kind) if one is not NoneType]
    return kinds[0] if len(kinds) < len(get_args(kind)) else kind


def _argument(parameter: inspect.Parameter, kind: Any, info: ArgumentInfo) -> str:
    word = _metavar(parameter, kind, info) + ("..." if get_origin(kind) is list else "")
    return word if parameter.default is inspect.Parameter.empty else f"[{word}]"


def _metavar(parameter: inspect.Parameter, kind: Any, info: ArgumentInfo) -> str:
    return info.metavar or parameter.name.strip("_").upper()


def _option(parameter: inspect.Parameter, kind: Any, info: OptionInfo) -> tuple[str, ...]:
    name = parameter.name.strip("_").replace("_", "-")
    # Within Annotated, typer keeps the first name of an option where a default would stand.
    flags = [info.default] if isinstance(info.default, str) else []
    flags += info.param_decls or ()
    if not flags:
        flags = [f"--{name}", f"--no-{name}"] if kind is bool else [f"--{name}"]
    default = parameter.default
    if default is inspect.Parameter.empty:
        shown = "required"
    else:
        shown = "" if default is None or default is False else f"`{default}`"
    value = _value(kind, info)
    return ", ".join(f"`{flag}`" for flag in flags), value, shown, info.help or ""


def _value(kind: Any, info: OptionInfo) -> str:
    """Return what an option takes: its choices, or a type and its range; nothing for a flag."""
    if kind is bool:
        return ""
    if info.metavar:
        return f"`{info.metavar}`"
    if get_origin(kind) is list:
        (kind,) = get_args(kind)
    if get_origin(kind) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(kind))
    word = {"Path": "path", "str": "text", "int": "whole number", "float": "number"}[kind.__name__]
    bounds = [("from", info.min), ("to", info.max)]
    return " ".join([word, *(f"{sign} {bound}" for sign, bound in bounds if bound is not None)])


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown, with a line's end."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(
        "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in line) + " |\n"
        for line in lines
    )
