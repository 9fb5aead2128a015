"""The house rules that a machine can check: imports point to the left, files stay small."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "sodkit"
LAYERS = (
    {
        "_version",
        "arrays",
        "compiled",
        "config",
        "csv_text",
        "errors",
        "files",
        "json_columns",
        "json_text",
        "lock",
        "names",
        "outputs",
        "private_file",
        "settings",
        "shares",
        "threads",
        "yaml_text",
    },
    {"geometry"},
    {"data"},
    {"synthetic"},
    {"tiling"},
    {"models"},
    {"engine", "evaluation", "analysis"},
    {"viz"},
    {"demo"},
    {"cli"},
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
MODULES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        rooms |= {n.split(".")[1] for n in names if n.startswith("sodkit.")}
    return rooms


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_to_the_left(path: Path) -> None:
    room = room_of(path)
    if room in {"__init__", "__main__"}:
        return
    wrong = [r for r in imported_rooms(path) if RANK[r] > RANK[room]]
    assert not wrong, f"{path} imports {wrong}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.count("\n") <= 450
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 80, f"{path}:{node.lineno} {node.name}"


@pytest.mark.parametrize(
    "module",
    [
        "sodkit",
        "sodkit.cli.main",
        "sodkit.evaluation.evaluate",
        "sodkit.data.formats",
        "sodkit.tiling.split_dataset",
        "sodkit.viz.report",
        "sodkit.viz.dataset_pictures",
        "sodkit.analysis.anchor_study",
    ],
)
def test_starts_without_torch(module: str) -> None:
    code = f"import {module}, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_two_modules_share_a_name() -> None:
    """But for ``cli/`` and ``settings/``: named as the command or the detector they are of."""
    names = [path.name for path in MODULES if path.parent.name not in ("cli", "settings")]
    twice = {n for n in names if names.count(n) > 1} - {"__init__.py"}
    assert not twice
