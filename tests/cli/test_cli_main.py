"""The commands together: options with a few choices list them, and refuse all else."""

from __future__ import annotations

import re
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from typer.testing import CliRunner

from sodkit.cli.main import COMMANDS, make_app
from sodkit.data.formats import WRITTEN
from sodkit.data.formats.reading import ANGLE_UNITS
from sodkit.data.predictions.columns import CategoryIds
from sodkit.data.predictions.geo_features import System
from sodkit.evaluation.protocol import PROTOCOLS
from sodkit.settings import MergeMethod
from sodkit.tiling.settings import PROFILES


def choices(hint: Any) -> tuple[str, ...]:
    """Return the strings that an option's type allows, none if it is no ``Literal``."""
    kinds = [one for one in (hint, *get_args(hint)) if "Literal" in str(get_origin(one))]
    return get_args(kinds[0]) if kinds else ()


CHOICES = {
    (name, option): choices(hint)
    for name, command in COMMANDS
    for option, hint in get_type_hints(command).items()
    if choices(hint)
}


@pytest.mark.parametrize(("command", "option"), CHOICES)
def test_choices_are_listed_and_all_else_is_refused(command: str, option: str) -> None:
    flag = "--" + option.replace("_", "-")
    wide = {"COLUMNS": "200"}
    text = CliRunner().invoke(make_app(), [command, "--help"], env=wide).stdout
    assert re.search(rf"{flag} +<{re.escape('|'.join(CHOICES[command, option]))}>", text)
    result = CliRunner().invoke(make_app(), [command, "x", flag, "neither"], env=wide)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert flag in result.stderr
    assert all(f"'{choice}'" in result.stderr for choice in CHOICES[command, option])


def test_choices_are_what_the_package_knows() -> None:
    assert len(CHOICES) == 42
    assert CHOICES["predict", "merge"] == get_args(MergeMethod)
    assert CHOICES["predict", "crs"] == get_args(System)
    assert CHOICES["convert", "to"] == WRITTEN
    assert CHOICES["eval", "protocol"] == tuple(PROTOCOLS)
    for command in ("eval", "visualize"):
        assert CHOICES[command, "predictions_angle"] == tuple(ANGLE_UNITS)
        assert CHOICES[command, "category_ids"] == get_args(CategoryIds)
    assert CHOICES["split", "profile"] == tuple(PROFILES)
