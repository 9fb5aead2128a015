import ast
import csv
import io
from pathlib import Path

import pytest

from sodkit.csv_text import csv_text

PACKAGE = Path(__file__).parents[1] / "sodkit"


@pytest.mark.parametrize(
    "text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1", "\r=1", "\n=1", "-", "--1"]
)
def test_a_formula_becomes_text(text: str) -> None:
    [row] = csv.reader(io.StringIO(csv_text([[text, 1]]), newline=""))
    assert row == [f"'{text}", "1"]


def test_numbers_and_other_text_stay() -> None:
    cells = [-1, -0.5, None, "-1", "+2.5e-3", "car, small", 'a "b"', "", "a=b", "aéroport"]
    [row] = csv.reader(io.StringIO(csv_text([cells])))
    assert row == ["" if cell is None else str(cell) for cell in cells]


def test_nothing_else_writes_csv() -> None:
    """Every table goes through ``csv_text``, so none can hold a formula."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in {"writer", "DictWriter"}:
                found.add(path.name)
    assert found == {"csv_text.py"}
