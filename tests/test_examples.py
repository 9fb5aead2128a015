"""The examples run, on less data."""

import importlib
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "examples"


@pytest.mark.parametrize(
    ("name", "make"),
    [("torchvision_detector", "faster_rcnn"), ("transformers_detector", "rt_detr")],
)
def test_a_detector_of_another_library(
    name: str, make: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(name.partition("_")[0])
    monkeypatch.syspath_prepend(FOLDER)
    maker = getattr(importlib.import_module(name), make)
    run = importlib.import_module("torchvision_detector").run
    metrics = run(maker, tmp_path, images=1, epochs=1, width=400)
    assert "AP_eS" in metrics
    assert (tmp_path / "found.json").is_file()
    assert (tmp_path / "run" / "checkpoints" / "last.safetensors").is_file()
