"""Damaged and hostile archives of predictions: always one error that names the file, and cheap."""

from __future__ import annotations

import io
import os
import random
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sodkit.data.predictions import npz_columns
from sodkit.data.predictions.storage import read_predictions
from sodkit.data.records import Annotations, Category, Detections, ImageRecord
from sodkit.errors import DataError

COLUMNS: dict[str, Any] = {
    "image_id": np.full(3, 4),
    "category_id": np.full(3, 1),
    "score": np.full(3, 0.5),
    "bbox": np.ones((3, 4)),
}


def read(path: Path, *, proposals: bool = False) -> Detections:
    annotations = Annotations(
        images=(ImageRecord(4, "a.jpg", 99, 99),),
        categories=(Category(1, "ship"),),
        ids=np.zeros(0, np.int64),
        image_index=np.zeros(0, np.int64),
        labels=np.zeros(0, np.int64),
        xywh=np.zeros((0, 4)),
        area=np.zeros(0),
        ignore=np.zeros(0, np.bool_),
    )
    return read_predictions(path, annotations, proposals=proposals)


def saved(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def header(text: str, body: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    """A column whose header is any text."""
    size = 4 if version == b"\x02\x00" else 2
    return b"\x93NUMPY" + version + len(text).to_bytes(size, "little") + text.encode() + body


def archive(path: Path, method: int = zipfile.ZIP_STORED, **members: bytes) -> Path:
    """Columns that are sound but for those given, as the bytes of their files."""
    with zipfile.ZipFile(path, "w", method) as stream:
        for name, array in COLUMNS.items():
            stream.writestr(f"{name}.npy", members.get(name, saved(array)))
        for name in members.keys() - COLUMNS.keys():
            stream.writestr(f"{name}.npy", members[name])
    return path


@pytest.mark.parametrize("method", [0, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_reads_every_form_that_is_sound(tmp_path: Path, method: int) -> None:
    box = saved(np.asfortranarray(np.arange(12, dtype=">f4").reshape(3, 4)))
    found = read(archive(tmp_path / "p.npz", method, bbox=box, image_id=saved(np.uint8([4, 4, 4]))))
    np.testing.assert_array_equal(found.xywh, np.arange(12).reshape(3, 4))
    assert found.xywh.dtype == np.float64
    assert found.image_ids.dtype == np.int64


def test_reads_a_header_of_version_2(tmp_path: Path) -> None:
    text = "{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }\n"
    score = header(text, np.full(3, 0.25).tobytes(), b"\x02\x00")
    assert read(archive(tmp_path / "p.npz", score=score)).scores.tolist() == [0.25] * 3


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"score": saved(0.5)}, r"'score' has shape \(\), expected \(3,\)"),
        ({"image_id": saved(4)}, r"'image_id' has shape \(\), expected \(N,\)"),
        ({"image_id": saved(np.ones((3, 1), int))}, r"'image_id' has shape \(3, 1\)"),
        ({"score": saved(np.ones(2))}, r"'score' has shape \(2,\), expected \(3,\)"),
        ({"category_id": saved(np.ones(4, int))}, r"'category_id' has shape"),
        ({"bbox": saved(np.ones((3, 5)))}, r"'bbox' has shape"),
        ({"bbox": saved(np.ones(12))}, r"'bbox' has shape"),
        ({"image_id": saved(np.ones(3))}, "'image_id' holds floats"),
        ({"category_id": saved(np.ones(3))}, "'category_id' holds floats"),
        ({"image_id": saved(np.full(3, 2**64 - 1, np.uint64))}, r"2\*\*63 or more"),
        ({"score": saved(np.array(["a", "b", "c"]))}, "'score' holds no numbers but text"),
        ({"score": saved(np.array([b"a", b"b", b"c"]))}, "'score' holds no numbers"),
        ({"score": saved(np.ones(3, complex))}, "'score' holds no numbers"),
        ({"score": saved(np.ones(3, bool))}, "'score' holds no numbers"),
        ({"score": saved(np.zeros(3, "M8[s]"))}, "'score' holds no numbers"),
        ({"score": saved(np.zeros(3, "f8,i8"))}, "'score' holds no numbers"),
        ({"score": saved(np.array([{}, {}, {}]))}, "'score' holds no numbers but object"),
        ({"score": saved(np.array([0.5, np.nan, 0.5]))}, "not a finite number"),
        ({"score": saved(np.array([0.5, np.inf, 0.5]))}, "not a finite number"),
        ({"score": saved(np.full(3, 1.5))}, "above 1"),
        ({"bbox": saved(np.full((3, 4), -np.inf))}, "not finite"),
        ({"bbox": saved(np.full((3, 4), np.longdouble(2) ** 9000))}, "not finite"),
        ({"bbox": saved(np.full((3, 4), -1.0))}, "negative width"),
        ({"score": b""}, "header of column 'score' is broken"),
        ({"score": b"rubbish, no column"}, "header of column 'score' is broken"),
        ({"score": saved(np.ones(3))[:90]}, "header of column 'score' is broken"),
        ({"score": saved(np.ones(3))[:-8]}, "should have 24 bytes by its shape"),
        ({"score": saved(np.ones(3)) + b"more"}, "should have 24 bytes by its shape"),
        ({"score": header("{'descr': '<f8'")}, "header of column 'score' is broken"),
        ({"score": header("{'descr': '''")}, "header of column 'score' is broken"),
        ({"score": header("-" * 9000 + "1")}, "header of column 'score' is broken"),
        ({"score": header("(" * 9000)}, "header of column 'score' is broken"),
        ({"score": header("x" * 20_000)}, "header of column 'score' is broken"),
        ({"score": header("{}", version=b"\x03\x00")}, "header of column 'score' is broken"),
        ({"score": header("{}", version=b"\x07\x00")}, "header of column 'score' is broken"),
    ],
)
def test_refuses_a_column(tmp_path: Path, members: dict[str, bytes], message: str) -> None:
    path = archive(tmp_path / "p.npz", **members)
    with pytest.raises(DataError, match=message) as caught:
        read(path)
    assert (caught.value.where or "").startswith(str(path))


