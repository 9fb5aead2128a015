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
        "explained",
        "files",
        "json_columns",
        "json_text",
        "lock",
        "names",
        "outputs",
        "private_file",
        "settings",
        "shares",
        "table_text",
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


def test_detectors_are_there_without_scipy() -> None:
    code = "import sodkit.models.zoo, sys; sys.exit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_two_modules_share_a_name() -> None:
    """But for ``cli/`` and ``settings/``: named as the command or the detector they are of."""
    names = [path.name for path in MODULES if path.parent.name not in ("cli", "settings")]
    twice = {n for n in names if names.count(n) > 1} - {"__init__.py"}
    assert not twice


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_when_loaded(path: Path, known: set[str]) -> set[str]:
    """Return the modules of ours that loading ``path`` loads first, packages around them too."""
    module, found = module_of(path), set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{a.name}" for a in node.names)} & known
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & known
    around = {p for name in found for p in known if name.startswith(f"{p}.")}
    return {name for name in found | around if not f"{module}.".startswith(f"{name}.")}


def first_circle(graph: dict[str, set[str]]) -> list[str]:
    """Return the names along a circle, else none."""
    done: set[str] = set()

    def walk(name: str, way: list[str]) -> list[str]:
        if name in way:
            return way[way.index(name) :]
        if name in done:
            return []
        for other in sorted(graph[name]):
            if circle := walk(other, [*way, name]):
                return circle
        done.add(name)
        return []

    return next((circle for name in sorted(graph) if (circle := walk(name, []))), [])


def test_any_module_can_be_the_first_that_is_imported() -> None:
    known = {module_of(path) for path in MODULES}
    graph = {module_of(path): imports_when_loaded(path, known) for path in MODULES}
    assert sum(map(len, graph.values())) > 500
    assert first_circle(graph) == []


def test_a_circle_is_found() -> None:
    assert first_circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["b", "c"]
    assert first_circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
