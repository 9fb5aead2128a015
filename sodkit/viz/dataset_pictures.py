"""Pictures of a whole data set, one image at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from sodkit.arrays import IntArray
from sodkit.data.formats.folders import fitting, is_file
from sodkit.data.images.decoding import RgbImage, encode, read_image
from sodkit.data.images.image_size import LONGEST_WRITTEN
from sodkit.data.records import Annotations, Detections, ImageRecord
from sodkit.errors import DataError, UsageError
from sodkit.files import StrPath, write_bytes
from sodkit.names import check_names
from sodkit.outputs import fill_folder
from sodkit.viz.content import Content, Style, select
from sodkit.viz.palette import PAPER
from sodkit.viz.picture import draw_selected, most_below, paste
from sodkit.viz.verdicts import Verdicts, judge

QUALITY = 95
COMMAND = "visualize"
GUTTER = 8
"""Between pictures beside each other, in px."""


def visualize(
    annotations: Annotations,
    images_dir: StrPath,
    out_dir: StrPath,
    *,
    detections: Detections | None = None,
    beside: Detections | None = None,
    style: Style | None = None,
    compare: bool = False,
    limit: int | None = None,
    overwrite: bool = False,
    bit_depth: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Draw ground truth, and predictions if given, on every image; one JPEG an image.

    One image at a time is in memory. A picture that a JPEG cannot hold is a PNG. Pictures are named
    after the images; images of one name in several folders get their id appended.

    Args:
        annotations: the data set.
        images_dir: where the images' file names start.
        out_dir: the folder to write to, new or empty.
        detections: predictions on these images.
        beside: other predictions on them, drawn in a second picture on the right of the first.
        style: how to draw; None: the defaults.
        compare: draw what was found, what is false and what was missed by lines of their own;
            ``style.only`` implies it, and leaves out images without such boxes.
        limit: draw only the first so many images.
        overwrite: replace the pictures of an earlier call.
        bit_depth: bits in use of images of more than 8; None: each by its own range.
        progress: called with (done, total) after each image.

    Returns:
        the pictures' paths, in the order of the images.

    Raises:
        DataError: if an image is missing, undecodable or of another size than annotated, or its
            picture would have a name that Windows reserves.
        UsageError: if ``out_dir`` is taken, another process writes to it, a number is out of
            range, or there is nothing to compare.
    """
    images_dir = Path(images_dir)
    out_dir = Path(out_dir)
    style = style or Style()
    compare = compare or style.only is not None
    check_style(style, limit)
    if compare and (detections is None or len(annotations) == 0):
        raise no_comparison(detections)
    records = annotations.images[:limit]
    check_images_exist(records, images_dir)
    count = len(annotations.categories)
    named = picture_names(annotations.images, style.zoom, count, 1 if beside is None else 2)
    check_names((name, r.file_name) for name, r in zip(named, records, strict=False))
    sides = [detections] if beside is None else [detections, beside]
    columns = [contents_of(annotations, records, one, style, compare) for one in sides]
    contents = list(zip(*columns, strict=True))
    drawn = [k for k, own in enumerate(contents) if any(map(len, own)) or style.only is None]
    names = [named[k] for k in drawn]
    with fill_folder(out_dir, COMMAND, names, overwrite=overwrite):
        for done, index in enumerate(drawn):
            record = records[index]
            image = read_image(
                images_dir / record.file_name, size=(record.width, record.height),
                bit_depth=bit_depth,
            )  # fmt: skip
            pictures = [
                draw_selected(image, annotations.categories, content, style)
                for content in contents[index]
            ]
            _write(out_dir / names[done], _joined(pictures))
            if progress is not None:
                progress(done + 1, len(drawn))
    return [out_dir / name for name in names]


def no_comparison(detections: Detections | None) -> UsageError:
    """Return the error of a comparison that lacks predictions, or else objects."""
    if detections is None:
        return UsageError("a comparison needs predictions", hint="--predictions says which")
    return UsageError("a comparison needs objects, and the annotations hold none")


def check_style(style: Style, limit: int | None) -> None:
    """Raise UsageError if a number is out of range."""
    if not 0 <= style.score <= 1 or style.zoom < 0 or (limit is not None and limit < 1):
        raise UsageError(f"cannot draw with score {style.score}, zoom {style.zoom}, limit {limit}")
    low, high = style.areas
    if not 0 <= low <= high:
        raise UsageError(f"no area is from {low:g} to {high:g} px^2")


