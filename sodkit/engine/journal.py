"""What is found so far, image by image, on disk: a prediction that was killed goes on from there.

A line of JSON says what run it is of. Behind it stands a record for each image that is done, in the
order of the images: a mark, a checksum, a length, a line of JSON, and the columns as numbers. A
record that is cut off or damaged ends the journal; what is behind it is computed again.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sodkit.data.records import BoxKind, Detections, ImageRecord
from sodkit.errors import DataError, ImageError, UsageError
from sodkit.files import full_disk_named, write_bytes
from sodkit.geometry.rotated import obb_to_xywh

VERSION = 1
_HEAD = struct.Struct("<4sIQ")
_MARK = b"SKJ1"

Found = Detections | DataError


def journal_file(out: Path) -> Path:
    """Return where the journal of a file of predictions lies: beside it, hidden."""
    return out.with_name(f".{out.name}.part")


class Journal:
    """The results of a run's images so far; iterating gives the detections of each, in order.

    Made by ``open_journal``. The first part that iterating gives is always empty, so that there is
    one, and each iteration reads the file anew: it can be repeated.

    Args:
        path: the file.
        images: what is predicted on, in order.
        kind: of the boxes.
        start: where the first record begins, in bytes.
    """

    def __init__(
        self, path: Path, images: Sequence[ImageRecord], kind: BoxKind, start: int
    ) -> None:
        self.path = path
        self._images, self._kind, self._start = images, kind, start
        self.done, self._end = 0, start
        for _, length in self._records():
            self.done += 1
            self._end += _HEAD.size + length

    def __iter__(self) -> Iterator[Detections]:
        yield Detections.empty(self._kind)
        for found in self.results():
            if isinstance(found, Detections):
                yield found

    def results(self) -> Iterator[Found]:
        """Yield for each image that is done what is found in it, or why it cannot be read."""
        for (payload, _), image in zip(self._records(), self._images, strict=False):
            yield self._decoded(payload, image)

    def add(self, found: Found) -> None:
        """Append the result of the next image.

        Raises:
            SodkitError: the disk is full; the images before stay.
        """
        payload = _encoded(found)
        record = _HEAD.pack(_MARK, zlib.crc32(payload), len(payload)) + payload
        with full_disk_named(self.path):
            _write_at(self.path, self._end, record)
        self.done += 1
        self._end += len(record)

    def _records(self) -> Iterator[tuple[bytes, int]]:
        """Yield the payload of each sound record, and its length."""
        with self.path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(self._start)
            while (payload := _next(file, size)) is not None:
                yield payload, len(payload)

    def _decoded(self, payload: bytes, image: ImageRecord) -> Found:
        line, _, rest = payload.partition(b"\n")
        head: dict[str, Any] = json.loads(line)
        if "error" in head:
            what, where, hint = head["error"]
            return ImageError(what, where=where, hint=hint)
        count, columns = int(head["count"]), 4 if self._kind == "horizontal" else 5
        numbers = np.frombuffer(rest, "<f8", offset=8 * count)
        scores, boxes = numbers[:count].copy(), numbers[count:].reshape(count, columns).copy()
        return Detections(
            image_ids=np.full(count, image.id, np.int64),
            labels=np.frombuffer(rest, "<i8", count).astype(np.int64),
            scores=scores,
            xywh=boxes if columns == 4 else obb_to_xywh(boxes),
            obb=None if columns == 4 else boxes,
        )


def _write_at(path: Path, place: int, data: bytes) -> None:
    """Write ``data`` at a place of a file, which ends behind it then."""
    with path.open("r+b") as file:
        file.truncate(place)
        file.seek(place)
        file.write(data)


def _next(file: BinaryIO, size: int) -> bytes | None:
    """Read a record's payload; None: there is none in ``size`` bytes, or none that is whole."""
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    mark, checksum, length = _HEAD.unpack(head)
    if mark != _MARK or length > size - file.tell():
        return None
    payload = file.read(length)
    return payload if len(payload) == length and zlib.crc32(payload) == checksum else None


def _encoded(found: Found) -> bytes:
    if isinstance(found, DataError):
        return json.dumps({"error": [found.what, found.where, found.hint]}).encode() + b"\n"
    boxes = found.xywh if found.obb is None else found.obb
    columns = (found.labels.astype("<i8"), found.scores.astype("<f8"), boxes.astype("<f8"))
    head = json.dumps({"count": len(found)}).encode() + b"\n"
    return head + b"".join(column.tobytes() for column in columns)


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
        kind: of the boxes.
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
