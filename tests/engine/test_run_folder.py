from __future__ import annotations

from pathlib import Path

import pytest

from sodkit.engine.run_folder import (
    STATE,
    check_run_folder,
    checkpoint_in,
    checkpoints_in,
    clear_run,
    remove_leftovers,
)
from sodkit.errors import ModelError, UsageError
from sodkit.files import temporary_name
from sodkit.lock import LOCK


def make_run(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def test_a_run_stands_for_its_best_checkpoint_else_the_last(tmp_path: Path) -> None:
    run = make_run(tmp_path, "checkpoints/last.safetensors", "checkpoints/state.safetensors")
    last = tmp_path / "checkpoints/last.safetensors"
    assert checkpoint_in(run) == checkpoint_in(run / "checkpoints") == checkpoint_in(last) == last
    make_run(tmp_path, "checkpoints/best.safetensors")
    assert checkpoint_in(run).name == checkpoint_in(run / "checkpoints").name == "best.safetensors"
    assert checkpoint_in(last) == last
    with pytest.raises(ModelError, match="no checkpoint in this folder"):
        checkpoint_in(make_run(tmp_path / "other", "run.json"))
    assert checkpoint_in(tmp_path / "absent") == tmp_path / "absent"


def test_a_run_that_keeps_epochs_stands_for_these(tmp_path: Path) -> None:
    run = make_run(tmp_path, "checkpoints/last.safetensors", "checkpoints/epoch-mine.safetensors")
    last = run / "checkpoints/last.safetensors"
    assert checkpoints_in(run) == checkpoints_in(last) == {last: None}
    make_run(run, "checkpoints/epoch-10000.safetensors", "checkpoints/epoch-0002.safetensors")
    assert list(checkpoints_in(run).values()) == [2, 10000]
    assert checkpoint_in(run) == last


def test_where_a_new_run_may_go(tmp_path: Path) -> None:
    new = tmp_path / "new"
    killed = make_run(tmp_path / "killed", "run.json", "recipe.yaml", "losses.csv", LOCK)
    only_lock = make_run(tmp_path / "lock", LOCK)
    done = make_run(tmp_path / "done", "run.json", str(STATE))
    other = make_run(tmp_path / "other", "photo.jpg")
    for run in (new, killed, only_lock):
        check_run_folder(run, overwrite=False)
    for run in (new, killed, only_lock, done):
        check_run_folder(run, overwrite=True)
    with pytest.raises(UsageError, match="--overwrite to replace it, or continue it with --resume"):
        check_run_folder(done, overwrite=False)
    with pytest.raises(UsageError, match="exists already"):
        check_run_folder(other, overwrite=False)
    with pytest.raises(UsageError, match="holds no run"):
        check_run_folder(other, overwrite=True)


def test_only_what_training_wrote_is_cleared(tmp_path: Path) -> None:
    mine = ["notes.txt", "checkpoints/mine.pt", "tensorboard/x.json", "pictures/run.json"]
    own = [
        "run.json", "recipe.yaml", "losses.csv", "metrics.csv", "checkpoints/best.safetensors",
        "checkpoints/last.safetensors", str(STATE), "tensorboard/events.out.tfevents.1.host.2.0",
    ]  # fmt: skip
    clear_run(make_run(tmp_path, *own, *mine))
    left = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert left == set(mine)


def test_half_written_files_of_killed_runs_are_removed(tmp_path: Path) -> None:
    """Ours, and those that safetensors writes to first."""
    ours = temporary_name()
    left = [f"{ours}.yaml", f"checkpoints/{ours}.safetensors", "checkpoints/.tmp98R4oi"]
    mine = [".tmp98R4oi", "checkpoints/.tmp", str(STATE), "notes/.tmp98R4oi", f"notes/{ours}"]
    remove_leftovers(make_run(tmp_path, *left, *mine))
    found = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert found == set(mine)
