"""What is of no known format is named by what it holds, with what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from sodkit.data.formats import recognise
from sodkit.errors import DataError


def refusal(path: Path) -> str:
    with pytest.raises(DataError, match="no annotations of a known format") as caught:
        recognise(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("export.zip", "unpack it"),
        ("ann.json.gz", "unpack it"),
        ("_annotations.csv", "tables are not read"),
        ("metadata.jsonl", "JSON lines are not read"),
        ("train.tfrecord", "TFRecord is not read"),
        ("a.jpg", "images, no labels"),
        ("a.weights", "1 .weights"),
    ],
)
def test_files(tmp_path: Path, name: str, advice: str) -> None:
    (tmp_path / name).write_bytes(b"1")
    assert advice in refusal(tmp_path)
    assert advice in refusal(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (b"0,.5,.5,.2,.2\n", "a.txt has 5 values a line: '0,.5,.5,.2,.2'"),
        (b"car .5 .5 .2 .2\n", "a.txt has 5 values a line: 'car .5 .5 .2 .2'"),
        (b"0 .5 .5 .2 .2 .9\n", "has 6 values a line"),
        ("0 .5 .5 .2 .2\n".encode("utf-16"), "a.txt is UTF-16 text: save it as UTF-8"),
        (b"1,0,10,10,20,20,1,4,0,0\n", "text of videos (MOTChallenge, VisDrone-VID)"),
        (b"\n\n", "it holds 2 .txt; its text files are empty"),
    ],
)
def test_texts(tmp_path: Path, text: bytes, what: str) -> None:
    (tmp_path / "a.txt").write_bytes(text)
    (tmp_path / "classes.txt").write_text("car\n")
    assert what in refusal(tmp_path)


def test_an_empty_folder(tmp_path: Path) -> None:
    assert "it holds no file" in refusal(tmp_path)


def test_a_foreign_json_in_a_subfolder_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ds0" / "ann" / "a.jpg.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"description": "", "tags": [], "size": {}, "objects": []}')
    (tmp_path / "meta.json").write_text('{"classes": [], "tags": []}')
    with pytest.raises(DataError, match="looks like Supervisely JSON") as caught:
        recognise(tmp_path)
    assert str(path) in str(caught.value)
