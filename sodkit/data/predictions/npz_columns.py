"""Reading predictions as columns from ``.npz``: an archive from any source.

numpy's own reader trusts what the file says of itself: it makes room for as many numbers as a
header names, unpacks a zip bomb to its end, and raises a dozen kinds of exceptions. Here sizes are
checked before room is made, only the columns asked for are unpacked, and nothing is unpickled.
"""

from __future__ import annotations

import math
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.lib.format as npy
import numpy.typing as npt

from sodkit.arrays import FloatArray, IntArray
from sodkit.data.predictions.columns import KINDS, Columns
from sodkit.errors import DataError

SMALL_UNPACKED = 256_000_000
"""Bytes that columns may have unpacked, however small the file: 4.7 million upright boxes."""

UNPACKED_RATIO = 64
"""So many times a larger file's size, else. Real columns shrink to a half, rounded ones to a tenth:
their scores and boxes hardly repeat. A zip bomb unpacks to a thousand times its size."""

_HOLDS = {
    "U": "text", "S": "bytes", "b": "true and false", "c": "complex numbers", "m": "times",
    "M": "dates", "V": "records",
}  # fmt: skip
"""What columns hold by numpy's letters, if they hold no numbers."""

_CHUNK = 1 << 20

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_npz(path: Path, *, with_category: bool) -> Columns:
    """Read the columns of an ``.npz`` file; never unpickles.

    Args:
        path: the file.
        with_category: read ``category_id`` if it is there.

    Raises:
        DataError: it is damaged, lacks a column, is too large unpacked, or has a column of another
            length or type.
    """
    with _damage_named(path), zipfile.ZipFile(path) as archive:
        names = {name.removesuffix(".npy") for name in archive.namelist()}
        kind = _kind(names, path)
        wanted = ["image_id", "score", kind]
        if with_category and "category_id" in names:
            wanted.append("category_id")
        _check_size(archive, wanted, path)
        arrays = {name: _read_column(archive, name, path) for name in wanted}
    _check_shapes(arrays, kind, path)
    category = arrays.get("category_id")
    return Columns(
        _integers(arrays["image_id"], "image_id", path),
        None if category is None else _integers(category, "category_id", path),
        _floats(arrays["score"]),
        _floats(arrays[kind]),
        kind,
    )


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Name the file, whatever zipfile and numpy raise on it: they promise no kind of exception."""
    try:
        yield
    except (DataError, MemoryError):
        raise
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(
            f"not a readable .npz file: {reason}",
            where=path,
            hint="an .npz is a zip archive of columns, as numpy.savez writes it",
        ) from error


def _kind(names: set[str], path: Path) -> str:
    """Return the field of the boxes; what must be there is there."""
    kinds = [kind for kind in KINDS if kind in names]
    missing = [name for name in ("image_id", "score") if name not in names]
    if missing or not kinds:
        raise DataError(
            f"has no column {(missing or ['bbox'])[0]!r}",
            where=path,
            hint="columns: image_id, category_id, score and one of bbox, obb, poly",
        )
    return kinds[0]


def _check_size(archive: zipfile.ZipFile, names: Sequence[str], path: Path) -> None:
    unpacked = sum(archive.getinfo(f"{name}.npy").file_size for name in names)
    most = max(SMALL_UNPACKED, UNPACKED_RATIO * path.stat().st_size)
    if unpacked > most:
        raise DataError(
            f"its columns would take {unpacked / 1e6:,.0f} MB, at most {most / 1e6:,.0f} MB are"
            " read from a file of its size",
            where=path,
            hint="is it damaged? numpy.savez writes the same columns unpacked, without this limit",
        )


def _read_column(archive: zipfile.ZipFile, name: str, path: Path) -> npt.NDArray[np.generic]:
    """Read one member; its header must agree with its size."""
    info = archive.getinfo(f"{name}.npy")
    with archive.open(info) as member:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy's, on headers that Python 2 wrote
            shape, fortran, kind = _header(member, name)
        if kind.kind not in "iuf":
            holds = _HOLDS.get(kind.kind, str(kind))
            raise DataError(f"column {name!r} holds no numbers but {holds}", where=path)
        size = math.prod(shape) * kind.itemsize
        have = info.file_size - member.tell()
        if size != have or min(shape, default=0) < 0:
            raise DataError(
                f"column {name!r} should have {size} bytes by its shape {shape}, it has {have}",
                where=path,
            )
        array = np.empty(shape, kind, order="F" if fortran else "C")
        _fill(member, array.reshape(-1, order="A").view(np.uint8))
    return array


def _header(member: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, order and type of a column."""
    try:
        return _HEADERS[npy.read_magic(member)](member)
    except zipfile.BadZipFile:
        raise
    except Exception as error:  # it is parsed as Python: anything from TokenError to MemoryError
        raise ValueError(f"the header of column {name!r} is broken") from error


def _fill(member: IO[bytes], room: npt.NDArray[np.uint8]) -> None:
    done = 0
    while done < len(room):
        data = member.read(min(_CHUNK, len(room) - done))
        if not data:
            raise EOFError("it ends too early")
        room[done : done + len(data)] = np.frombuffer(data, np.uint8)
        done += len(data)
    member.read(1)  # the end: now the checksum is compared


def _check_shapes(arrays: dict[str, npt.NDArray[np.generic]], kind: str, path: Path) -> None:
    if arrays["image_id"].ndim != 1:
        shape = arrays["image_id"].shape
        raise DataError(f"column 'image_id' has shape {shape}, expected (N,)", where=path)
    count = len(arrays["image_id"])
    for name, array in arrays.items():
        expected = (count, KINDS[kind]) if name == kind else (count,)
        if array.shape != expected:
            raise DataError(
                f"column {name!r} has shape {array.shape}, expected {expected}", where=path
            )


def _integers(column: npt.NDArray[np.generic], name: str, path: Path) -> IntArray:
    if column.dtype.kind == "f":
        raise DataError(f"column {name!r} holds floats, expected whole numbers", where=path)
    if column.dtype == np.uint64 and column.size and int(column.max()) >= 2**63:
        raise DataError(f"column {name!r} holds a number of 2**63 or more", where=path)
    return column.astype(np.int64)


def _floats(column: npt.NDArray[np.generic]) -> FloatArray:
    with np.errstate(over="ignore", invalid="ignore"):  # infinite or NaN, which is refused later
        return column.astype(np.float64)
