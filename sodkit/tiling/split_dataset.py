"""Splitting a data set on disk: reads each image once, writes its patches, then annotations.

Threads do it: OpenCV decodes and encodes without Python's lock. Images are taken and collected
in order, a few ahead of the slowest; so memory is bounded by the number of workers, and what is
written does not depend on it. An image whose patches are all there already is not read again,
unless it has changed since: then its patches are made anew.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, local

import numpy as np

from sodkit.data.formats import PATCHES
from sodkit.data.formats.coco_write import CocoWriter, coco_writer
from sodkit.data.formats.source import advised
from sodkit.data.images.decoding import RgbImage, check_size, read_image, write_image
from sodkit.data.records import Annotations, ImageRecord
from sodkit.data.sizes import SIZE_NAMES
from sodkit.errors import DataError, UsageError
from sodkit.files import StrPath
from sodkit.lock import lock_folder
from sodkit.names import check_names
from sodkit.threads import map_in_order
from sodkit.tiling import folder
from sodkit.tiling.conservation import (
    OUTCOMES,
    BadImage,
    SplitReport,
    best_outcomes,
    tally,
)
from sodkit.tiling.grid import count_windows
from sodkit.tiling.paint import paint_regions
from sodkit.tiling.settings import DEFAULT, Rgb, SplitSettings
from sodkit.tiling.split import ImageSplit, join_splits, painted_rows, split_image

Progress = Callable[[int, int], None]

_MOST_PATCHES = 250_000
"""An image that would be cut into more patches is refused: they would not fit the memory."""

_LOST_NAMED = 20
"""So many lost objects are named in the report."""


def split_dataset(
    annotations: Annotations,
    images_dir: StrPath,
    out_dir: StrPath,
    settings: SplitSettings = DEFAULT,
    *,
    workers: int | None = None,
    overwrite: bool = False,
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> SplitReport:
    """Cut all images into patches.

    Writes ``out_dir/images/*``, ``annotations.json`` (COCO) and ``split.json`` (the report). Killed
    and called again with the same annotations and settings it continues, and the end is the same to
    the byte, at any number of workers.

    Args:
        annotations: what is to be split.
        images_dir: where ``file_name`` starts.
        out_dir: new, empty, or with what an earlier call left.
        settings: the rules.
        workers: threads; None: one a core.
        overwrite: replace an earlier split of other settings.
        skip_bad: leave out images that cannot be read, and report them.
        progress: called with (done, total) images.

    Raises:
        DataError: an image that is missing, cannot be decoded or has another size than stated, or
            whose patches would have a name that Windows reserves.
        UsageError: ``out_dir`` holds something else, another process writes to it, ``workers`` is
            below 1, or the windows are so small that an image has more than 250 000 of them.
        SodkitError: the disk is full.
    """
    images_dir = Path(images_dir)
    out_dir = Path(out_dir)
    count = (os.cpu_count() or 1) if workers is None else workers
    if count < 1:
        raise UsageError("there must be one worker or more", where="--workers")
    _check_apart(images_dir, out_dir)
    _check_numbers(annotations, images_dir, settings)
    job = _Job(annotations, images_dir, out_dir, settings, skip_bad)
    check_names(
        (f"{stem}__patch", image.file_name)
        for stem, image in zip(job.stems, annotations.images, strict=True)
    )
    with lock_folder(out_dir):
        mark = folder.claim(out_dir, annotations, settings, overwrite=overwrite)
        report = _split_all(job, count, progress)
        folder.finish(out_dir, mark, report.as_dict())
    return report


def _split_all(job: _Job, count: int, progress: Progress | None) -> SplitReport:
    """Write the patches of all images, and their annotations."""
    totals = _Totals(job)
    annotations, out_dir = job.annotations, job.out_dir
    images = range(len(annotations.images))
    with (
        coco_writer(out_dir / PATCHES, annotations.categories) as writer,
        closing(map_in_order(job.run, images, count, stop=job.stop)) as results,
    ):
        for done, result in enumerate(results, start=1):
            totals.add(result, writer)
            if progress is not None:
                progress(done, len(images))
    return totals.report()


class _Job:
    """What the workers share: all of it read only, but for the wish to stop."""

    def __init__(
        self,
        annotations: Annotations,
        images_dir: Path,
        out_dir: Path,
        settings: SplitSettings,
        skip_bad: bool,
    ) -> None:
        self.annotations = annotations
        self.images_dir = images_dir
        self.out_dir = out_dir
        self.settings = settings
        self.skip_bad = skip_bad
        self.rows = annotations.rows_by_image()
        self.stems = folder.stems(annotations.images, settings)
        self.stop = Event()
        self._memory = _Memory()

    def run(self, index: int) -> _Result:
        """Split one image and write the patches that are not there yet.

        Raises:
            DataError: if it cannot be read, unless bad images are skipped.
        """
        record = self.annotations.images[index]
        try:
            # before the windows are laid out: a wrong size may be millions of them
            check_size(self.images_dir / record.file_name, (record.width, record.height))
            return _Result(index, self._split(index), None)
        except DataError as error:
            if not self.skip_bad:
                raise advised(error) from error
            self._forget(index)
            return _Result(index, None, error.what)

    def _forget(self, index: int) -> None:
        """Remove the patches that an earlier run made of an image that is broken now."""
        if _number_of_windows(self.annotations.images[index], self.settings) <= _MOST_PATCHES:
            for record in self._look(index).annotations.images:
                (self.out_dir / record.file_name).unlink(missing_ok=True)

    def _look(self, index: int) -> ImageSplit:
        rows, stem = self.rows[index], self.stems[index]
        return join_splits(
            [split_image(self.annotations, index, rows, s, stem) for s in self.settings.scales]
        )

    def _split(self, index: int) -> ImageSplit:
        split = self._look(index)
        paths = [self.out_dir / record.file_name for record in split.annotations.images]
        changed = _changed(self.images_dir / self.annotations.images[index].file_name)
        missing = [number for number, path in enumerate(paths) if not _is_there(path, changed)]
        if missing and not self.stop.is_set():
            self._write(index, split, missing)
        return split

    def _write(self, index: int, split: ImageSplit, numbers: list[int]) -> None:
        """Write some patches of an image, in the order of OpenCV's channels all the way."""
        record, settings = self.annotations.images[index], self.settings
        path = self.images_dir / record.file_name
        size = (record.width, record.height)
        image = read_image(
            path, size=size, order="bgr", into=self._memory.of(size), bit_depth=settings.bit_depth
        )
        painted = painted_rows(self.annotations, self.rows[index], settings)
        spared = np.setdiff1d(self.rows[index], painted)
        take = self.annotations.take
        paint_regions(image, take(painted), take(spared), _bgr(settings.fill))
        for number in numbers:
            if self.stop.is_set():
                return
            patch = split.annotations.images[number]
            pixels = _crop(image, patch.start or (0, 0), patch.width, settings.padding)
            target = self.out_dir / patch.file_name
            write_image(target, pixels, quality=settings.quality, order="bgr")


class _Memory(local):
    """Memory for an image's pixels, of each thread its own, used for one image after another.

    New memory for each would cost more than cutting it up: the system zeroes it page by page.
    """

    def __init__(self) -> None:
        self._bytes = np.empty(0, np.uint8)

    def of(self, size: tuple[int, int]) -> RgbImage:
        """Return an array for an image of (width, height), with any content."""
        count = size[0] * size[1] * 3
        if len(self._bytes) < count:
            self._bytes = np.empty(count, np.uint8)
        return self._bytes[:count].reshape(size[1], size[0], 3)


@dataclass(frozen=True, slots=True, eq=False)
class _Result:
    """One image: its patches, or why it could not be read."""

    index: int
    split: ImageSplit | None
    reason: str | None


class _Totals:
    """Numbers patches and annotations in the order of the source; counts objects by outcome."""

    def __init__(self, job: _Job) -> None:
        self._job = job
        shape = (len(job.annotations.categories), len(SIZE_NAMES), len(OUTCOMES))
        self._outcomes = np.zeros(shape, np.int64)
        self._lost: list[int] = []
        self._bad: list[BadImage] = []
        self._counts = Counter[str]()

    def add(self, result: _Result, writer: CocoWriter) -> None:
        """Write the annotations of one image's patches."""
        source, rows = self._job.annotations, self._job.rows[result.index]
        objects = ~source.is_region[rows]
        split, counts = result.split, self._counts
        if split is None:
            name = source.images[result.index].file_name
            self._bad.append(BadImage(name, result.reason or "", int(objects.sum())))
            return
        own = split.annotations
        images = (
            replace(image, id=number)
            for number, image in enumerate(own.images, start=counts["patches"] + 1)
        )
        numbered = replace(own, images=tuple(images), ids=own.ids + counts["annotations"])
        writer.add(numbered, split.truncated)
        best = best_outcomes(source, rows, split.cuts)
        self._outcomes += tally(source, rows, best)
        self._lost += source.ids[rows[objects & (best == OUTCOMES.index("lost"))]].tolist()
        counts["images"] += 1
        counts["patches"] += len(own.images)
        counts["annotations"] += len(own)
        counts["skipped"] += split.skipped
        counts["truncated"] += int((split.truncated & ~own.is_region).sum())

    def report(self) -> SplitReport:
        """Return what has been counted."""
        counts = self._counts
        return SplitReport(
            settings=self._job.settings,
            categories=self._job.annotations.categories,
            outcomes=self._outcomes,
            lost_ids=tuple(self._lost[:_LOST_NAMED]),
            images=counts["images"],
            patches=counts["patches"],
            skipped=counts["skipped"],
            annotations=counts["annotations"],
            truncated=counts["truncated"],
            regions=int(self._job.annotations.is_region.sum()),
            bad_images=tuple(self._bad),
        )


def _crop(image: RgbImage, start: tuple[int, int], size: int, padding: Rgb) -> RgbImage:
    """Return a window, padded right and below if the image ends in it."""
    x, y = start
    patch = image[y : y + size, x : x + size]
    height, width = patch.shape[:2]
    if (height, width) == (size, size):
        return patch
    padded = np.empty((size, size, 3), np.uint8)
    padded[:] = _bgr(padding)
    padded[:height, :width] = patch
    return padded


def _bgr(color: Rgb) -> Rgb:
    return color[2], color[1], color[0]


def _changed(path: Path) -> int:
    """Return when an image was last changed or put in its place, in ns."""
    state = path.stat()
    return max(state.st_mtime_ns, state.st_ctime_ns)


def _is_there(path: Path, changed: int) -> bool:
    """Return whether a patch has been written since its image last changed.

    One of no bytes was cut off by a power failure.
    """
    try:
        state = path.stat()
    except OSError:
        return False
    return state.st_size > 0 and state.st_mtime_ns >= changed


def _number_of_windows(image: ImageRecord, settings: SplitSettings) -> int:
    sizes = [(one.size, one.stride) for one in settings.scales]
    return sum(count_windows(image.width, image.height, size, stride) for size, stride in sizes)


def _check_numbers(annotations: Annotations, images_dir: Path, settings: SplitSettings) -> None:
    """Raise if an image has more windows than fit the memory."""
    for image in annotations.images:
        number = _number_of_windows(image, settings)
        if number <= _MOST_PATCHES:
            continue
        try:
            check_size(images_dir / image.file_name, (image.width, image.height))
        except DataError:
            continue  # its size is wrong: reported, or left out, when its turn comes
        raise UsageError(
            f"an image of {image.width} x {image.height} px would be cut into {number} patches, "
            f"more than {_MOST_PATCHES}",
            where=images_dir / image.file_name,
            hint="give a larger --size and --stride, or correct the image's size in ANN",
        )


def _check_apart(images_dir: Path, out_dir: Path) -> None:
    """Raise if the output would lie on the images that are read."""
    source, out = images_dir.resolve(), out_dir.resolve()
    if source == out or out in source.parents:
        raise UsageError(
            "is where the images are read from", where=out_dir, hint="give another folder by --out"
        )
