from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import sodkit


@pytest.mark.parametrize("name", sorted({*sodkit.__all__} - {"__version__", "BoxKind"}))
def test_public_names_are_there_and_say_what_they_are(name: str) -> None:
    thing = getattr(sodkit, name)
    assert thing.__doc__
    assert name in dir(sodkit)


def test_all_is_what_the_stub_names() -> None:
    """Python's own parser reads the stub: each name once, sorted, under its own name."""
    stub = Path(sodkit.__file__).with_suffix(".pyi").read_text("utf-8")
    found = []
    for node in ast.parse(stub).body:
        assert isinstance(node, ast.ImportFrom)
        [alias] = node.names
        assert alias.name == alias.asname
        found.append(alias.name)
        module = importlib.import_module(node.module or "")
        assert getattr(sodkit, alias.name) is getattr(module, alias.name)
    assert sorted(found) == sodkit.__all__ == dir(sodkit)
    assert len(set(found)) == len(found)


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        sodkit.nothing  # noqa: B018


def test_python_m_sodkit_and_version() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sodkit", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"sodkit {sodkit.__version__}\n"


def test_debug_may_stand_anywhere() -> None:
    command = [sys.executable, "-m", "sodkit", "eval", "no.json", "no.json"]
    plain = subprocess.run(command, capture_output=True, text=True, check=False)
    assert plain.returncode == 3
    assert "Traceback" not in plain.stderr
    loud = subprocess.run([*command, "--debug"], capture_output=True, text=True, check=False)
    assert "Traceback" in loud.stderr


FUNCTIONS = sorted(n for n in sodkit.__all__ if inspect.isfunction(getattr(sodkit, n)))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_paths_may_be_text(name: str) -> None:
    found = inspect.signature(getattr(sodkit, name)).parameters.values()
    notes = [str(p.annotation).replace("StrPath", "").replace("DataPaths", "") for p in found]
    assert not [note for note in notes if "Path" in note]


@pytest.mark.parametrize("plan", [sodkit.RunPlan, sodkit.DemoPlan, sodkit.DataPaths])
def test_paths_of_plans_may_be_text(plan: type) -> None:
    types = {field.name: str(field.type) for field in dataclasses.fields(plan)}
    assert not [
        name for name, note in types.items() if note.startswith("Path") and "str" not in note
    ]


def test_text_paths_are_read_and_written(tmp_path: Path) -> None:
    data, out = str(tmp_path / "data"), str(tmp_path / "found.json")
    file = sodkit.make_dataset(data, images=1, seed=0, width=256, height=200)
    own = sodkit.read_annotations(str(file))
    patches = str(tmp_path / "patches")
    sodkit.split_dataset(own, data, patches, sodkit.SplitSettings(size=128, stride=128))
    assert sodkit.check_dataset(patches).count("error") == 0
    found = sodkit.Detections(
        np.array([own.images[0].id]), np.array([0]), np.array([0.5]), np.array([[1.0, 2, 9, 8]])
    )
    sodkit.write_predictions(out, found, own.categories)
    assert len(sodkit.read_predictions(out, own)) == 1
