"""Formats that are not read: the signs they are known by, and what to export instead."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from sodkit.errors import DataError

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
        ("type features", "GeoJSON", "convert it to COCO JSON in pixels of the images"),
    )
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


def refuse_json(path: Path) -> None:
    """Raise DataError if a JSON, or one right in a folder, is of a format that is not read."""
    from sodkit.data.formats.folders import files_below

    files = [path] if path.is_file() else list(files_below(path, (".json",), below=False))[:20]
    for file in files:
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
