"""The benchmark of large rasters on a small one: it predicts, merges and writes."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "huge_raster.py"


def test_it_measures_a_prediction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rasterio = pytest.importorskip("rasterio", reason="the extra geo is not installed")
    spec = importlib.util.spec_from_file_location(SCRIPT.stem, SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # where dataclasses look names up
    spec.loader.exec_module(module)
    module.make_raster(tmp_path / "scene.tif", 700)
    with rasterio.open(tmp_path / "scene.tif") as file:
        assert (file.width, file.height, file.block_shapes[0]) == (700, 700, (512, 512))
    case = module.Case(tmp_path, 700, "cfinet-r50-soda-a", 5, 1)
    row = module.measure(case)
    found = json.loads((tmp_path / "found.json").read_text())
    assert row["kept"] == len(found) > 0
    assert row["MB at the start"] <= row["MB at the end"]
    # a detector that computes, too
    thin = ("model.width=0.125", "input.patch=320", "input.stride=280", "input.scale=0.5")
    row = module.measure(module.Case(tmp_path, 700, "yolox-s-soda-d", 7, 2), thin)
    found = json.loads((tmp_path / "found.json").read_text())
    assert row["kept"] == len(found) > 7
    assert row["detector"].startswith("yolox-s-soda-d model.width=0.125")
