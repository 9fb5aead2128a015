"""benchmarks/system_speed.py: a row a system, torchvision's ratio where it has the detector."""

from __future__ import annotations

import csv
import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "system_speed.py"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    spec = importlib.util.spec_from_file_location("system_speed", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_rows_are_kept_and_added(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "speed.csv"
    table.write_text(
        "# how\n" + ",".join(script.HEAD) + "\nretinanet-r50-soda-d,64,1,1.000,1.000,1.000,1.000\n"
    )
    names = ["retinanet-r50-soda-d", "rotated-faster-rcnn-r50-soda-a"]
    more = ["--size", "64", "--repeat", "1", "--objects", "3"]
    arguments = [str(SCRIPT), "--csv", str(table), *more, "--systems", *names]
    monkeypatch.setattr(sys, "argv", arguments)
    threads = torch.get_num_threads()
    script.main()
    torch.set_num_threads(threads)
    kept, added = csv.DictReader(table.read_text("utf-8").splitlines())
    assert list(kept.values())[3:] == ["1.000"] * 4
    assert added["system"] == "rotated-faster-rcnn-r50-soda-a"
    assert min(float(added[name]) for name in ("training_s", "inference_s")) > 0
    assert added["training_ratio"] == added["inference_ratio"] == ""


def test_a_side_that_torchvision_would_pad_is_refused(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(SCRIPT), "--csv", str(tmp_path / "speed.csv"), "--size", "400"]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit):
        script.main()
    assert "--size 400 is not a multiple of 32" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["retinanet-r50-soda-d", "faster-rcnn-r50-soda-d"])
def test_a_twin_has_as_many_parameters_but_for_levels_norms_and_classes(
    script: Any, name: str
) -> None:
    theirs = script.twin(name, 64)
    options = script.argparse.Namespace(recipe=name, exemplars=0)
    ours = script.model_speed.our_network(options)
    counts = [sum(p.numel() for p in m.parameters() if p.requires_grad) for m in (theirs, ours)]
    assert counts[0] == pytest.approx(counts[1], rel=0.12)


def test_there_is_no_twin_of_others(script: Any) -> None:
    assert script.twin("cfinet-r50-soda-d", 64) is None
