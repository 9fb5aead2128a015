"""Detections as polygons on earth: GeoJSON or a GeoPackage, with class, score and size."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from sodkit.arrays import FloatArray
from sodkit.data.images.georeference import WGS84, Georeference, metres
from sodkit.data.images.raster import EXTRA
from sodkit.data.records import Category, Detections, ImageRecord
from sodkit.errors import MissingExtraError, UsageError
from sodkit.files import atomic_path
from sodkit.geometry.rotated import obb_to_corners
from sodkit.outputs import check_file

System = Literal["wgs84", "raster"]
LAYER = "detections"
_START = b'{"type":"FeatureCollection","name":"detections",'
_ROWS = 10_000
"""Features that are made at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class GeoPlan:
    """Where and how polygons are written.

    Attributes:
        path: ``.geojson`` or ``.gpkg``.
        system: longitude and latitude of WGS84, or the coordinate system of the images.
        places: where each image lies, by its id.
    """

    path: Path
    system: System
    places: Mapping[int, Georeference]

    def __post_init__(self) -> None:
        systems = {place.crs: place for place in self.places.values()}
        if self.system == "raster" and len(systems) > 1:
            one, other = list(systems.values())[:2]
            raise UsageError(
                f"{one.path} and {other.path} have different coordinate systems", where="--crs",
                hint="--crs wgs84 writes all of them as longitude and latitude",
            )  # fmt: skip
        if self.path.suffix == ".geojson" and self._own is not None and self._own.epsg is None:
            raise UsageError(
                "the images' coordinate system has no EPSG number: GeoJSON cannot name it",
                where="--crs", hint="give --crs wgs84, or a name that ends in .gpkg",
            )  # fmt: skip

    @property
    def _own(self) -> Georeference | None:
        """An image whose coordinate system is written in; None: WGS84, or there is no image."""
        return next(iter(self.places.values()), None) if self.system == "raster" else None

    @property
    def crs(self) -> str:
        """The coordinate system that is written in."""
        return WGS84 if self._own is None else self._own.crs


def check_geo_path(path: Path, *, overwrite: bool) -> None:
    """Raise unless polygons may be written to a file: before predicting.

    Raises:
        UsageError: its ending is neither ``.geojson`` nor ``.gpkg``, or it exists and may not be
            replaced.
        MissingExtraError: the extra ``geo`` is not installed.
    """
    if path.suffix not in (".geojson", ".gpkg"):
        raise UsageError("ends in neither .geojson nor .gpkg", where=path)
    package = "pyogrio" if path.suffix == ".gpkg" else "rasterio"
    for name in ("rasterio", package):
        if find_spec(name) is None:
            raise MissingExtraError(name, EXTRA)
    check_file(path, overwrite=overwrite, is_own=_is_own, what="file of detections")


def _is_own(path: Path) -> bool:
    """Return whether a file looks like one that ``write_geo`` wrote."""
    with path.open("rb") as file:
        if path.suffix == ".geojson":
            return file.read(len(_START)) == _START
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as base:
            return base.execute("SELECT table_name FROM gpkg_contents").fetchall() == [(LAYER,)]
    except sqlite3.Error:
        return False


def write_geo(
    plan: GeoPlan,
    parts: Iterable[Detections],
    images: Sequence[ImageRecord],
    categories: Sequence[Category] | None,
) -> None:
    """Write each detection as a polygon; all or nothing.

    Its properties are ``image``, ``class``, ``class_id`` (not of proposals), ``score``, the box's
    ``width_px`` and ``height_px`` in the image, and ``width_m`` and ``height_m`` on the ground.

    Args:
        plan: the file and its coordinate system.
        parts: detections of these images.
        images: what was predicted on.
        categories: the classes in label order; None for proposals.

    Raises:
        DataError: a place without longitude and latitude.
        SodkitError: the disk is full.
    """
    names = {image.id: image.file_name for image in images}
    chunks = (
        _chunk(plan, rows, plan.places[int(rows.image_ids[0])], names, categories)
        for part in parts
        for rows in _by_image(part)
    )
    with atomic_path(plan.path) as temporary:
        if plan.path.suffix == ".geojson":
            _write_geojson(temporary, plan, chunks)
        else:
            _write_geopackage(temporary, plan, chunks, categories is not None)


@dataclass(frozen=True, slots=True, eq=False)
class _Chunk:
    """Polygons: corners (N, 4, 2), counter-clockwise, and columns (N,) by name."""

    corners: FloatArray
    columns: dict[str, npt.NDArray[Any]]


