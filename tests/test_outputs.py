"""What --overwrite may replace, and what it never touches."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from holding import holding

from sodkit.errors import UsageError
from sodkit.files import temporary_name
from sodkit.lock import LOCK
from sodkit.outputs import (
    MARK,
    check_file,
    check_not_read,
    fill_file,
    fill_folder,
    is_free,
    remove_files,
    stage_folder,
)


def fill(folder: Path, names: list[str], *, command: str = "draw", overwrite: bool = False) -> None:
    with fill_folder(folder, command, names, overwrite=overwrite):
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(command)


def stage(folder: Path, names: list[str], *, overwrite: bool = False) -> None:
    with stage_folder(folder, "convert", overwrite=overwrite) as place:
        for name in names:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text("new")


def files(folder: Path) -> set[str]:
    found = (path for path in folder.rglob("*") if not path.is_dir())
    return {path.relative_to(folder).as_posix() for path in found} - {MARK}


def test_a_folder_is_filled_once_and_again_only_if_asked(tmp_path: Path) -> None:
    out = tmp_path / "out"
    fill(out, ["a.jpg", "sub/b.jpg"])
    assert files(out) == {"a.jpg", "sub/b.jpg"}
    with pytest.raises(UsageError, match="exists already") as caught:
        fill(out, ["a.jpg"])
    assert "--overwrite" in str(caught.value)
    (out / "mine.txt").write_text("mine")
    fill(out, ["a.jpg", "c.jpg"], overwrite=True)
    assert files(out) == {"a.jpg", "c.jpg", "mine.txt"}
    assert not (out / "sub").exists()


@pytest.mark.parametrize("write", [fill, stage])
def test_a_folder_of_others_is_left_alone(tmp_path: Path, write: object) -> None:
    assert callable(write)
    (tmp_path / "photo.jpg").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(UsageError):
            write(tmp_path, ["photo.jpg"], overwrite=overwrite)
    assert files(tmp_path) == {"photo.jpg"}
    assert not (tmp_path / MARK).exists()
    assert (tmp_path / "photo.jpg").read_text() == "mine"


def test_another_commands_folder_is_left_alone(tmp_path: Path) -> None:
    fill(tmp_path, ["a.jpg"], command="eval")
    with pytest.raises(UsageError, match="written by sodkit eval: --overwrite replaces only"):
        fill(tmp_path, ["a.jpg"], overwrite=True)


def test_a_file_of_others_in_the_way_stops_before_anything_is_written(tmp_path: Path) -> None:
    fill(tmp_path, ["a.jpg"])
    (tmp_path / "b.jpg").write_text("mine")
    with pytest.raises(UsageError, match="in the way") as caught:
        fill(tmp_path, ["a.jpg", "b.jpg"], overwrite=True)
    assert caught.value.where == str(tmp_path / "b.jpg")
    stage(tmp_path / "c", ["labels/a.txt"])
    (tmp_path / "c/labels/b.txt").write_text("mine")
    with pytest.raises(UsageError, match="in the way"):
        stage(tmp_path / "c", ["labels/a.txt", "labels/b.txt"], overwrite=True)
    assert (tmp_path / "c/labels/b.txt").read_text() == "mine"


def test_a_failure_leaves_no_trace_or_what_can_be_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def fail(name: str | None) -> None:
        with fill_folder(out, "draw", ["a.jpg", "b.jpg"], overwrite=False):
            if name is not None:
                (out / name).touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail(None)
    assert not out.exists()
    with pytest.raises(KeyboardInterrupt):
        fail("b.jpg")
    fill(out, ["a.jpg"], overwrite=True)
    assert files(out) == {"a.jpg"}


def test_a_stage_moves_all_at_the_end(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def fail() -> None:
        with stage_folder(out, "convert", overwrite=False) as place:
            (place / "a").touch()
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert not out.exists()
    stage(out, ["labels/a.txt", "labels/b.txt", "data.yaml"])
    stage(out, ["labels/b.txt", "labels/c.txt", "data.yaml"], overwrite=True)
    assert files(out) == {"labels/b.txt", "labels/c.txt", "data.yaml"}


def test_what_a_killed_command_leaves_does_not_take_a_folder(tmp_path: Path) -> None:
    assert is_free(tmp_path / "absent")
    left = tmp_path / temporary_name()
    left.mkdir()
    (left / "a").touch()
    (tmp_path / LOCK).write_text("1 host\n")
    (tmp_path / MARK).write_text(json.dumps({"command": "x", "files": []}))
    assert is_free(tmp_path)
    stage(tmp_path, ["a"])
    assert files(tmp_path) == {"a"}
    assert not is_free(tmp_path)
    assert not is_free(tmp_path / "a")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"command": "draw"}', '{"files": 3}', "\xff"])
def test_a_mark_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / MARK).write_text(text, "latin-1")
    (tmp_path / "a.jpg").write_text("mine")
    with pytest.raises(UsageError, match="not written by sodkit"):
        fill(tmp_path, ["a.jpg"], overwrite=True)


def test_files_outside_the_folder_are_not_removed(tmp_path: Path) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    out.mkdir()
    other.mkdir()
    (other / "a").touch()
    (out / "link").symlink_to(other)
    (out / "file").symlink_to(other / "a")
    remove_files(out, ["../other/a", "link/a", str(other / "a"), "link/../../other/a", "file"])
    assert (other / "a").exists()
    assert not (out / "file").is_symlink()


def test_a_file_is_replaced_only_if_it_is_asked_for_and_of_the_kind(tmp_path: Path) -> None:
    path = tmp_path / "a.json"

    def check(*, overwrite: bool) -> None:
        check_file(path, overwrite=overwrite, is_own=lambda p: p.read_text() == "own", what="toy")

    check(overwrite=False)
    path.write_text("own")
    with pytest.raises(UsageError, match="--overwrite to replace"):
        check(overwrite=False)
    check(overwrite=True)
    path.write_text("mine")
    with pytest.raises(UsageError, match="is no toy: --overwrite does not replace"):
        check(overwrite=True)
    path.unlink()
    path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="exists already"):
        check(overwrite=False)
    path.unlink()
    path.mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        check(overwrite=True)


def test_what_is_read_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/x.json").touch()
    (tmp_path / "b").symlink_to(tmp_path / "a")
    for out, source in (("a/x.json", "a/x.json"), ("b/x.json", "a"), ("b", "a"), (".", "a")):
        with pytest.raises(UsageError, match="is read by this command"):
            check_not_read(tmp_path / out, tmp_path / source)
    check_not_read(tmp_path / "new.json", tmp_path / "a")


def test_a_file_is_checked_again_once_it_is_locked(tmp_path: Path) -> None:
    out, looks = tmp_path / "new" / "x.json", []

    def check() -> None:
        looks.append([path.name for path in tmp_path.rglob("*.lock")])

    with fill_file(out, check):
        assert looks == [[], [".x.json.lock"]]
        out.write_text("x")
    assert [path.name for path in out.parent.iterdir()] == ["x.json"]
    with holding(out, "lock_file"), pytest.raises(UsageError, match="is writing to it"):
        fill_file(out, check).__enter__()
