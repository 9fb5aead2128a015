"""The examples run, on less data."""

import importlib.util
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).parents[1] / "examples"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_detector_of_torchvision(tmp_path: Path) -> None:
    metrics = load("own_detector").run(tmp_path, images=1, epochs=1, width=400)
    assert "AP_eS" in metrics
    assert (tmp_path / "found.json").is_file()
    assert (tmp_path / "run" / "checkpoints" / "last.safetensors").is_file()
