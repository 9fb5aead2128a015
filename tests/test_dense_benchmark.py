"""benchmarks/dense.py: rows that are there are kept, and a lack of memory is a row."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "dense.py"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    spec = importlib.util.spec_from_file_location("dense", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module.resource, "setrlimit", lambda which, most: None)
    threads = torch.get_num_threads()
    yield module
    torch.set_num_threads(threads)


def test_rows_are_kept_and_added(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "dense.csv"
    row = "train,fcos-r50-soda-d,1,64,10,1.5,2.000,3.0"
    table.write_text("# how\n" + ",".join(script.HEAD) + f"\n{row}\n")
    arguments = ["--out", str(table), "--size", "64", "--objects", "10", "30"]
    wanted = ["--stages", "train", "evaluate", "--recipes", "fcos-r50-soda-d", "dhrec-r50-soda-a"]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *arguments, *wanted])
    measured = []

    def apart(case: Any, limit: float) -> list[str]:
        measured.append((case.stage, case.recipe, case.count))
        return script._cells(case) if case.stage == "evaluate" else ["more than 1 GB", "", ""]

    monkeypatch.setattr(script, "_apart", apart)
    script.main()
    assert measured == [
        ("train", "fcos-r50-soda-d", 30), ("train", "dhrec-r50-soda-a", 10),
        ("train", "dhrec-r50-soda-a", 30), ("evaluate", "", 10), ("evaluate", "", 30),
    ]  # fmt: skip
    comments, rows = script._read(table)
    assert comments == ["# how"]
    assert len(rows) == 6
    assert rows["train", "fcos-r50-soda-d", "1", "64", "10"] == ["1.5", "2.000", "3.0"]
    precision, seconds, _ = rows["evaluate", "", "1", "64", "30"]
    assert 0 < float(precision) <= 1
    assert float(seconds) > 0
    shown = capsys.readouterr().out
    line = "| train | fcos-r50-soda-d | 1 | 64 | 10: 2.000 s, 3.0 MB; 30: more than 1 GB |"
    assert line in shown


def failing(error: Exception) -> Callable[[object], object]:
    def stage(case: object) -> object:
        raise error

    return stage


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("you can't allocate memory here")])
def test_a_lack_of_memory_is_said(
    script: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    case = script.Case("train", "fcos-r50-soda-d", 1, 64, 10)
    monkeypatch.setitem(script.STAGES, "train", failing(error))
    assert script._measure(case, 2.5) == ["more than 2.5 GB", "", ""]
    monkeypatch.setitem(script.STAGES, "train", failing(RuntimeError("a fault")))
    with pytest.raises(RuntimeError, match="a fault"):
        script._measure(case, 2.5)
