"""BDD100K's JSON of its detection task: a list of images, each with its labels.

``name`` of the image; each of ``labels`` has a ``category`` and, if it is an object, a ``box2d``
(x1, y1, x2, y2); ``attributes.crowd`` is COCO's ``iscrowd``. Labels without a box (lanes, areas)
are counted in a note. Scalabel's object with the list in ``frames`` is read, too.

Sizes are those of the images; all of the release have 1280 x 720 px, which counts where an image is
not there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec

from sodkit.data.formats.assemble import Collected
from sodkit.data.formats.folders import image_folders, is_file
from sodkit.data.formats.labels import LabelFile, Row, class_names, gather
from sodkit.data.formats.resolve import meant_files
from sodkit.data.formats.source import (
    Report,
    decode_json,
    decode_list,
    leads_elsewhere,
    read_bytes,
    stated_name,
    stop,
)
from sodkit.data.images.decoding import image_size
from sodkit.data.records import ImageRecord, Note
from sodkit.errors import DataError

SIZE = (1280, 720)
"""Width and height in px of the release's images."""

CLASSES = (
    "pedestrian", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
    "traffic light", "traffic sign",
)  # fmt: skip
_FIRST = ("bike", "bus", "car", "motor", "person", "rider", "traffic light", "traffic sign",
          "train", "truck")  # fmt: skip
"""The classes of the release of 2018."""


_FORM = "a BDD100K file is a list of images, or an object with that list in frames"
_FRAME_FORM = 'an image is {"name": "a.jpg", "labels": [...]}'
_LABEL_FORM = 'a label is {"category": "car", "box2d": {"x1": 1, "y1": 2, "x2": 3, "y2": 4}}'


class _Box(msgspec.Struct, gc=False):
    x1: float
    y1: float
    x2: float
    y2: float


class _Attributes(msgspec.Struct, gc=False):
    crowd: bool | int | None = None


class _Label(msgspec.Struct, gc=False):
    category: str
    box2d: _Box | None = None
    attributes: _Attributes | None = None


class _Frame(msgspec.Struct, gc=False):
    name: str
    labels: list[msgspec.Raw] | None = None


class _Frames(msgspec.Struct):
    frames: list[msgspec.Raw]


def collect(path: Path, *, images: Path | None = None, report: Report = stop) -> Collected:
    """Read a file of BDD100K.

    Args:
        path: the JSON file.
        images: the folder of the images (None: looked for beside ``path``).
        report: called with every image or label that is wrong; it is left out.

    Raises:
        DataError: anything missing or wrong, with the JSON path.
    """
    data = read_bytes(path)
    if data.lstrip()[:1] == b"{":
        raws = decode_json(data, _Frames, path, form=_FORM).frames
    else:
        raws = decode_json(data, list[msgspec.Raw], path, form=_FORM)
    folders = image_folders(path) if images is None else [images]
    files, flat = [], 0
    frames = decode_list(raws, _Frame, path, "", report, form=_FRAME_FORM)
    meant = meant_files([frame.name for _, frame in frames], path, images)
    for position, frame in frames:
        try:
            record = _record(frame.name, position, path, folders, meant)
        except DataError as error:
            report(error, "form")
            continue
        at = f"[{position}].labels"
        labels = decode_list(frame.labels or [], _Label, path, at, report, form=_LABEL_FORM)
        boxes = [(number, item) for number, item in labels if item.box2d is not None]
        flat += len(labels) - len(boxes)
        rows = list(_rows(boxes))
        files.append(LabelFile(path, record.file_name, record, rows, f": {at}[{{}}]"))
    classes = class_names(path, files, (CLASSES, _FIRST))
    note = Note("no-box", f"{flat} labels without a box2d (lanes, areas) are left out")
    return replace(gather(path, files, classes, report), notes=(note,) if flat else ())


def _record(
    name: str, position: int, path: Path, folders: list[Path], meant: dict[str, str]
) -> ImageRecord:
    """Return an image, by the name that is stated, as large as the file that is ``meant``."""
    clean = stated_name(name, f"{path}: [{position}].name")
    file = meant.get(name, clean)
    known = () if leads_elsewhere(file) else folders
    place = next((folder / file for folder in known if is_file(folder / file)), None)
    width, height = SIZE if place is None else image_size(place)
    return ImageRecord(position + 1, clean, width, height)


def _rows(labels: list[tuple[int, _Label]]) -> Iterator[Row]:
    for position, item in labels:
        box = item.box2d
        if box is not None:
            xywh = (box.x1, box.y1, box.x2 - box.x1, box.y2 - box.y1)
            yield Row(position, item.category, xywh=xywh, crowd=_is_crowd(item))


def _is_crowd(item: _Label) -> bool:
    return item.attributes is not None and bool(item.attributes.crowd)
