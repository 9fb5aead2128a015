"""benchmarks/kill_resume.py with a handful of kills."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "kill_resume.py"


def test_killed_runs_end_as_the_whole_run(tmp_path: Path) -> None:
    """In a process of its own: runs are forked from it before it has used torch."""
    table = tmp_path / "kills.csv"
    command = [sys.executable, str(SCRIPT), "--kills", "3", "--seed", "1", "--csv", str(table)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = list(csv.DictReader(table.read_text("utf-8").splitlines()))
    assert [row["different"] for row in rows] == ["", "", ""]
    assert {row["cut_state"] for row in rows} <= {"", "refused"}
