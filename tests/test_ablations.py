"""docs/ablations.md: each row's settings apply to its recipe and say what the row says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from sodkit.config import builtin_names, load_recipe
from sodkit.settings import Recipe
from sodkit.settings.proposers import Region

DOC = Path(__file__).parents[1] / "docs" / "ablations.md"
ROWS_OF_TABLE = {1: 4, 5: 4, 6: 3, 7: 3, 8: 4, 9: 4}


@dataclass(frozen=True)
class Row:
    table: int
    name: str
    recipe: str
    settings: tuple[str, ...]
    values: tuple[float, ...]

    def load(self) -> Recipe:
        return load_recipe(self.recipe, self.settings)


def _rows() -> list[Row]:
    rows, table = [], 0
    for line in DOC.read_text("utf-8").splitlines():
        if heading := re.match(r"## Table (\d+)", line):
            table = int(heading[1])
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and (recipe := re.fullmatch(r"`([\w-]+)`", cells[1])):
            settings = tuple(re.findall(r"`--set ([^`]+)`", cells[2]))
            rows.append(
                Row(table, cells[0], recipe[1], settings, tuple(float(v) for v in cells[3:]))
            )
    return rows


ROWS = _rows()


def test_every_row_of_the_tables_is_there() -> None:
    assert {t: sum(r.table == t for r in ROWS) for t in ROWS_OF_TABLE} == ROWS_OF_TABLE
    assert len(ROWS) == sum(ROWS_OF_TABLE.values())


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.table}-{r.name}")
def test_settings_apply(row: Row) -> None:
    assert len(row.settings) <= 2
    assert row.recipe in builtin_names()
    model = row.load().model
    numbers = [float(n) for n in re.findall(r"\d\.\d+", row.name)]
    if row.table == 1 and numbers:
        region = model.proposals.assignment
        assert isinstance(region, Region)
        assert [region.positive, region.ignored] == numbers
    if row.table == 5 or row.name == "baseline":
        want = (row.name.startswith("CRPN"), row.name.endswith("FI"))
        assert (model.kind == "cfinet", model.imitation is not None) == want
    if row.table == 6:
        assert model.imitation is None
        if numbers:
            threshold = model.crpn.assignment
            assert [threshold.base, threshold.gamma, threshold.floor] == [*numbers, 0.0, 0.0]
    if row.table == 7:
        assert [model.imitation.weight] == numbers
    if row.table == 8:
        assert [model.imitation.high_quality] == numbers
    if row.table == 9:
        assert [model.imitation.temperature] == numbers
    assert len(row.values) == (7 if row.table == 1 else 4)


@pytest.mark.parametrize(
    ("table", "name"), [(5, "CRPN and FI"), (7, "0.50"), (8, "0.65"), (9, "0.60")]
)
def test_the_papers_choice_is_the_default(table: int, name: str) -> None:
    (row,) = [r for r in ROWS if (r.table, r.name) == (table, name)]
    assert row.load() == load_recipe("cfinet-r50-soda-d")
    assert row.values == (30.7, 14.7, 27.8, 36.4)


def test_the_rpn_of_table_4() -> None:
    theirs, ours = load_recipe("faster-rcnn-r50-soda-d"), load_recipe("rpn05-r50-soda-d")
    changed = {"model": theirs.model.model_copy(update={"proposals": ours.model.proposals})}
    names = {"name": ours.name, "description": ours.description}
    assert theirs.model_copy(update=changed | names) == ours
    assert (theirs.model.proposals.matching.positive, ours.model.proposals.matching.positive) == (
        0.7,
        0.5,
    )
