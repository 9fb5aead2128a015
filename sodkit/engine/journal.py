"""What is found so far, image by image, on disk: a prediction that was killed goes on from there.

A line of JSON says what run it is of. Behind it stands a record for each image that is done, in the
order of the images: a mark, a checksum, a length, a line of JSON, and blocks of detections: a count
and columns of numbers. A record that is cut off or damaged ends the journal; what is behind it is
computed again. The head of a record is written last, and no more than a block is in memory.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from sodkit.data.records import BoxKind, Detections, ImageRecord
from sodkit.errors import DataError, ImageError, UsageError
from sodkit.files import full_disk_named, write_bytes
from sodkit.geometry.rotated import obb_to_xywh

VERSION = 1
_HEAD = struct.Struct("<4sIQ")
_MARK = b"SKJ1"
_COUNT = struct.Struct("<Q")
_ROWS = 1 << 16
"""Detections of a block."""


def journal_file(out: Path) -> Path:
    """Return where the journal of a file of predictions lies: beside it, hidden."""
    return out.with_name(f".{out.name}.part")


class Journal:
    """The results of a run's images so far; iterating gives their detections in parts, in order.

    Made by ``open_journal``. The first part that iterating gives is always empty, so that there is
    one, and each iteration reads the file anew: it can be repeated.

    Args:
        path: the file.
        images: what is predicted on, in order.
        kind: of the boxes, if there are none.
        start: where the first record begins, in bytes.
    """

    def __init__(
        self, path: Path, images: Sequence[ImageRecord], kind: BoxKind, start: int
    ) -> None:
        self.path = path
        self._images, self._kind = images, kind
        self._records = _sound_records(path, start)
        self._end = sum(self._records[-1]) if self._records else start

    def __iter__(self) -> Iterator[Detections]:
        begun = False
        with self.path.open("rb") as file:
            for (place, length), image in zip(self._records, self._images, strict=False):
                file.seek(place)
                head = json.loads(file.readline())
                if "error" in head:
                    continue
                if not begun:
                    yield Detections.empty("oriented" if head["oriented"] else "horizontal")
                    begun = True
                while file.tell() < place + length:
                    yield _read_block(file, image, oriented=head["oriented"])
        if not begun:
            yield Detections.empty(self._kind)

    def errors(self) -> Iterator[tuple[ImageRecord, ImageError]]:
        """Yield the images that are done but cannot be read, and why."""
        with self.path.open("rb") as file:
            for (place, _), image in zip(self._records, self._images, strict=False):
                file.seek(place)
                head = json.loads(file.readline())
                if "error" in head:
                    what, where, hint = head["error"]
                    yield image, ImageError(what, where=where, hint=hint)

    def add(self, found: Iterable[Detections] | DataError) -> None:
        """Append the result of the next image: parts of its detections, or why it cannot be read.

        Raises:
            SodkitError: the disk is full; the images before stay.
        """
        with full_disk_named(self.path), self.path.open("r+b") as file:
            file.truncate(self._end)
            file.seek(self._end + _HEAD.size)
            checksum = length = 0
            for piece in _pieces(found):
                file.write(piece)
                checksum, length = zlib.crc32(piece, checksum), length + len(piece)
            file.seek(self._end)
            file.write(_HEAD.pack(_MARK, checksum, length))
        self._records.append((self._end + _HEAD.size, length))
        self._end += _HEAD.size + length

    @property
    def done(self) -> int:
        """How many images are done."""
        return len(self._records)


def _pieces(found: Iterable[Detections] | DataError) -> Iterator[bytes]:
    """Yield the bytes of a record: its line, and for each part its columns, ``_ROWS`` at a time."""
    if isinstance(found, DataError):
        yield json.dumps({"error": [found.what, found.where, found.hint]}).encode() + b"\n"
        return
    oriented = None
    for part in found:
        if oriented is None:
            oriented = part.obb is not None
            yield json.dumps({"oriented": oriented}).encode() + b"\n"
        for start in range(0, len(part), _ROWS):
            rows = slice(start, start + _ROWS)
            boxes = (part.xywh if part.obb is None else part.obb)[rows]
            yield _COUNT.pack(len(boxes))
            yield part.labels[rows].astype("<i8").tobytes()
            yield part.scores[rows].astype("<f8").tobytes()
            yield boxes.astype("<f8").tobytes()


def _read_block(file: BinaryIO, image: ImageRecord, *, oriented: bool) -> Detections:
    (count,) = _COUNT.unpack(file.read(_COUNT.size))
    columns = 5 if oriented else 4
    labels = np.frombuffer(file.read(8 * count), "<i8").astype(np.int64)
    scores = np.frombuffer(file.read(8 * count), "<f8").astype(np.float64)
    numbers = np.frombuffer(file.read(8 * count * columns), "<f8").astype(np.float64)
    boxes = numbers.reshape(count, columns)
    return Detections(
        image_ids=np.full(count, image.id, np.int64),
        labels=labels,
        scores=scores,
        xywh=obb_to_xywh(boxes) if oriented else boxes,
        obb=boxes if oriented else None,
    )


def _sound_records(path: Path, start: int) -> list[tuple[int, int]]:
    """Return place and length in bytes of the payload of each sound record."""
    found: list[tuple[int, int]] = []
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(start)
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            mark, checksum, length = _HEAD.unpack(head)
            place = file.tell()
            if mark != _MARK or length > size - place or _checksum(file, length) != checksum:
                break
            found.append((place, length))
    return found


def _checksum(file: BinaryIO, length: int) -> int:
    checksum = 0
    while length > 0:
        piece = file.read(min(length, 1 << 20))
        checksum, length = zlib.crc32(piece, checksum), length - len(piece)
    return checksum


@contextmanager
def open_journal(
    path: Path,
    run: Mapping[str, str],
    images: Sequence[ImageRecord],
    kind: BoxKind,
    *,
    overwrite: bool,
    say: Callable[[str], None] = lambda message: None,
) -> Iterator[Journal]:
    """Give the journal of a run, with what an earlier process left of the same run.

    It is removed when the block ends well, and when no image is done.

    Args:
        path: the file.
        run: what the results depend on, by name; of another run nothing is used.
        images: what is predicted on, in order.
        kind: of the boxes, if there are none.
        overwrite: discard what is left of another run.
        say: called with how many images are done, at the start and if the block fails.

    Raises:
        UsageError: it is of another run and may not be discarded.
        SodkitError: the disk is full.
    """
    line = json.dumps({"version": VERSION, **run}).encode() + b"\n"
    earlier = _first_line(path)
    if earlier is not None and earlier != line and not overwrite:
        raise UsageError(
            f"holds images that are done of a run that was ended, {_difference(earlier, line)}",
            where=path,
            hint="--overwrite discards them; or repeat that run, or give another --out",
        )
    if earlier != line:
        write_bytes(path, line)
    journal = Journal(path, images, kind, len(line))
    if journal.done:
        say(f"{journal.done} of {len(images)} images are done by an earlier run: {path}")
    try:
        yield journal
    except BaseException:
        if journal.done == 0:
            path.unlink(missing_ok=True)
        else:
            say(f"{journal.done} of {len(images)} images are done: the same command goes on")
        raise
    path.unlink()


def _first_line(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            line = file.readline()
        return line if line.endswith(b"\n") else None
    except FileNotFoundError:
        return None


def _difference(earlier: bytes, now: bytes) -> str:
    """Return in words what differs between two runs."""
    try:
        before, after = json.loads(earlier), json.loads(now)
        names = [name for name in after if before.get(name) != after[name]]
    except (ValueError, AttributeError):
        return "and its head is damaged"
    return f"with other {', '.join(names)}"
