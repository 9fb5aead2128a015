"""Where on earth an image's pixels lie, through rasterio (the extra ``geo``)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sodkit.arrays import FloatArray
from sodkit.data.images.raster import EXTRA, open_raster
from sodkit.errors import DataError, ImageError, MissingExtraError

WGS84 = "EPSG:4326"
"""Longitude and latitude in degrees, in this order."""

_AXIS, _FLATTENING = 6_378_137.0, 1 / 298.257223563
"""Of the ellipsoid of WGS84, the axis in m."""


@dataclass(frozen=True, slots=True)
class Georeference:
    """An image's coordinate system and place.

    Attributes:
        path: the file.
        crs: the system, as WKT.
        epsg: its number; None: it has none.
        geographic: its coordinates are degrees.
        affine: (a, b, c, d, e, f): x = a * column + b * row + c, y = d * column + e * row + f;
            columns and rows are px from the top left corner.
    """

    path: Path
    crs: str
    epsg: int | None
    geographic: bool
    affine: tuple[float, float, float, float, float, float]

    def place(self, points: FloatArray) -> FloatArray:
        """Return points (N, 2) in px of the image in its coordinate system."""
        a, b, c, d, e, f = self.affine
        column, row = points[:, 0], points[:, 1]
        return np.stack([a * column + b * row + c, d * column + e * row + f], axis=1)

    def degrees(self, placed: FloatArray) -> FloatArray:
        """Return points (N, 2) in the image's coordinate system as longitude, latitude of WGS84.

        Raises:
            DataError: they have none.
        """
        from rasterio.crs import CRS
        from rasterio.errors import RasterioError
        from rasterio.warp import transform

        try:
            columns = transform(CRS.from_wkt(self.crs), WGS84, placed[:, 0], placed[:, 1])
        except RasterioError as error:
            raise self._no_place() from error
        found = np.array(columns[:2], np.float64).T.reshape(-1, 2)
        if not np.isfinite(found).all():
            raise self._no_place()
        return found

    def _no_place(self) -> DataError:
        return DataError(
            "its coordinates have no longitude and latitude", where=self.path,
            hint="is its coordinate system the right one? gdalinfo shows it",
        )  # fmt: skip


def georeference(path: Path) -> Georeference:
    """Return where an image lies.

    Raises:
        ImageError: it cannot be read, or does not say where it lies.
        MissingExtraError: rasterio is not installed.
    """
    try:
        from rasterio.errors import RasterioError
    except ImportError as error:
        raise MissingExtraError("rasterio", EXTRA) from error
    try:
        with open_raster(path) as raster:
            crs, affine, identity = raster.crs, raster.transform, raster.transform.is_identity
    except RasterioError as error:
        raise ImageError(f"cannot be read: {error}", where=path) from error
    if crs is None or identity:
        lacks = "coordinate system" if crs is None and not identity else "georeference"
        raise ImageError(
            f"the image has no {lacks}", where=path,
            hint="give a GeoTIFF that says where it lies, or leave --geojson away",
        )  # fmt: skip
    return Georeference(path, crs.to_wkt(), crs.to_epsg(), crs.is_geographic, tuple(affine)[:6])


def metres(degrees: FloatArray) -> FloatArray:
    """Return the length (N,) in m of short lines (N, 2, 2) between two longitudes and latitudes.

    On the ellipsoid of WGS84, with its radii of curvature at the middle of the line; for lines of
    less than 10 km the error is below a millionth.
    """
    ends = np.radians(degrees)
    middle = ends[..., 1].mean(axis=1)
    eccentricity = _FLATTENING * (2 - _FLATTENING)
    below = 1 - eccentricity * np.sin(middle) ** 2
    across = _AXIS / np.sqrt(below)
    along = across * (1 - eccentricity) / below
    east = (ends[:, 1, 0] - ends[:, 0, 0] + np.pi) % (2 * np.pi) - np.pi
    north = ends[:, 1, 1] - ends[:, 0, 1]
    return np.asarray(np.hypot(across * np.cos(middle) * east, along * north))
