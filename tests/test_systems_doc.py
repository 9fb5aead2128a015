"""docs/systems.md: every built-in recipe has its row, with files that exist and whole figures."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sodkit.config import builtin_names, load_recipe

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "systems.md").read_text("utf-8")
TABLE = TEXT.split("\n## ")[0]
OF_THE_DEMO = {"cfinet-r18-demo", "cfinet-r18-demo-oriented"}
NUMBERS = {"1": 7, "2": 7, "3": 7, "4": 5}


def rows() -> dict[str, list[str]]:
    """Return the other cells of each recipe's row."""
    found = {}
    for line in TABLE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and (recipe := re.fullmatch(r"`([\w-]+)`", cells[0])):
            assert recipe[1] not in found
            found[recipe[1]] = cells[1:]
    return found


ROWS = rows()


def test_every_recipe_is_in_it() -> None:
    assert sorted([*ROWS, *OF_THE_DEMO]) == builtin_names()
    assert all(f"`{name}`" in TABLE for name in OF_THE_DEMO)


@pytest.mark.parametrize("name", ROWS)
def test_a_row_is_whole(name: str) -> None:
    system, figures, parts, parity, differs = ROWS[name]
    assert all((system, parts, differs))
    tables = re.findall(r"(\d)(?: \([\w-]+\))?: ((?:\d+\.\d ?)+)", figures)
    assert tables or figures == "none of its own"
    for table, numbers in tables:
        assert len(numbers.split()) == NUMBERS[table]
        assert table != "3" or load_recipe(name).boxes == "oriented"
    files = re.findall(r"`(tests/[\w/]+\.py)`", parity)
    assert files or parity == "the same" or parity.startswith(("not shown: ", "as "))
    assert all((ROOT / file).is_file() for file in files)
    for file in re.findall(r"`([\w/]+\.py)`", parts):
        assert (ROOT / "sodkit" / "models" / file).is_file()
    for file in re.findall(r"docs/[\w-]+\.md", differs):
        assert (ROOT / file).is_file()


@pytest.mark.parametrize("name", ROWS)
def test_settings_that_a_row_names_exist(name: str) -> None:
    data = load_recipe(name).model_dump(mode="json")
    for path in re.findall(r"`(model\.[\w.]+)`", " ".join(ROWS[name])):
        value = data
        for key in path.split("."):
            assert key in value, f"{name}: {path}"
            value = value[key]