def contents_of(
    annotations: Annotations,
    records: Sequence[ImageRecord],
    detections: Detections | None,
    style: Style,
    compare: bool,
) -> list[Content]:
    """Return what is drawn on each of the first images, ``records``; arguments as ``visualize``."""
    rows = annotations.rows_by_image()
    found = rows_by_id(records, detections)
    annotated = detections is None or len(annotations) > 0  # else a bare list of images
    verdicts = None
    if compare and detections is not None:
        verdicts = judge(annotations, detections, style.score)
    contents = []
    for index in range(len(records)):
        mine = None if detections is None else detections.take(found[index])
        truth = annotations.take(rows[index]) if annotated else None
        own = None
        if verdicts is not None:
            right, false = verdicts.right[found[index]], verdicts.false[found[index]]
            own = Verdicts(verdicts.missed[rows[index]], right, false)
        contents.append(select(truth, mine, style, own))
    return contents


def _joined(pictures: Sequence[RgbImage]) -> RgbImage:
    """Return pictures of one width beside each other, as high as the highest."""
    height, width = max(len(one) for one in pictures), pictures[0].shape[1]
    canvas = np.full((height, len(pictures) * (width + GUTTER) - GUTTER, 3), PAPER, np.uint8)
    for number, one in enumerate(pictures):
        paste(canvas, one, number * (width + GUTTER), 0)
    return canvas


def picture_names(
    images: Sequence[ImageRecord], zoom: int = 0, classes: int = 0, columns: int = 1
) -> list[str]:
    """Return a file name for each image's picture; no two are the same.

    A name that is too long with its suffix is cut. A picture that a JPEG might not hold is a PNG.

    Args:
        images: what is drawn on.
        zoom: how many zoom-ins are below each.
        classes: how many the legend may name.
        columns: how many pictures stand beside each other.
    """
    stems = [PurePosixPath(image.file_name.replace("\\", "/")).stem for image in images]
    often = Counter(stem.casefold() for stem in stems)
    own = [
        stem if often[stem.casefold()] == 1 else f"{stem}_{image.id}"
        for stem, image in zip(stems, images, strict=True)
    ]
    return [
        fitting(stem, len(".jpg"))
        + (".jpg" if _fits_jpeg(image, zoom, classes, columns) else ".png")
        for stem, image in zip(own, images, strict=True)
    ]


def _fits_jpeg(image: ImageRecord, zoom: int, classes: int, columns: int) -> bool:
    """Return whether a JPEG holds an image's picture, whatever is drawn below it."""
    longest = LONGEST_WRITTEN[".jpg"]
    height = image.height + most_below(image.width, zoom, classes)
    return columns * (image.width + GUTTER) - GUTTER <= longest and height <= longest


def check_images_exist(records: Sequence[ImageRecord], folder: Path) -> None:
    """Raise before anything is drawn, not after an hour."""
    missing = [r for r in records if not is_file(folder / r.file_name)]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise DataError(
            f"image {missing[0].id} not found{more}",
            where=folder / missing[0].file_name,
            hint="--images says where the file names start",
        )


def rows_by_id(records: Sequence[ImageRecord], detections: Detections | None) -> list[IntArray]:
    """Return for every image the rows of its detections."""
    if detections is None:
        return []
    order = np.argsort(detections.image_ids, kind="stable")
    ids = np.array([record.id for record in records], dtype=np.int64)
    starts = np.searchsorted(detections.image_ids, ids, side="left", sorter=order)
    ends = np.searchsorted(detections.image_ids, ids, side="right", sorter=order)
    return [order[start:end] for start, end in zip(starts, ends, strict=True)]


def _write(path: Path, picture: RgbImage) -> None:
    """Write a PNG, or a JPEG whose colours are not halved in resolution: thin lines need it."""
    jpeg = [
        cv2.IMWRITE_JPEG_QUALITY,
        QUALITY,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    options = jpeg if path.suffix == ".jpg" else []
    data = encode(path.suffix, np.ascontiguousarray(picture[:, :, ::-1]), options, path)
    write_bytes(path, data.tobytes())
