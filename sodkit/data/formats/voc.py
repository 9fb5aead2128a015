"""Pascal VOC and releases of like layout: an XML file an image in a folder.

``filename`` and ``size`` (width, height) of the image; each ``object`` has a ``name``, a ``bndbox``
(xmin, ymin, xmax, ymax) and perhaps ``difficult``: 1 is neither right nor wrong to detect. The
class ``ignore`` holds ignore regions. An object with ``robndbox`` (cx, cy, w, h, angle in radians,
clockwise), as labelling tools for oriented boxes write, is oriented; so is one of the corners that
DIOR-R and MAR20 have. FAIR1M and HRSC2016 are read, too: ``xml_layouts`` says where they have what.

Numbers are continuous coordinates as they stand, the width is xmax - xmin: labelling tools write
them so, though VOC itself counts pixels from 1.

What is not stated is taken from the image with the file's stem. A file with a document type is
refused: it could define entities without end.

Classes without a ``classes.txt``: those of Pascal VOC if these hold all names that occur and half
of them do, otherwise the names that occur, sorted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from xml.parsers import expat
from xml.sax.saxutils import escape

from sodkit.data.formats import xml_layouts
from sodkit.data.formats.assemble import IGNORE_NAME, Collected
from sodkit.data.formats.class_lists import CLASSES_FILE
from sodkit.data.formats.dota import short
from sodkit.data.formats.folders import DEEPER, stem_of
from sodkit.data.formats.foreign import refuse_xml
from sodkit.data.formats.labels import (
    ImageFinder,
    Row,
    collect_labels,
)
from sodkit.data.formats.resolve import note_renamed
from sodkit.data.formats.source import (
    Oddity,
    Report,
    number,
    quoted,
    read_bytes,
    stated_name,
    stop,
)
from sodkit.data.formats.subsets import image_sets, read_stems
from sodkit.data.formats.xml_layouts import LAYOUTS, Layout, Node, items, layout_of, row_of
from sodkit.data.records import REGION, Annotations, ImageRecord
from sodkit.errors import DataError
from sodkit.files import write_text

LABELS = "Annotations"
FOLDERS = (LABELS, "labelXml", "labelXmls")
"""Folders of labels below a data set's, FAIR1M's too."""
_EXPATS = (b"utf-8", b"utf-16", b"iso-8859-1", b"us-ascii")
"""Encodings that expat reads."""

_BROKEN = {
    "no element found": "the file is empty, or ends too early",
    "unclosed token": "the file ends inside an element",
    "mismatched tag": "the end of an element that is not open",
    "junk after document element": "text after the end of the outermost element",
    "undefined entity": "an & that is not written &amp;",
    "syntax error": "the file does not begin with an element",
    "not well-formed (invalid token)":
        "a character that cannot stand here; & is written &amp;, < is written &lt;, and text is "
        "UTF-8 unless the first line states another encoding",
}  # fmt: skip
"""What expat says, and what is wrong in the file."""

_SIDE = 1_000_000
_DEPTH = 50

CLASSES = (
    ("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
     "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
     "tvmonitor"),
)  # fmt: skip
"""The classes of Pascal VOC."""


def collect(
    path: Path, *, images: Path | None = None, report: Report = stop, subset: str | None = None
) -> Collected:
    """Read a folder of Pascal VOC files, the folder with ``Annotations``, or one file.

    Args:
        path: the folder or file.
        images: the folder of the images, needed where names or sizes are not stated (None: looked
            for beside ``path``).
        report: called with every file or object that is wrong.
        subset: read only the images of this list in ``ImageSets/Main``; None: all.

    Raises:
        DataError: anything missing or wrong, with the file and line.
    """
    only = _listed(path, subset, report)
    path = next((path / name for name in FOLDERS if (path / name).is_dir()), path)
    kinds = [path / name for name in DEEPER if (path / name).is_dir()]
    if len(kinds) > 1:
        raise DataError(
            "holds the same objects twice, as upright and as oriented boxes",
            where=path,
            hint=f"give one of them: {' or '.join(repr(str(kind)) for kind in kinds)}",
        )
    presets = (*CLASSES, *xml_layouts.CLASSES)
    renamed: list[tuple[str, str]] = []
    read = partial(_read, renamed=renamed)
    found = collect_labels(path, ".xml", read, presets, images, report, only=only)
    note_renamed(renamed, path, report)
    return found


def _listed(path: Path, subset: str | None, report: Report) -> frozenset[str] | None:
    """Return the stems that a list of images names, None if all are read.

    An ``Oddity`` is reported if there are lists of several subsets and none is chosen.
    """
    folders = () if path.is_file() else (path, path.parent, path.parent.parent)
    lists = next(filter(None, map(image_sets, folders)), {})
    if subset is not None and subset in lists:
        return read_stems(lists[subset])
    if len(lists) > 1:
        folder = next(iter(lists.values())).parent
        what = f"the images of all subsets are read together: {', '.join(lists)}"
        hint = "give the folder above, and --subset to read one"
        report(Oddity(what, where=folder, hint=hint), "subsets")
    return None


def _read(
    path: Path, report: Report, *, renamed: list[tuple[str, str]]
) -> tuple[list[Row], Callable[[ImageFinder, str, int], ImageRecord]]:
    """Read a file; names of images (stated, taken) that differ are added to ``renamed``."""
    root = _parse(path)
    layout = layout_of(root)
    empty = layout is None or not any(True for _ in items(root, layout))
    nested = [child.name for child in root.children if child.children]
    refuse_xml(path, root.name, root.line, nested, empty=empty)
    if layout is None:
        known = ", ".join(f"{item.root!r} ({item.title})" for item in LAYOUTS)
        raise DataError(
            f"the XML is of {root.name!r}, Pascal VOC's of 'annotation'",
            where=f"{path}:{root.line}",
            hint=f"known: {known}",
        )

    def image(finder: ImageFinder, stem: str, number: int) -> ImageRecord:
        name = _stated_name(root, layout, path)
        record = _record(root, layout, path, stem, number, finder, name)
        if name is not None and PurePosixPath(name).suffix and not _is_end(name, record.file_name):
            renamed.append((name, record.file_name))
        return record

    rows = []
    for item in items(root, layout):
        try:
            rows.append(row_of(item, layout))
        except ValueError as error:
            report(DataError(str(error), where=f"{path}:{item.line}"), "form")
    return rows, image


def _stated_name(root: Node, layout: Layout, path: Path) -> str | None:
    name = root.text_of(*layout.file_name)
    if name is not None and layout.suffix is not None:
        name = f"{name}.{root.text_of(*layout.suffix) or ''}"
    return None if name is None else stated_name(name, f"{path}:{root.line}")


def _is_end(end: str, name: str) -> bool:
    return f"/{name}".endswith(f"/{end}")


def _record(
    root: Node, layout: Layout, path: Path, stem: str, number: int, finder: ImageFinder,
    name: str | None,
) -> ImageRecord:  # fmt: skip
    sides = [root.text_of(*side) for side in layout.sides]
    if name is None or (finder.names and name not in finder.names.values()):
        # The stem is the surer one: files are renamed without looking into them.
        name = finder.names.get(stem, name)
    if None in sides or "0" in sides or name is None:
        return finder.record(stem, number, path)
    size = root.find(*layout.sides[0])
    line = root.line if size is None else size.line
    width, height = (_side(text or "", f"{path}:{line}") for text in sides)
    return ImageRecord(number, name, width, height)


def _side(text: str, where: str) -> int:
    try:
        value = number(text)
    except ValueError:
        value = 0
    if not 1 <= value <= _SIDE or value != int(value):
        raise DataError(
            f"an image's side is a whole number from 1 on, not {quoted(text)}", where=where
        )
    return int(value)


def _parse(path: Path) -> Node:
    """Parse XML into nodes that know their line.

    Raises:
        DataError: if it is broken, nested deeply, or has a document type.
    """
    parser = expat.ParserCreate()
    parser.buffer_text = True
    open_nodes = [Node("", 0)]

    def start(name: str, _: dict[str, str]) -> None:
        if len(open_nodes) > _DEPTH:
            where = f"{path}:{parser.CurrentLineNumber}"
            raise DataError("is nested too deeply", where=where)
        node = Node(name, parser.CurrentLineNumber)
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
        parser.Parse(_as_utf8(read_bytes(path)), True)
    except expat.ExpatError as error:
        words = expat.errors.messages[error.code]
        what = f"broken XML: {_BROKEN.get(words, words)}"
        raise DataError(what, where=f"{path}:{error.lineno}") from error
    except (ValueError, LookupError) as error:
        what = "its XML is in an encoding that is not known, or is not in the one it states"
        raise DataError(what, where=path, hint="save it as UTF-8") from error
    return open_nodes[0].children[0]


def _as_utf8(data: bytes) -> bytes | str:
    """Return XML of an encoding that expat does not know, such as GBK, as text.

    Raises:
        LookupError: the encoding is not known.
        ValueError: the text is not in the encoding that it states.
    """
    stated = re.match(rb"""<\?xml[^>]*?encoding=["']([\w.-]+)["']""", data)
    if stated is None or stated[1].lower() in _EXPATS:
        return data
    return data.decode(stated[1].decode())


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
