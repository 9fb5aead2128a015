"""Detections to a file part by part, so that memory holds one part at a time.

A part is, for example, what is found in one image. The file is the same however its rows are
divided.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import numpy.lib.format as npy
import numpy.typing as npt

from sodkit.data.records import Category, Detections
from sodkit.files import atomic_path

_ROWS = 10_000
"""Records that are made text at a time."""

Column = Callable[[Detections], npt.NDArray[np.generic]]


def write_parts(
    path: Path, parts: Iterable[Detections], categories: tuple[Category, ...] | None
) -> None:
    """Write detections as JSON, or as columns if ``path`` ends in ``.npz``; all or nothing.

    Args:
        path: the file; replaced if it exists.
        parts: one or more, of one kind of boxes; they are gone through several times.
        categories: the classes in label order, whose ids are written; None for proposals.
    """
    columns = _columns(next(iter(parts)).kind == "oriented", categories)
    with atomic_path(path) as temporary:
        if path.suffix == ".npz":
            _write_npz(temporary, parts, columns)
        else:
            _write_json(temporary, parts, columns)


def _columns(oriented: bool, categories: tuple[Category, ...] | None) -> dict[str, Column]:
    """Return what gives the columns of a part, by their names in JSON's order."""
    columns: dict[str, Column] = {"image_id": lambda part: part.image_ids}
    if categories is not None:
        ids = np.array([category.id for category in categories], np.int64)
        columns["category_id"] = lambda part: ids[part.labels]
    columns["score"] = lambda part: part.scores
    if oriented:
        columns["obb"] = _obb
    else:
        columns["bbox"] = lambda part: part.xywh
    return columns


def _obb(part: Detections) -> npt.NDArray[np.generic]:
    assert part.obb is not None
    return part.obb


def _write_npz(path: Path, parts: Iterable[Detections], columns: dict[str, Column]) -> None:
    """Write the archive that ``numpy.savez_compressed`` would write of all parts joined."""
    count = sum(len(part) for part in parts)
    names = [*columns]
    if "category_id" in columns:
        names = [*(name for name in names if name != "category_id"), "category_id"]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            first = columns[name](next(iter(parts)))
            shape = (count, *first.shape[1:])
            header = {"descr": first.dtype.str, "fortran_order": False, "shape": shape}
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                npy.write_array_header_1_0(member, header)
                for part in parts:
                    member.write(columns[name](part).tobytes())


def _write_json(path: Path, parts: Iterable[Detections], columns: dict[str, Column]) -> None:
    """Write one record a line."""
    encode = msgspec.json.Encoder().encode
    with path.open("wb") as stream:
        before = b"[\n"
        for rows in _slices(parts):
            lists = [column(rows).tolist() for column in columns.values()]
            records = zip(*lists, strict=True)
            lines = [encode(dict(zip(columns, record, strict=True))) for record in records]
            stream.write(before + b",\n".join(lines))
            before = b",\n"
        stream.write(b"[\n]\n" if before == b"[\n" else b"\n]\n")


def _slices(parts: Iterable[Detections]) -> Iterator[Detections]:
    """Yield the rows of all parts, at most ``_ROWS`` at a time, without empty ones."""
    for part in parts:
        for start in range(0, len(part), _ROWS):
            yield part.take(np.arange(start, min(start + _ROWS, len(part))))
