"""``run.json``: absolute paths beside the given ones, and every wrong value named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sodkit.engine.paths import DataPaths, read_paths, write_paths
from sodkit.engine.run_folder import RUN
from sodkit.errors import UsageError

GIVEN = DataPaths("data", None, "val.json", "pictures", "coco")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "home" / "data").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "home")
    write_paths(tmp_path / "run", GIVEN)
    return tmp_path / "run"


def test_paths_are_found_from_another_folder(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    home = run.parent / "home"
    assert read_paths(run) == DataPaths(
        str(home / "data"), None, str(home / "val.json"), str(home / "pictures"), "coco"
    )
    content = json.loads((run / RUN).read_text())
    assert content["data"] == "data"
    assert content["absolute"]["data"] == str(home / "data")


def test_data_that_were_moved_with_the_run(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (run.parent / "home").rename(run.parent / "moved")
    monkeypatch.chdir(run.parent / "moved")
    assert read_paths(run).data == "data"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": 3}, "data: expected a valid string, found 3"),
        ({"data": None}, "data: expected a valid string, found null"),
        ({"data": ""}, "data: String should have at least 1 character, found"),
        ({"data": "a\0b"}, "data: String should match pattern"),
        ({"images": ["a"]}, r'images: expected a valid string, found \["a"\]'),
        ({"val": float("nan")}, "val: expected a valid string, found NaN"),
        ({"format_name": True}, "format_name: expected a valid string, found true"),
        ({"absolute": "here"}, "absolute: .*found"),
        ({"absolute": {"data": "x"}}, r"absolute.images: is missing \(and 2 more\)"),
        ({"dta": "x"}, r'dta: unknown key \(found "x"\)'),
    ],
)
def test_wrong_values_are_named(run: Path, change: dict[str, Any], message: str) -> None:
    content = json.loads((run / RUN).read_text()) | change
    (run / RUN).write_text(json.dumps(content))
    with pytest.raises(UsageError, match=rf"run\.json: cannot be read: {message}"):
        read_paths(run)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"3", b"null", b"{", b"\xff\xfe", b'{"data": "x"}', b"[" * 100_000]
)
def test_other_content(run: Path, data: bytes) -> None:
    (run / RUN).write_bytes(data)
    with pytest.raises(UsageError, match=r"run\.json: cannot be read"):
        read_paths(run)


def test_no_file(run: Path) -> None:
    (run / RUN).unlink()
    with pytest.raises(UsageError, match="No such file"):
        read_paths(run)
