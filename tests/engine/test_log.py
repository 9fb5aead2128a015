"""Logs of a run: appended, cut when it is resumed, and whole after whatever killed it."""

import csv
import threading
from pathlib import Path

import pytest

from sodkit.engine.log import RunLog
from sodkit.errors import SodkitError


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with RunLog(tmp_path) as log:
        for epoch in (1, 2, 3):
            log.step({"epoch": epoch, "step": epoch * 2, "loss": 0.5})
            log.epoch({"epoch": epoch, "step": epoch * 2, "loss": 0.25, "AP": None})
    return tmp_path


def test_resuming_drops_what_comes_again(folder: Path) -> None:
    with RunLog(folder, steps=4, epochs=2) as log:
        assert [row["epoch"] for row in read(folder / "losses.csv")] == ["1", "2"]
        log.epoch({"epoch": 3, "step": 6, "loss": 0.125, "AP": 0.5})
    assert [(r["epoch"], r["AP"]) for r in read(folder / "metrics.csv")] == [
        ("1", ""), ("2", ""), ("3", "0.5")
    ]  # fmt: skip


def test_another_recipe_gets_its_own_header(folder: Path) -> None:
    with RunLog(folder) as log:
        log.step({"epoch": 1, "step": 1, "loss_rpn_cls": 5.0, "loss": 6.0})
    assert read(folder / "losses.csv") == [
        {"epoch": "1", "step": "1", "loss_rpn_cls": "5.0", "loss": "6.0"}
    ]


@pytest.mark.parametrize(
    "torn",
    [
        b"1", b"1,7", b"12,24,0.", b"\0\0\0\0", b"3,6,0.5\0\0\r\n", b"x,y,z\r\n",
        b"9" * 5000 + b",6,0.5\r\n", b"3,6," + b"5" * 200_000 + b"\r\n",
    ],
    ids=lambda torn: torn[:12],
)  # fmt: skip
def test_half_a_row_is_dropped(folder: Path, torn: bytes) -> None:
    path = folder / "losses.csv"
    path.write_bytes(path.read_bytes() + torn)
    with RunLog(folder, steps=4, epochs=2) as log:
        log.step({"epoch": 3, "step": 6, "loss": 0.75})
    assert [row["step"] for row in read(path)] == ["2", "4", "6"]
    assert read(path)[-1]["loss"] == "0.75"


def test_an_empty_file_gets_its_header(tmp_path: Path) -> None:
    (tmp_path / "losses.csv").touch()
    with RunLog(tmp_path) as log:
        log.step({"epoch": 1, "step": 1, "loss": 1.0})
    assert read(tmp_path / "losses.csv")[0]["loss"] == "1.0"


def test_no_thread_is_left_behind(tmp_path: Path) -> None:
    before = threading.active_count()
    with RunLog(tmp_path) as log:
        log.step({"epoch": 1, "step": 1, "loss": 1.0})
    assert threading.active_count() == before


def test_a_row_with_a_new_key_widens_the_table(folder: Path) -> None:
    """A run resumed with other settings has other columns: no number stands under a wrong one."""
    with RunLog(folder, steps=6, epochs=3) as log:
        log.epoch({"epoch": 4, "loss": 0.5, "step": 8, "AP_eS": 0.25})
        log.epoch({"epoch": 5, "step": 10, "AP": 0.125})
    rows = read(folder / "metrics.csv")
    assert list(rows[0]) == ["epoch", "step", "loss", "AP", "AP_eS"]
    assert [(r["step"], r["loss"], r["AP"], r["AP_eS"]) for r in rows[2:]] == [
        ("6", "0.25", "", ""), ("8", "0.5", "", "0.25"), ("10", "", "0.125", "")
    ]  # fmt: skip


def test_an_epoch_that_is_validated_again_is_logged_once(folder: Path) -> None:
    with RunLog(folder, steps=6, epochs=2) as log:
        log.epoch({"epoch": 3, "step": 6, "loss": 0.25, "AP": 0.5})
    assert [row["epoch"] for row in read(folder / "losses.csv")] == ["1", "2", "3"]
    assert [(r["epoch"], r["AP"]) for r in read(folder / "metrics.csv")] == [
        ("1", ""), ("2", ""), ("3", "0.5")
    ]  # fmt: skip


def test_seconds_are_kept_apart(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        log.epoch({"epoch": 1, "step": 2, "loss": 0.25, "seconds": 1.5})
    with RunLog(tmp_path, steps=2, epochs=1) as log:
        log.epoch({"epoch": 2, "step": 4, "loss": 0.125, "seconds": 2.5})
    assert [list(row.values()) for row in read(tmp_path / "metrics.csv")] == [
        ["1", "2", "0.25"], ["2", "4", "0.125"]
    ]  # fmt: skip
    assert [row["seconds"] for row in read(tmp_path / "times.csv")] == ["1.5", "2.5"]


def test_rows_are_cut_within_an_epoch(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        for step in (1, 2, 3):
            log.step({"epoch": 1, "step": step, "loss": 0.5})
    with RunLog(tmp_path, steps=2):
        pass
    assert [row["step"] for row in read(tmp_path / "losses.csv")] == ["1", "2"]


def test_a_full_disk_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "losses.csv").symlink_to("/dev/full")
    with RunLog(tmp_path) as log, pytest.raises(SodkitError) as caught:
        log.step({"epoch": 1, "step": 1, "loss": 0.5})
    assert caught.value.where == str(tmp_path / "losses.csv")