@pytest.mark.parametrize("shape", ["(10**12,)", "(1000000000000,)", "(-3,)", "(-1, -3)", "(True,)"])
def test_a_shape_that_the_file_cannot_hold(tmp_path: Path, shape: str) -> None:
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n"
    path = archive(tmp_path / "p.npz", score=header(text, bytes(24)))
    with pytest.raises(DataError, match=r"by its shape|is broken"):
        read(path)


@pytest.mark.parametrize("missing", ["image_id", "score", "bbox"])
def test_a_column_that_is_missing(tmp_path: Path, missing: str) -> None:
    path = tmp_path / "p.npz"
    np.savez(path, **{name: array for name, array in COLUMNS.items() if name != missing})
    with pytest.raises(DataError, match=f"no column '{missing}'"):
        read(path)


def flag_as_encrypted(data: bytes) -> bytes:
    """Set the bit of encryption in all headers."""
    found = bytearray(data)
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(mark)
        while at >= 0:
            found[at + place] |= 1
            at = data.find(mark, at + 1)
    return bytes(found)


def other_method(data: bytes) -> bytes:
    head = b"PK\x01\x02\x14\x03\x14\x00\x00\x00"
    return data.replace(head + b"\0", head + b"U")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"",
        lambda data: b"not an archive",
        lambda data: saved(np.ones(3)),
        lambda data: data[: len(data) // 2],
        lambda data: data[100:],
        lambda data: data.replace(b"image_id.npy", b"image_ie.npy", 1),
        flag_as_encrypted,
        other_method,
    ],
    ids=["empty", "text", "an npy", "cut", "no head", "names differ", "encrypted", "method"],
)
def test_refuses_an_archive(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    path = archive(tmp_path / "p.npz")
    sound = path.read_bytes()
    path.write_bytes(spoil(sound))
    assert path.read_bytes() != sound
    with pytest.raises(DataError, match=r"not a readable \.npz file") as caught:
        read(path)
    assert caught.value.where == str(path)


def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    path = archive(tmp_path / "p.npz", score=saved(np.full(3, 0.123)))
    data = path.read_bytes()
    path.write_bytes(data.replace(np.full(3, 0.123).tobytes(), np.full(3, 0.321).tobytes()))
    with pytest.raises(DataError, match="CRC"):
        read(path)


def test_any_damage_is_one_error(tmp_path: Path) -> None:
    """Bytes changed, cut and doubled at random places, in zip structures and columns' headers."""
    rng = random.Random(0)
    path = tmp_path / "p.npz"
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) * 150:
        score = bytearray(saved(COLUMNS["score"]))
        for _ in range(rng.choice([0, 1, 3])):
            score[rng.randrange(6, 80)] = rng.choice(b"\0\xff(){}[]',019-<>|fiuOUSV: \\#\n")
        archive(path, method, score=bytes(score))
        data = bytearray(path.read_bytes())
        for _ in range(rng.choice([0, 1, 3])):
            data[rng.randrange(len(data))] = rng.choice([0, 1, 255, rng.randrange(256)])
        path.write_bytes(data[: rng.choice([len(data), len(data), rng.randrange(len(data))])])
        try:
            assert len(read(path)) == 3
        except DataError as error:
            assert (error.where or "").startswith(str(path))  # noqa: PT017


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand times its size: 30 MB of one score in 30 kB."""
    monkeypatch.setattr(npz_columns, "SMALL_UNPACKED", 25_600_000)
    path = tmp_path / "p.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as stream:
        for name, array in COLUMNS.items():
            with stream.open(f"{name}.npy", "w", force_zip64=True) as member:
                member.write(saved(array))
                for _ in range(30 if name == "score" else 0):
                    member.write(bytes(1_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="would take 30 MB, at most 26 MB"):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()


def test_a_larger_file_may_hold_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npz_columns, "SMALL_UNPACKED", 100)
    path = archive(tmp_path / "p.npz")
    assert len(read(path)) == 3
    monkeypatch.setattr(npz_columns, "UNPACKED_RATIO", 0.1)
    with pytest.raises(DataError, match="at most"):
        read(path)


def test_only_the_columns_asked_for_are_read(tmp_path: Path) -> None:
    path = archive(tmp_path / "p.npz", mask=b"no column at all", poly2=saved(np.array([{}])))
    assert len(read(path)) == 3
    path = archive(tmp_path / "p.npz", category_id=b"no column at all")
    assert len(read(path, proposals=True)) == 3


class Evil:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


def test_nothing_in_it_runs(tmp_path: Path) -> None:
    target = tmp_path / "made"
    path = archive(tmp_path / "p.npz", score=saved(np.array([Evil(target)] * 3)))
    with pytest.raises(DataError, match="holds no numbers but object"):
        read(path)
    assert not target.exists()


@pytest.mark.skipif(np.longdouble(0).itemsize != 16, reason="numpy has no numbers of 16 bytes here")
def test_longer_floats_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    """Bits that are no number warn when they are cast; the warning must not get through."""
    odd = np.frombuffer(bytes.fromhex("dd9abf3f0000e03f5f633937dd9abf3f") * 3, np.longdouble)
    with pytest.raises(DataError, match="not a finite number"):
        read(archive(tmp_path / "p.npz", score=saved(odd)))
