"""benchmarks/ablation.py in its smallest form: it runs, goes on where it was, and refuses a mix."""

from __future__ import annotations

import csv
import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "ablation.py"


def run(monkeypatch: pytest.MonkeyPatch, out: Path, *more: str) -> None:
    """Run the script in this process: starting torch again would take longer than the rest."""
    spec = importlib.util.spec_from_file_location("ablation", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    spec.loader.exec_module(module)
    arguments = ["--smoke", "--threads", "1", "--out", str(out), "--variants", "baseline", "cfinet"]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *arguments, *more])
    module.main()


def test_smoke_and_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, tmp_path)
    table = (tmp_path / "ablation.csv").read_text("utf-8")
    rows = list(csv.DictReader(table.splitlines()))
    assert [(r["variant"], r["seed"]) for r in rows] == [
        ("baseline", "0"), ("cfinet", "0"),
        ("baseline", "mean"), ("cfinet", "mean"),
        ("baseline", "spread"), ("cfinet", "spread"),
    ]  # fmt: skip
    assert 0 <= float(rows[0]["AR@300"]) <= 1
    assert rows[2]["AP50"] == rows[0]["AP50"]
    assert rows[4]["AP50"] == ""  # one seed has no spread
    # measured, not trained: a run that was stopped after training
    weights = tmp_path / "runs" / "cfinet-0" / "checkpoints" / "last.safetensors"
    written = weights.stat().st_mtime_ns
    (tmp_path / "runs" / "cfinet-0" / "ablation.json").unlink()
    run(monkeypatch, tmp_path)
    assert weights.stat().st_mtime_ns == written
    with pytest.raises(SystemExit, match="other settings"):
        run(monkeypatch, tmp_path, "--set", "schedule.lr=0.1")
