"""``viewer.html``: a data set's images with their boxes, to walk through in a browser.

One file that needs nothing else, and opens without a network: the images are inside as JPEG, the
script is ``viewer_canvas.js`` and ``viewer.js`` of ``templates``.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from markupsafe import Markup

from sodkit._version import __version__
from sodkit.data.images.decoding import RgbImage, encode, read_image
from sodkit.data.images.image_size import LONGEST_WRITTEN
from sodkit.data.records import Annotations, Detections, ImageRecord
from sodkit.errors import UsageError
from sodkit.evaluation.study import Study
from sodkit.files import StrPath, atomic_path
from sodkit.outputs import fill_folder
from sodkit.viz.content import Style
from sodkit.viz.dataset_pictures import COMMAND, check_images_exist, check_style
from sodkit.viz.page import page_parts
from sodkit.viz.verdicts import matched_by
from sodkit.viz.viewer_data import Entry, image_entries, mode_of, page_json

NAME = "viewer.html"
LONGEST = 4096
"""Longer side in px of the images in the page, unless stated: SODA-D's and SODA-A's go in whole."""
QUALITY = 90
LARGEST = 500_000_000
"""Bytes of a page. Browsers open such files in seconds; some refuse what is twice as large."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """A page that was written: its path, and how many images it shows."""

    path: Path
    images: int


def write_viewer(
    annotations: Annotations,
    images_dir: StrPath,
    out_dir: StrPath,
    *,
    detections: Detections | None = None,
    style: Style | None = None,
    limit: int | None = None,
    longest: int = LONGEST,
    title: str = "",
    overwrite: bool = False,
    bit_depth: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Viewer:
    """Write ``viewer.html``: images to zoom and pan, classes and score to choose, errors to walk.

    Predictions are compared with the objects, as ``visualize(compare=True)`` does it, at whatever
    score the reader chooses. One image at a time is in memory.

    Args:
        annotations: the data set.
        images_dir: where the images' file names start.
        out_dir: the folder to write to, new or empty.
        detections: predictions on these images, boxes of the same kind.
        style: what the page shows first; ``areas`` and ``only`` also which boxes and images it has.
        limit: only the first so many images.
        longest: images whose longer side has more px are shrunk to it.
        title: of the page.
        overwrite: replace the page, or the pictures, of an earlier call.
        bit_depth: bits in use of images of more than 8; None: each by its own range.
        progress: called with (done, total) after each image.

    Raises:
        DataError: an image is missing, undecodable or of another size than annotated; predictions
            of an image or class that the annotations lack.
        UsageError: ``out_dir`` is taken, another process writes to it, a number is out of range,
            there is nothing to compare, or the page would have more than 500 MB.
    """
    images_dir, out_dir, style = Path(images_dir), Path(out_dir), style or Style()
    check_style(style, limit)
    _check_choices(style, longest)
    count = len(annotations.images[:limit])
    check_images_exist(annotations.images[:limit], images_dir)
    entries = image_entries(annotations, range(count), detections, style)
    path, content = out_dir / NAME, _Content(annotations, detections, entries, style, title)
    parts = _parts(content, images_dir, path, longest, bit_depth, progress)
    with fill_folder(out_dir, COMMAND, [NAME], overwrite=overwrite):
        _write(path, parts)
    return Viewer(path, len(entries))


def write_worst(
    annotations: Annotations,
    detections: Detections,
    study: Study,
    images_dir: Path,
    folder: Path,
    title: str,
) -> Viewer:
    """Write ``viewer.html`` of an evaluation's worst images into a folder, worst first.

    What is found, false or missed is what the study says, at the score it was made at.

    Args:
        annotations: as evaluated.
        detections: as evaluated.
        study: of the evaluation; it has at least one worst image.
        images_dir: where the images' file names start.
        folder: made if absent; an earlier page is replaced.
        title: of the page.

    Raises:
        DataError: an image is missing, undecodable or of another size than annotated.
        UsageError: the page cannot be written, or would have more than 500 MB.
    """
    style, indices = Style(study.score), [one.index for one in study.worst]
    check_images_exist([annotations.images[index] for index in indices], images_dir)
    matched = matched_by(study.outcomes, annotations, detections)
    entries = image_entries(annotations, indices, detections, style, matched)
    path, content = folder / NAME, _Content(annotations, detections, entries, style, title)
    _write(path, _parts(content, images_dir, path, LONGEST, None, None))
    return Viewer(path, len(entries))


@dataclass(frozen=True, slots=True, eq=False)
class _Content:
    """What a page shows beside its pictures."""

    annotations: Annotations
    detections: Detections | None
    entries: Sequence[Entry]
    style: Style
    title: str


def _parts(
    content: _Content,
    images_dir: Path,
    path: Path,
    longest: int,
    bit_depth: int | None,
    progress: Callable[[int, int], None] | None,
) -> Iterator[str]:
    """Return the page's text, part by part: images are read as they are written."""
    annotations, entries = content.annotations, content.entries
    shown = [annotations.images[entry["index"]] for entry in entries]
    mode = mode_of(annotations, content.detections)
    data = page_json(content.title, annotations.categories, mode, entries, content.style)
    pictures = _limited(
        _pictures(shown, images_dir, longest, bit_depth),
        LARGEST - len(data), len(shown), path, progress,
    )  # fmt: skip
    return page_parts(
        "viewer.html.j2", "viewer.css", ("viewer_canvas.js", "viewer.js"),
        data=Markup(data), pictures=pictures, version=__version__,
    )  # fmt: skip


def _check_choices(style: Style, longest: int) -> None:
    if style.zoom:
        raise UsageError("zoom-ins are for pictures, not for the viewer", hint="leave out --zoom")
    most = LONGEST_WRITTEN[".jpg"]
    if not 1 <= longest <= most:
        raise UsageError(f"images of {longest} px are out of range, 1 to {most} px are possible")


def _write(path: Path, parts: Iterator[str]) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        for part in parts:
            file.write(part.encode())


def _limited(
    pictures: Iterator[Markup],
    room: int,
    total: int,
    path: Path,
    progress: Callable[[int, int], None] | None,
) -> Iterator[Markup]:
    """Yield ``total`` pictures as long as ``room`` bytes hold them; after each, report."""
    for done, picture in enumerate(pictures, 1):
        room -= len(picture)
        if room < 0:
            raise UsageError(
                f"would be larger than {LARGEST // 10**6} MB, {done - 1} of {total} images fit in",
                where=path,
                hint="give fewer images by --limit or --only, or smaller ones by --html-size",
            )
        yield picture
        if progress is not None:
            progress(done, total)


def _pictures(
    records: Sequence[ImageRecord], images_dir: Path, longest: int, bit_depth: int | None
) -> Iterator[Markup]:
    """Yield each image as a JPEG in base64."""
    for record in records:
        path = images_dir / record.file_name
        image = _shrunk(
            read_image(
                path, size=(record.width, record.height), order="bgr", bit_depth=bit_depth
            ),
            longest,
        )  # fmt: skip
        data = encode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY], path)
        yield Markup(base64.b64encode(data.tobytes()).decode())


def _shrunk(image: RgbImage, longest: int) -> RgbImage:
    height, width = image.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
