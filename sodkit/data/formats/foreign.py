"""Formats that are not read: the signs they are known by, and what to export instead."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import msgspec

from sodkit.data.formats.class_lists import is_class_list
from sodkit.data.formats.folders import files_below
from sodkit.data.formats.source import read_bytes
from sodkit.data.naming import LOWER_SUFFIXES
from sodkit.errors import DataError
from sodkit.json_text import encoding_fault

_JSON_FILES = 20
"""So many JSON files of a folder are looked into."""

_MOST = 64 * 1024 * 1024
"""Bytes of a JSON that is looked into: the files of labelling tools are smaller."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """A format that is not read: its name, and what to do with it."""

    name: str
    advice: str


_COCO = "export it as COCO JSON"
_TT100K = "convert it to COCO JSON; its boxes are xmin, ymin, xmax, ymax"
_JSON: tuple[tuple[frozenset[str], Foreign], ...] = tuple(
    (frozenset(keys.split()), Foreign(name, advice))
    for keys, name, advice in (
        ("shapes imagePath", "labelme JSON", "convert it with labelme's labelme2coco.py"),
        ("data annotations", "Label Studio JSON", f"{_COCO} or YOLO from Label Studio"),
        ("data completions", "Label Studio JSON", f"{_COCO} or YOLO from Label Studio"),
        ("id annotator image", "Label Studio JSON-MIN", f"{_COCO} or YOLO from Label Studio"),
        ("_via_img_metadata", "a project of VIA", f"{_COCO} in VIA (Annotation menu)"),
        ("filename regions", "VIA JSON", f"{_COCO} in VIA (Annotation menu)"),
        ("image annotations", "CreateML JSON", "export it as COCO JSON or YOLO where it was made"),
        (
            "types imgs",
            "TT100K JSON",
            _TT100K,
        ),
        ("imgs", "TT100K JSON", _TT100K),
        ("imgHeight imgWidth objects", "Cityscapes JSON", "convert it to COCO JSON"),
        ("dataset items", "Datumaro JSON", "convert it with datumaro: datum convert -f coco"),
        ("categories items", "Datumaro JSON", "convert it with datumaro: datum convert -f coco"),
        ("description objects size", "Supervisely JSON", f"{_COCO} from Supervisely"),
        ("data_row projects", "Labelbox NDJSON", f"{_COCO} with labelbox's converter"),
        ("samples", "FiftyOne JSON", "export it from FiftyOne as COCODetectionDataset"),
        ("type features", "GeoJSON", "convert it to COCO JSON in pixels of the images"),
    )
)
_TABLES = "tables are not read: export COCO JSON, YOLO or Pascal VOC XML instead"
_UNPACK = "unpack it, and give the folder"
_SUFFIXES = {
    ".zip": _UNPACK, ".gz": _UNPACK, ".tgz": _UNPACK, ".tar": _UNPACK, ".rar": _UNPACK,
    ".7z": _UNPACK, ".bz2": _UNPACK, ".xz": _UNPACK,
    ".csv": _TABLES,
    ".tsv": _TABLES,
    ".xlsx": _TABLES,
    ".jsonl": "JSON lines are not read: export COCO JSON instead",
    ".ndjson": "JSON lines are not read: export COCO JSON instead",
    ".tfrecord": "TFRecord is not read: export COCO JSON, YOLO or Pascal VOC XML instead",
    ".parquet": "Parquet is not read: export COCO JSON, YOLO or Pascal VOC XML instead",
    ".arrow": "Arrow is not read: export COCO JSON, YOLO or Pascal VOC XML instead",
    ".mat": "MATLAB files are not read: write COCO JSON instead",
    ".pkl": "pickles are never opened: write COCO JSON instead",
    ".npy": "arrays are not read as annotations: write COCO JSON instead",
    ".lst": "lists of RecordIO are not read: export COCO JSON instead",
    ".db": "databases are not read: export COCO JSON instead",
}  # fmt: skip
"""Suffixes of what is not read, and what to do instead."""
_LISTED = 2000
"""So many files are looked at to say what a folder holds."""
_KINDS = 6
"""So many suffixes are named, and so many texts looked into."""
_SHOWN = 60
"""Characters of a line that a message shows."""
_TRACKS = (9, 10)
"""Numbers of a line of MOTChallenge's and VisDrone's text of videos."""

_TEXT = (
    "a line of YOLO is class cx cy w h, of DOTA eight numbers, a class and 0 or 1, all between "
    "blanks; --format yolo or dota lists what is wrong in which line"
)

_XML = {
    "annotations": Foreign("CVAT XML", "export COCO 1.0 or YOLO 1.1 from CVAT"),
    "dataset": Foreign("dlib or imglab XML", "export Pascal VOC or COCO from imglab"),
    "tagset": Foreign("tagging XML", "export Pascal VOC XML or COCO JSON where it was made"),
}
_VOC = {
    "folder", "filename", "path", "source", "size", "segmented", "owner", "object", "database",
}  # fmt: skip
"""Elements of a Pascal VOC file."""


def held_by(path: Path) -> tuple[str, str | None]:
    """Return what a file or folder holds that is of no known format, and what to do about it.

    The former counts files by suffix and quotes the first line of a text.
    """
    if path.is_file() and path.suffix.lower() in _SUFFIXES:
        return f"it is a {path.suffix} file", _SUFFIXES[path.suffix.lower()]
    files = [path] if path.is_file() else list(islice(files_below(path, ("",)), _LISTED))
    counts = Counter(file.suffix.lower() or file.name for file in files)
    if not counts:
        return "it holds no file", None
    many = "or more " if len(files) == _LISTED else ""
    kinds = ", ".join(f"{count} {many}{kind}" for kind, count in counts.most_common(_KINDS))
    advice = next((_SUFFIXES[kind] for kind in counts if kind in _SUFFIXES), None)
    if advice is None and set(counts) <= {*LOWER_SUFFIXES}:
        return f"it holds {kinds}: images, no labels", None
    texts = [
        file for file in files if file.suffix.lower() == ".txt" and not is_class_list(file.name)
    ][:_KINDS]
    line = next(filter(None, map(_first_line, texts)), "its text files are empty" if texts else "")
    return f"it holds {kinds}{line and '; '}{line}", advice or (_TEXT if line else None)


def _first_line(path: Path) -> str:
    """Say how the first line of a text looks that is not empty, nothing if there is none."""
    try:
        data = read_bytes(path)
        text = data.decode()
    except DataError:
        return ""
    except UnicodeDecodeError:
        return f"{path} {encoding_fault(data)}"
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    if not line:
        return ""
    short = line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."
    sign = "," if "," in line else None
    values = line.strip(",").split(sign)
    what = f"{path} has {len(values)} values a line: {short!r}"
    if sign and len(values) in _TRACKS and not re.search(r"[^-\d., ]", line):
        what += ", as text of videos (MOTChallenge, VisDrone-VID), which is not read"
    return what


def foreign_json(path: Path) -> Foreign | None:
    """Return the format that is not read whose signs a JSON has, None if it has none.

    A list, or a mapping of values alike, is judged by its first item.
    """
    try:
        if path.suffix.lower() != ".json" or path.stat().st_size > _MOST:
            return None
        value = msgspec.json.decode(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if isinstance(value, list) and value:
        return _signs_of(value[0])
    found = _signs_of(value)
    if found is None and isinstance(value, dict) and value:
        return _signs_of(next(iter(value.values())))
    return found


def _signs_of(value: object) -> Foreign | None:
    if not isinstance(value, dict):
        return None
    return next((item for keys, item in _JSON if keys <= value.keys()), None)


def refuse_json(path: Path, *, below: bool = False) -> None:
    """Raise DataError if a JSON, or one right in a folder, is of a format that is not read.

    Args:
        path: a file or folder.
        below: look into the folder's subfolders, too.
    """
    files = [path] if path.is_file() else files_below(path, (".json",), below=below)
    for file in islice(files, _JSON_FILES):
        found = foreign_json(file)
        if found is not None:
            raise DataError(
                f"looks like {found.name}, which is not read", where=file, hint=found.advice
            )


def refuse_xml(path: Path, root: str, line: int, nested: list[str], *, empty: bool) -> None:
    """Raise DataError if an XML is of a tool whose files are not read, or has no objects for us.

    Args:
        path: the file.
        root: name of its root element.
        line: where that stands.
        nested: names of the elements in it that hold elements.
        empty: it has no ``object``.
    """
    where = f"{path}:{line}"
    if root != "annotation":
        found = _XML.get(root)
        if found is None:
            return
        raise DataError(
            f"the XML is of {root!r}, Pascal VOC's of 'annotation'; it looks like {found.name}, "
            "which is not read",
            where=where,
            hint=found.advice,
        )
    other = [name for name in nested if name not in _VOC]
    if empty and other:
        raise DataError(
            f"has no 'object' where Pascal VOC has its objects, but {other[0]!r}",
            where=where,
            hint="is it of another format? export Pascal VOC XML or COCO JSON where it was made",
        )
