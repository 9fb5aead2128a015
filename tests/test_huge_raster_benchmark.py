"""The benchmark of large rasters on a small one: it predicts, merges and writes."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "huge_raster.py"


def test_it_measures_a_prediction(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio", reason="the extra geo is not installed")
    spec = importlib.util.spec_from_file_location(SCRIPT.stem, SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.make_raster(tmp_path / "scene.tif", 700)
    with rasterio.open(tmp_path / "scene.tif") as file:
        assert (file.width, file.height, file.block_shapes[0]) == (700, 700, (512, 512))
    row = module.measure(tmp_path, 700, "oriented", 5, 1)
    found = json.loads((tmp_path / "found.json").read_text())
    assert row["kept"] == len(found) > 0
    assert row["MB at the start"] <= row["MB at the end"]
