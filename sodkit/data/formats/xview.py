"""xView's GeoJSON: one file, an object a feature.

``properties`` of a feature have ``image_id`` (the image's file name), ``bounds_imcoords``
(``xmin,ymin,xmax,ymax`` in px) and ``type_id``. Two type ids, 75 and 82, have no class in the
release, and some boxes have no size or lie outside their image: these are left out with a note.

Image sizes are those of the images. Those without a feature are read as images without object.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath

import msgspec

from sodkit.data.formats.assemble import Collected
from sodkit.data.formats.folders import image_folders, images_below, is_file, numbers
from sodkit.data.formats.labels import LabelFile, Row, gather
from sodkit.data.formats.resolve import meant_files, note_renamed
from sodkit.data.formats.source import (
    MissingImageError,
    Report,
    decode_json,
    decode_list,
    leads_elsewhere,
    number,
    quoted,
    read_bytes,
    stated_name,
    stop,
)
from sodkit.data.images.decoding import image_size
from sodkit.data.records import ImageRecord, Note
from sodkit.errors import DataError
from sodkit.json_text import Id

NAMES = {
    11: "Fixed-wing Aircraft", 12: "Small Aircraft", 13: "Cargo Plane", 15: "Helicopter",
    17: "Passenger Vehicle", 18: "Small Car", 19: "Bus", 20: "Pickup Truck", 21: "Utility Truck",
    23: "Truck", 24: "Cargo Truck", 25: "Truck w/Box", 26: "Truck Tractor", 27: "Trailer",
    28: "Truck w/Flatbed", 29: "Truck w/Liquid", 32: "Crane Truck", 33: "Railway Vehicle",
    34: "Passenger Car", 35: "Cargo Car", 36: "Flat Car", 37: "Tank car", 38: "Locomotive",
    40: "Maritime Vessel", 41: "Motorboat", 42: "Sailboat", 44: "Tugboat", 45: "Barge",
    47: "Fishing Vessel", 49: "Ferry", 50: "Yacht", 51: "Container Ship", 52: "Oil Tanker",
    53: "Engineering Vehicle", 54: "Tower crane", 55: "Container Crane", 56: "Reach Stacker",
    57: "Straddle Carrier", 59: "Mobile Crane", 60: "Dump Truck", 61: "Haul Truck",
    62: "Scraper/Tractor", 63: "Front loader/Bulldozer", 64: "Excavator", 65: "Cement Mixer",
    66: "Ground Grader", 71: "Hut/Tent", 72: "Shed", 73: "Building", 74: "Aircraft Hangar",
    76: "Damaged Building", 77: "Facility", 79: "Construction Site", 83: "Vehicle Lot",
    84: "Helipad", 86: "Storage Tank", 89: "Shipping container lot", 91: "Shipping Container",
    93: "Pylon", 94: "Tower",
}  # fmt: skip
"""The 60 classes by type id (xView's ``xview_class_labels.txt``)."""

UNNAMED = (75, 82)
"""Type ids of the release that have no class."""


_FORM = "an xView file is an object with features, a list"
_FEATURE_FORM = "a feature has properties: image_id, bounds_imcoords and type_id"


class _Properties(msgspec.Struct, gc=False):
    image_id: str
    bounds_imcoords: str
    type_id: Id


class _Feature(msgspec.Struct, gc=False):
    properties: _Properties


class _File(msgspec.Struct):
    features: list[msgspec.Raw]


def collect(path: Path, *, images: Path | None = None, report: Report = stop) -> Collected:
    """Read a file of xView.

    Args:
        path: the GeoJSON file.
        images: the folder of the images (None: looked for beside ``path``).
        report: called with every feature that is wrong, and every image that is missing.

    Raises:
        DataError: anything missing or wrong, with the JSON path.
    """
    content = decode_json(read_bytes(path), _File, path, form=_FORM)
    rows: dict[str, list[Row]] = {}
    unnamed = 0
    features = decode_list(content.features, _Feature, path, "features", report, form=_FEATURE_FORM)
    for position, feature in features:
        where = f"{path}: features[{position}]"
        if feature.properties.type_id in UNNAMED:
            unnamed += 1
            continue
        try:
            name = stated_name(feature.properties.image_id, where)
            rows.setdefault(name, []).append(_row(feature.properties, position))
        except ValueError as error:
            report(DataError(str(error), where=where), "form")
        except DataError as error:
            report(error, "form")
    rows = _of_files(rows, path, images, report)
    found = gather(path, _files(path, rows, images, report), tuple(NAMES.values()), report)
    note = Note("no-class", f"{unnamed} features of types 75 and 82, no classes, are left out")
    return replace(found, release="xView", notes=(note,) if unnamed else ())


def _of_files(
    rows: dict[str, list[Row]], path: Path, images: Path | None, report: Report
) -> dict[str, list[Row]]:
    """Return rows by the names that the images' files have."""
    meant = meant_files(list(rows), path, images)
    found: dict[str, list[Row]] = {}
    for name, own in rows.items():
        file = meant.get(name, name)
        found.setdefault(PurePosixPath(file).name if leads_elsewhere(file) else file, []).extend(
            own
        )
    note_renamed([(name, file) for name, file in meant.items() if name != file], path, report)
    return found


def _row(properties: _Properties, position: int) -> Row:
    """Read a feature.

    Raises:
        ValueError: if its class or its bounds are none, saying what.
    """
    name = NAMES.get(properties.type_id)
    if name is None:
        raise ValueError(f"type_id {properties.type_id} is none of xView's 60 classes")
    try:
        left, top, right, bottom = map(number, properties.bounds_imcoords.split(","))
    except ValueError:
        text = properties.bounds_imcoords
        raise ValueError(f"bounds_imcoords are four numbers, not {quoted(text)}") from None
    return Row(position, name, xywh=(left, top, right - left, bottom - top))


def _files(
    path: Path, rows: dict[str, list[Row]], images: Path | None, report: Report
) -> list[LabelFile]:
    """Return the images with their objects, those without a feature too."""
    folders = image_folders(path) if images is None else [images]
    folder = next((one for one in folders for name in rows if is_file(one / name)), folders[0])
    there = set(images_below(folder).values()) if folder.is_dir() else set()
    names = sorted(rows | dict.fromkeys(there if rows.keys() & there else ()))
    ids = numbers([Path(name).stem for name in names])
    files = []
    for name in names:
        stem, record = Path(name).stem, None
        try:
            if name not in there:
                what = "there is no image of this name, and xView does not state an image's size"
                hint = f"looked in {folder}; --images names another folder"
                raise MissingImageError(f"{what}: {name}", stem=name, where=path, hint=hint)
            record = ImageRecord(ids[stem], name, *image_size(folder / name))
        except MissingImageError as error:
            report(error, "missing")
        except DataError as error:
            report(error, "form")
            continue
        files.append(LabelFile(path, name, record, rows.get(name, []), ": features[{}]"))
    return files
