"""A contact sheet: the objects of one class from all images in one picture, the smallest first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sodkit.data.images.decoding import RgbImage, read_image, write_image
from sodkit.data.naming import find_class, listed
from sodkit.data.records import Annotations, Category, Detections
from sodkit.errors import UsageError
from sodkit.files import StrPath
from sodkit.outputs import fill_folder
from sodkit.viz.content import Content, Style, box_areas
from sodkit.viz.dataset_pictures import (
    COMMAND,
    check_images_exist,
    check_style,
    contents_of,
    no_comparison,
)
from sodkit.viz.palette import INK, PAPER, Colour, class_colour, marked
from sodkit.viz.picture import legend_rows, window_around, zoom_tile

NAME = "sheet.png"
MOST = 240
"""Objects on a sheet."""
COLUMNS = 12
SIDE = 160
"""Of an object's window on the sheet, in px."""
TEXT = 12
"""Size of the letters in px."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A contact sheet that was written: its path, its objects, and how many the data have."""

    path: Path
    shown: int
    total: int


@dataclass(frozen=True, slots=True)
class _Item:
    """A box on the sheet: of which image, which row of its content, and what became of it."""

    image: int
    row: int
    is_truth: bool
    area: float
    text: str


def write_sheet(
    annotations: Annotations,
    images_dir: StrPath,
    out_dir: StrPath,
    *,
    name: str,
    detections: Detections | None = None,
    style: Style | None = None,
    limit: int | None = None,
    overwrite: bool = False,
    bit_depth: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Sheet:
    """Draw the 240 smallest objects of a class, each in a window of its own, into ``sheet.png``.

    With predictions the boxes are compared, and each says whether it was found, false or missed.
    One image at a time is in memory.

    Args:
        annotations: the data set.
        images_dir: where the images' file names start.
        out_dir: the folder to write to, new or empty.
        name: of the class.
        detections: predictions on these images.
        style: how to draw; ``only`` and ``areas`` choose boxes.
        limit: look at the first so many images only.
        overwrite: replace the pictures of an earlier call.
        bit_depth: bits in use of images of more than 8; None: each by its own range.
        progress: called with (done, total) after each image.

    Raises:
        DataError: an image is missing, undecodable or of another size than annotated.
        UsageError: ``name`` is no class, ``out_dir`` is taken, a number is out of range, or there
            is nothing to compare.
    """
    images_dir, out_dir, style = Path(images_dir), Path(out_dir), style or Style()
    check_style(style, limit)
    if style.zoom:
        raise UsageError("a contact sheet has zoom-ins only", hint="leave out --zoom")
    label = _label(name, annotations.categories)
    records = annotations.images[:limit]
    compare = detections is not None and len(annotations) > 0
    if style.only is not None and not compare:
        raise no_comparison(detections)
    contents = [
        _of_class(content, label)
        for content in contents_of(annotations, records, detections, style, compare)
    ]
    items = [item for k, content in enumerate(contents) for item in _items(k, content)]
    chosen = sorted(items, key=lambda item: item.area)[:MOST]
    check_images_exist([records[k] for k in sorted({item.image for item in chosen})], images_dir)
    with fill_folder(out_dir, COMMAND, [NAME], overwrite=overwrite):
        tiles = {}
        groups = _by_image(chosen)
        for done, (k, numbers) in enumerate(groups.items(), 1):
            size = (records[k].width, records[k].height)
            image = read_image(images_dir / records[k].file_name, size=size, bit_depth=bit_depth)
            for n in numbers:
                tiles[n] = _tile(image, chosen[n], annotations.categories, contents[k], style)
            if progress is not None:
                progress(done, len(groups))
        entries = _legend(annotations.categories, label, len(chosen), len(items), compare, style)
        write_image(out_dir / NAME, _arranged([tiles[n] for n in range(len(chosen))], entries))
    return Sheet(out_dir / NAME, len(chosen), len(items))


def _label(name: str, categories: Sequence[Category]) -> int:
    known = [category.name for category in categories]
    label = find_class(name, known)
    if label is None:
        raise UsageError(f"there is no class '{name}'", hint=f"classes are: {listed(known, 20)}")
    return label


def _of_class(content: Content, label: int) -> Content:
    """Return the boxes of one class, and what is ignored."""
    truth, found, false = content.truth, content.found, content.false
    if truth is not None:
        truth = truth.take(truth.labels == label)
    if found is not None:
        rows = found.labels == label
        false = None if false is None else false[rows]
        found = found.take(rows)
    return Content(truth, content.ignored, found, false)


def _items(image: int, content: Content) -> list[_Item]:
    """Return what of an image may be on the sheet: all boxes that are drawn on it."""
    truth, found, false = content.truth, content.found, content.false
    items = []
    if truth is not None:
        text = "" if false is None else "missed"
        items += [_Item(image, k, True, area, text) for k, area in enumerate(truth.area.tolist())]
    if found is not None:
        texts = [""] * len(found) if false is None else np.where(false, "false", "found").tolist()
        areas = zip(box_areas(found).tolist(), texts, strict=True)
        items += [_Item(image, k, False, area, text) for k, (area, text) in enumerate(areas)]
    return items


def _by_image(items: Sequence[_Item]) -> dict[int, list[int]]:
    """Return for each image, in their order, the places of its items."""
    places: dict[int, list[int]] = {}
    for place, item in enumerate(items):
        places.setdefault(item.image, []).append(place)
    return dict(sorted(places.items()))


def _tile(
    image: RgbImage, item: _Item, categories: Sequence[Category], content: Content, style: Style
) -> RgbImage:
    """Return the window around a box, with this box alone; area and what became of it above."""
    own = _alone(item, content)
    boxes = own.truth if item.is_truth else own.found
    assert boxes is not None
    caption = f"{item.area:.0f} px² {item.text}"
    window = window_around(boxes.xywh[0], image.shape)
    return zoom_tile(image, window, caption, categories, own, style, SIDE, TEXT)


def _alone(item: _Item, content: Content) -> Content:
    """Return one box of a content, drawn as in it."""
    row = np.array([item.row])
    objects, others = (row, row[:0]) if item.is_truth else (row[:0], row)
    truth, found, false = content.truth, content.found, content.false
    return Content(
        None if truth is None else truth.take(objects),
        content.ignored,
        None if found is None else found.take(others),
        None if false is None else false[others],
    )


def _legend(
    categories: Sequence[Category],
    label: int,
    shown: int,
    total: int,
    compare: bool,
    style: Style,
) -> list[tuple[str, Colour | None]]:
    count = str(total) if shown == total else f"the {shown} smallest of {total}"
    entries: list[tuple[str, Colour | None]] = [
        (f"{marked(categories[label].name, label)}: {count}", class_colour(label))
    ]
    if compare:
        entries.append(
            (f"score ≥ {style.score:g}: found (boxes) / false (dashed) / missed (corners)", None)
        )
    return entries


def _arranged(tiles: Sequence[RgbImage], entries: list[tuple[str, Colour | None]]) -> RgbImage:
    """Return tiles in rows, and the legend below."""
    columns = max(4, min(COLUMNS, len(tiles)))
    parts = []
    for start in range(0, len(tiles), columns):
        row = list(tiles[start : start + columns])
        row += [np.full_like(row[0], PAPER)] * (columns - len(row))
        parts.append(np.concatenate(row, axis=1))
    if not tiles:
        entries = [*entries, ("no such box", INK)]
    return np.concatenate([*parts, legend_rows(columns * SIDE, entries)])
