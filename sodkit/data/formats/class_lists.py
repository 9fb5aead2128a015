"""Files that list class names: in YOLO a class's number is its position in the list."""

from __future__ import annotations

from pathlib import Path

import msgspec

from sodkit.data.formats.folders import child, files_below, is_file, is_folder
from sodkit.data.formats.source import decode_json, read_bytes, read_lines
from sodkit.data.naming import class_names
from sodkit.errors import DataError

CLASSES_FILE = "classes.txt"
LABEL_MAP = "labelmap.txt"
"""CVAT's list in its Pascal VOC export: ``# label:color_rgb:parts:actions``, then such lines."""
CLASS_FILES = (
    CLASSES_FILE, "predefined_classes.txt", "labels.txt", "class_names.txt", LABEL_MAP,
    "_darknet.labels",
)  # fmt: skip
"""Lists of class names, one a line, likeliest first; then any ``*.names``."""
NOTES_FILE = "notes.json"
"""Label Studio's list of class names."""

_NOTES_FORM = 'it holds {"categories": [{"id": 0, "name": "car"}]}, the ids 0, 1, 2 ...'
_BACKGROUND = "background"
"""The first class of CVAT's list, which no object has."""


class _Named(msgspec.Struct):
    id: int
    name: str


class _Notes(msgspec.Struct):
    categories: list[_Named]


def is_class_list(name: str) -> bool:
    """Return whether a file of this name lists classes."""
    return name.lower() in (*CLASS_FILES, NOTES_FILE)


def listed_classes(place: Path) -> tuple[str, ...] | None:
    """Return the class names that a file in this folder lists, None if there is none.

    The files are ``CLASS_FILES``, darknet's ``*.names`` and Label Studio's ``notes.json``.

    Raises:
        DataError: if such a file is broken or names a class twice.
    """
    names = list(files_below(place, (".names",), below=False)) if is_folder(place) else []
    for file in (*(child(place, name) for name in CLASS_FILES), *names):
        if is_file(file):
            return read_class_list(file)
    notes = place / NOTES_FILE
    if not is_file(notes):
        return None
    content = decode_json(read_bytes(notes), _Notes, notes, form=_NOTES_FORM)
    items = sorted(content.categories, key=lambda item: item.id)
    if [item.id for item in items] != list(range(len(items))):
        raise DataError("the ids of the classes leave one out", where=notes, hint=_NOTES_FORM)
    return tuple(item.name for item in items)


def classes_named(text: str) -> tuple[str, ...]:
    """Return the class names of an option: of a text file, one a line, or with commas between.

    Raises:
        DataError: as ``read_class_list``, also if a name that ends in .txt is no file.
    """
    path = Path(text)
    if is_file(path) or path.suffix.lower() == ".txt":
        return read_class_list(path)
    return class_names(text)


def read_class_list(path: Path) -> tuple[str, ...]:
    """Return the class names of a text file, one a line.

    Raises:
        DataError: if it is not text, names a class twice or has an empty line between names.
    """
    lines = read_lines(path)
    if path.name.lower() == LABEL_MAP:
        texts = [text.split(":")[0].strip() for text in lines if not text.lstrip().startswith("#")]
        lines = [text for text in texts if text and text != _BACKGROUND]
    while lines and not lines[-1].strip():
        lines.pop()
    names: dict[str, int] = {}
    for line, text in enumerate(lines, start=1):
        name = text.strip()
        if not name:
            raise DataError(
                "an empty line between class names: what class has this number?",
                where=f"{path}:{line}",
                hint="remove the line, or write a name into it",
            )
        if name in names:
            raise DataError(f"the class {name!r} occurs twice", where=f"{path}:{line}")
        names[name] = line
    return tuple(names)
