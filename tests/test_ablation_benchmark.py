"""benchmarks/ablation.py in its smallest form: it runs, goes on where it was, and refuses a mix."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run(out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "benchmarks/ablation.py", "--smoke", "--threads", "1"]
    return subprocess.run(
        [*command, "--out", str(out), "--variants", "baseline", "cfinet", *more],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_smoke_and_resume(tmp_path: Path) -> None:
    first = run(tmp_path)
    assert first.returncode == 0, first.stderr
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
    again = run(tmp_path)
    assert again.returncode == 0, again.stderr
    assert weights.stat().st_mtime_ns == written
    other = run(tmp_path, "--set", "schedule.lr=0.1")
    assert other.returncode == 1
    assert "other settings" in other.stderr
