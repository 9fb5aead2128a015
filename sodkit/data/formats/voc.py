"""Pascal VOC: an XML file an image in a folder.

``filename`` and ``size`` (width, height) of the image; each ``object`` has a ``name``, a ``bndbox``
(xmin, ymin, xmax, ymax) and perhaps ``difficult``: 1 is neither right nor wrong to detect. The
class ``ignore`` holds ignore regions. An object with ``robndbox`` (cx, cy, w, h, angle in radians,
clockwise), as labelling tools for oriented boxes write, is oriented.

Numbers are continuous coordinates as they stand, the width is xmax - xmin: labelling tools write
them so, though VOC itself counts pixels from 1.

What is not stated is taken from the image with the file's stem. A file with a document type is
refused: it could define entities without end.

Classes without a ``classes.txt``: those of Pascal VOC if these hold all names that occur and half
of them do, otherwise the names that occur, sorted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat
from xml.sax.saxutils import escape

import numpy as np

from sodkit.data.formats.assemble import IGNORE_NAME, Collected
from sodkit.data.formats.dota import short
from sodkit.data.formats.folders import stem_of
from sodkit.data.formats.foreign import refuse_xml
from sodkit.data.formats.labels import (
    CLASSES_FILE,
    ImageFinder,
    Row,
    collect_labels,
)
from sodkit.data.formats.source import Report, number, read_bytes, safe_name, stop
from sodkit.data.records import REGION, Annotations, ImageRecord
from sodkit.errors import DataError
from sodkit.files import write_text
from sodkit.geometry.rotated import obb_to_corners

LABELS = "Annotations"
_SIDE = 1_000_000
_DEPTH = 50

CLASSES = (
    ("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
     "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
     "tvmonitor"),
)  # fmt: skip
"""The classes of Pascal VOC."""


@dataclass(slots=True)
class _Node:
    """An XML element: its name, line, text and children."""

    name: str
    line: int
    text: str = ""
    children: list[_Node] = field(default_factory=list)

    def find(self, name: str) -> _Node | None:
        return next((child for child in self.children if child.name == name), None)

    def text_of(self, name: str) -> str | None:
        child = self.find(name)
        return None if child is None or not child.text.strip() else child.text.strip()


def collect(path: Path, *, images: Path | None = None, report: Report = stop) -> Collected:
    """Read a folder of Pascal VOC files, the folder with ``Annotations``, or one file.

    Args:
        path: the folder or file.
        images: the folder of the images, needed where names or sizes are not stated (None: looked
            for beside ``path``).
        report: called with every file or object that is wrong.

    Raises:
        DataError: anything missing or wrong, with the file and line.
    """
    if (path / LABELS).is_dir():
        path = path / LABELS
    return collect_labels(path, ".xml", _read, CLASSES, images, report)


def _read(
    path: Path, report: Report
) -> tuple[list[Row], Callable[[ImageFinder, str, int], ImageRecord]]:
    root = _parse(path)

    def image(finder: ImageFinder, stem: str, number: int) -> ImageRecord:
        return _record(root, path, stem, number, finder)

    return list(_rows(root, path, report)), image


def _record(root: _Node, path: Path, stem: str, number: int, finder: ImageFinder) -> ImageRecord:
    size = root.find("size")
    sides = [None if size is None else size.text_of(key) for key in ("width", "height")]
    name = root.text_of("filename")
    name = None if name is None else safe_name(name, f"{path}:{root.line}")
    if name is None or (finder.names and name not in finder.names.values()):
        # The stem is the surer one: files are renamed without looking into them.
        name = finder.names.get(stem, name)
    if size is None or None in sides or sides == ["0", "0"] or name is None:
        return finder.record(stem, number, path)
    width, height = (_side(text or "", f"{path}:{size.line}") for text in sides)
    return ImageRecord(number, name, width, height)


def _side(text: str, where: str) -> int:
    try:
        value = number(text)
    except ValueError:
        value = 0
    if not 1 <= value <= _SIDE or value != int(value):
        raise DataError(f"an image's side is a whole number from 1 on, not {text!r}", where=where)
    return int(value)


def _rows(root: _Node, path: Path, report: Report) -> Iterator[Row]:
    for item in root.children:
        if item.name == "object":
            try:
                yield _row(item)
            except ValueError as error:
                report(DataError(str(error), where=f"{path}:{item.line}"), "form")


def _row(item: _Node) -> Row:
    """Read an object.

    Raises:
        ValueError: if something is missing or no number, saying what.
    """
    name = item.text_of("name")
    if name is None:
        raise ValueError("the object has no name")
    difficult = item.text_of("difficult") or "0"
    if difficult not in {"0", "1"}:
        raise ValueError(f"difficult is 0 or 1, not {difficult!r}")
    turned = item.find("robndbox")
    if turned is not None:
        obb = np.array([_values(turned, ("cx", "cy", "w", "h", "angle"))])
        corners = tuple(float(value) for value in obb_to_corners(obb).ravel())
        return Row(item.line, name, corners, None, difficult == "1")
    box = item.find("bndbox")
    if box is None:
        raise ValueError("the object has no bndbox")
    left, top, right, bottom = _values(box, ("xmin", "ymin", "xmax", "ymax"))
    return Row(item.line, name, None, (left, top, right - left, bottom - top), difficult == "1")


def _values(node: _Node, keys: tuple[str, ...]) -> list[float]:
    values = []
    for key in keys:
        text = node.text_of(key)
        if text is None:
            raise ValueError(f"{key} is missing")
        try:
            values.append(number(text))
        except ValueError:
            raise ValueError(f"{key} is not a finite number: {text!r}") from None
    return values


def _parse(path: Path) -> _Node:
    """Parse XML into nodes that know their line.

    Raises:
        DataError: if it is broken, nested deeply, or has a document type.
    """
    parser = expat.ParserCreate()
    parser.buffer_text = True
    open_nodes = [_Node("", 0)]

    def start(name: str, _: dict[str, str]) -> None:
        if len(open_nodes) > _DEPTH:
            where = f"{path}:{parser.CurrentLineNumber}"
            raise DataError("is nested too deeply", where=where)
        node = _Node(name, parser.CurrentLineNumber)
        open_nodes[-1].children.append(node)
        open_nodes.append(node)

    def text(data: str) -> None:
        open_nodes[-1].text += data

    def refuse(*_: object) -> None:
        where = f"{path}:{parser.CurrentLineNumber}"
        raise DataError("has a document type (DOCTYPE): refused", where=where)

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: open_nodes.pop()
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(read_bytes(path), True)
    except expat.ExpatError as error:
        what = f"broken XML: {expat.errors.messages[error.code]}"
        raise DataError(what, where=f"{path}:{error.lineno}") from error
    except (ValueError, LookupError) as error:
        raise DataError(f"broken XML: {error}", where=path) from error
    root = open_nodes[0].children[0]
    nested = [child.name for child in root.children if child.children]
    refuse_xml(path, root.name, root.line, nested, empty=root.find("object") is None)
    return root


def write(folder: Path, annotations: Annotations) -> None:
    """Write ``folder/Annotations/*.xml`` and ``folder/classes.txt``.

    An oriented object has its box (``robndbox``) and the upright one around it.
    """
    names = [item.name for item in annotations.categories]
    for image, rows in zip(annotations.images, annotations.rows_by_image(), strict=True):
        target = folder / LABELS / f"{stem_of(image.file_name)}.xml"
        lines = [
            "<annotation>",
            f"  <filename>{escape(image.file_name)}</filename>",
            f"  <size><width>{image.width}</width><height>{image.height}</height>"
            "<depth>3</depth></size>",
        ]
        for row in rows.tolist():
            lines += _object(annotations, row, names)
        write_text(target, "\n".join([*lines, "</annotation>", ""]))
    write_text(folder / CLASSES_FILE, "".join(f"{name}\n" for name in names))


def _object(annotations: Annotations, row: int, names: list[str]) -> Iterator[str]:
    label = int(annotations.labels[row])
    yield "  <object>"
    yield f"    <name>{escape(IGNORE_NAME if label == REGION else names[label])}</name>"
    yield f"    <difficult>{int(annotations.ignore[row])}</difficult>"
    x, y, w, h = annotations.xywh[row].tolist()
    box = zip(("xmin", "ymin", "xmax", "ymax"), (x, y, x + w, y + h), strict=True)
    yield "    <bndbox>" + "".join(_tag(key, value) for key, value in box) + "</bndbox>"
    if annotations.obb is not None:
        turned = zip(("cx", "cy", "w", "h", "angle"), annotations.obb[row].tolist(), strict=True)
        yield "    <robndbox>" + "".join(_tag(key, value) for key, value in turned) + "</robndbox>"
    yield "  </object>"


def _tag(key: str, value: float) -> str:
    return f"<{key}>{short(value)}</{key}>"