def _by_image(part: Detections) -> Iterator[Detections]:
    """Yield a part's rows, each time of one image and at most ``_ROWS``."""
    changes = np.flatnonzero(np.diff(part.image_ids)) + 1
    for rows in np.split(np.arange(len(part)), changes):
        for start in range(0, len(rows), _ROWS):
            yield part.take(rows[start : start + _ROWS])


def _chunk(
    plan: GeoPlan,
    rows: Detections,
    place: Georeference,
    names: Mapping[int, str],
    categories: Sequence[Category] | None,
) -> _Chunk:
    if rows.obb is None:
        pixels, sides = _upright_corners(rows.xyxy), rows.xywh[:, 2:]
    else:
        pixels, sides = obb_to_corners(rows.obb), rows.obb[:, 2:4]
    placed = place.place(pixels.reshape(-1, 2))
    degrees = place.degrees(placed).reshape(-1, 4, 2)
    corners = degrees if plan.system == "wgs84" else placed.reshape(-1, 4, 2)
    corners = np.round(corners, 9 if plan.system == "wgs84" or place.geographic else 4)
    columns: dict[str, npt.NDArray[Any]] = {
        "image": np.full(len(rows), names[int(rows.image_ids[0])], object)
    }
    if categories is not None:
        columns["class"] = np.array([c.name for c in categories], object)[rows.labels]
        columns["class_id"] = np.array([c.id for c in categories], np.int64)[rows.labels]
    columns["score"] = rows.scores
    columns["width_px"], columns["height_px"] = sides[:, 0], sides[:, 1]
    columns["width_m"] = metres(degrees[:, [0, 1]])
    columns["height_m"] = metres(degrees[:, [1, 2]])
    return _Chunk(_counter_clockwise(corners), columns)


def _upright_corners(xyxy: FloatArray) -> FloatArray:
    """Return (N, 4, 2): the first side is the width, the second the height."""
    return xyxy[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)


def _counter_clockwise(corners: FloatArray) -> FloatArray:
    """Turn the order of corners round where it is clockwise with y up, as GeoJSON wants it."""
    x, y = corners[..., 0], corners[..., 1]
    doubled = (x * np.roll(y, -1, axis=1) - np.roll(x, -1, axis=1) * y).sum(axis=1)
    return np.where(doubled[:, None, None] < 0, corners[:, ::-1], corners)


def _rings(corners: FloatArray) -> FloatArray:
    return np.concatenate([corners, corners[:, :1]], axis=1)


def _write_geojson(path: Path, plan: GeoPlan, chunks: Iterable[_Chunk]) -> None:
    """Write a feature a line."""
    encode = msgspec.json.Encoder().encode
    system = {}
    if plan.system == "raster" and plan.places:
        number = next(iter(plan.places.values())).epsg
        system = {"type": "name", "properties": {"name": f"urn:ogc:def:crs:EPSG::{number}"}}
    with path.open("wb") as file:
        file.write(_START + (b'"crs":' + encode(system) + b"," if system else b""))
        file.write(b'"features":[')
        before = b"\n"
        for chunk in chunks:
            columns = [column.tolist() for column in chunk.columns.values()]
            rings = _rings(chunk.corners).tolist()
            for ring, values in zip(rings, zip(*columns, strict=True), strict=True):
                feature = {
                    "type": "Feature",
                    "geometry": {"type": "Polygon", "coordinates": [ring]},
                    "properties": dict(zip(chunk.columns, values, strict=True)),
                }
                file.write(before + encode(feature))
                before = b",\n"
        file.write(b"\n]}\n")


def _write_geopackage(
    path: Path, plan: GeoPlan, chunks: Iterable[_Chunk], with_class: bool
) -> None:
    """Write one layer; without detections it is empty, with the same columns."""
    import shapely
    from pyogrio.raw import write

    path.unlink()  # a GeoPackage is made anew, not written over an empty file
    append = False
    for chunk in chain([_no_rows(with_class)], chunks):
        polygons = shapely.polygons(_rings(chunk.corners))
        write(
            str(path), shapely.to_wkb(polygons), list(chunk.columns.values()),
            list(chunk.columns), layer=LAYER, driver="GPKG", geometry_type="Polygon",
            crs=plan.crs, append=append,
        )  # fmt: skip
        append = True


def _no_rows(with_class: bool) -> _Chunk:
    """Return no polygons, with the columns that all have."""
    text, number = np.zeros(0, object), np.zeros(0)
    columns: dict[str, npt.NDArray[Any]] = {"image": text}
    if with_class:
        columns |= {"class": text, "class_id": np.zeros(0, np.int64)}
    names = ("score", "width_px", "height_px", "width_m", "height_m")
    return _Chunk(np.zeros((0, 4, 2)), columns | dict.fromkeys(names, number))
