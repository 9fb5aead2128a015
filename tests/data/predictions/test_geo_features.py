"""Boxes at known places come out there, with their size on the ground."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from sodkit.data.images.georeference import georeference, metres
from sodkit.data.predictions.geo_features import GeoPlan, System, check_geo_path, write_geo
from sodkit.data.records import Category, Detections, ImageRecord
from sodkit.errors import ImageError, MissingExtraError, UsageError
from sodkit.geometry.rotated import obb_to_corners, obb_to_xywh

rasterio = pytest.importorskip("rasterio", reason="the extra geo is not installed")

CLASSES = (Category(3, "car"), Category(7, "ship"))
PX, EAST, NORTH = 0.5, 500_000.0, 5_300_000.0
"""Of a pixel, in m; and where the image's left edge (on UTM's middle meridian) and top edge lie."""
SCALE = 0.9996
"""UTM's, on that meridian: a metre on the ground is so long in the coordinates."""


def raster(path: Path, crs: str | None = "EPSG:32632", north_up: bool = True) -> Path:
    affine = rasterio.Affine(PX, 0, EAST, 0, -PX, NORTH)
    if not north_up:
        affine = rasterio.Affine(0, PX, EAST, PX, 0, NORTH)
    with rasterio.open(
        path, "w", driver="GTiff", width=64, height=48, count=1, dtype="uint8", crs=crs,
        transform=affine,
    ) as file:  # fmt: skip
        file.write(np.zeros((1, 48, 64), np.uint8))
    return path


def detections(image: int = 1, *, oriented: bool = False) -> Detections:
    obb = np.array([[10.0, 20, 8, 4, 0.3], [40, 30, 12, 6, -1.2]])
    return Detections(
        np.array([image, image]), np.array([0, 1]), np.array([0.9, 0.25]),
        obb_to_xywh(obb) if oriented else np.array([[6.0, 18, 8, 4], [34, 27, 12, 6]]),
        obb if oriented else None,
    )  # fmt: skip


def written(
    path: Path, system: System, parts: list[Detections], places: dict[int, Any]
) -> dict[str, Any]:
    images = [ImageRecord(number, f"{number}.tif", 64, 48) for number in places]
    write_geo(GeoPlan(path, system, places), parts, images, CLASSES)
    content: dict[str, Any] = json.loads(path.read_text())
    return content


@pytest.mark.parametrize("oriented", [False, True])
def test_polygons_lie_where_the_pixels_do(oriented: bool, tmp_path: Path) -> None:
    place = georeference(raster(tmp_path / "1.tif"))
    found = detections(oriented=oriented)
    content = written(tmp_path / "a.geojson", "raster", [found], {1: place})
    assert content["crs"]["properties"]["name"] == "urn:ogc:def:crs:EPSG::32632"
    boxes = [shapely.box(6, 18, 14, 22), shapely.box(34, 27, 46, 33)]
    if found.obb is not None:
        boxes = list(map(shapely.Polygon, obb_to_corners(found.obb)))
    for feature, box in zip(content["features"], boxes, strict=True):
        ring = np.array(feature["geometry"]["coordinates"][0])
        assert (ring[0] == ring[-1]).all()
        assert shapely.is_ccw(shapely.LinearRing(ring))
        back = shapely.Polygon(np.stack([(ring[:, 0] - EAST) / PX, (NORTH - ring[:, 1]) / PX], 1))
        assert back.symmetric_difference(box).area < 1e-2
    first = content["features"][0]["properties"]
    names = ("image", "class", "class_id", "score", "width_px", "height_px")
    assert [first[name] for name in names] == ["1.tif", "car", 3, 0.9, 8, 4]
    assert first["width_m"] == pytest.approx(8 * PX / SCALE, rel=1e-6)
    assert first["height_m"] == pytest.approx(4 * PX / SCALE, rel=1e-6)


def test_longitude_and_latitude(tmp_path: Path) -> None:
    """The image's left edge is 9 degrees east; what is north of there is not west or east of it."""
    place = georeference(raster(tmp_path / "1.tif"))
    found = replace(detections(), xywh=np.array([[0.0, 0, 10, 8], [0, 40, 10, 8]]))
    content = written(tmp_path / "a.geojson", "wgs84", [found], {1: place})
    assert "crs" not in content
    rings = np.array([f["geometry"]["coordinates"][0] for f in content["features"]])
    assert rings[..., 0].min() == pytest.approx(9, abs=1e-9)
    north, south = rings[0, :, 1].max(), rings[1, :, 1].min()
    assert 47 < south < north < 48
    line = np.array([[[9.0, north], [9.0, south]]])
    assert metres(line)[0] == pytest.approx(48 * PX / SCALE, rel=1e-6)
    assert [f["properties"]["width_m"] for f in content["features"]] == pytest.approx(
        [10 * PX / SCALE] * 2, rel=1e-6
    )


def test_degrees_in_metres() -> None:
    """A minute of latitude and of longitude, as tables of WGS84 have them."""
    minute = 1 / 60
    lines = np.array([
        [[0, -minute / 2], [0, minute / 2]], [[0, 45 - minute / 2], [0, 45 + minute / 2]],
        [[0, 0], [minute, 0]], [[180 - minute / 2, 60], [-180 + minute / 2, 60]],
    ])  # fmt: skip
    assert metres(lines).tolist() == pytest.approx([1842.905, 1852.22, 1855.325, 930.0], abs=0.3)


def test_an_image_that_is_turned(tmp_path: Path) -> None:
    place = georeference(raster(tmp_path / "1.tif", north_up=False))
    content = written(tmp_path / "a.geojson", "raster", [detections()], {1: place})
    ring = shapely.Polygon(content["features"][0]["geometry"]["coordinates"][0])
    assert shapely.is_ccw(shapely.LinearRing(ring.exterior))
    assert ring.bounds == (EAST + 9, NORTH + 3, EAST + 11, NORTH + 7)


def test_several_images_in_parts(tmp_path: Path) -> None:
    one = georeference(raster(tmp_path / "1.tif"))
    other = georeference(raster(tmp_path / "2.tif", "EPSG:32633"))
    places = {1: one, 2: other}
    both = Detections.concatenate([detections(1), detections(2)])
    content = written(tmp_path / "a.geojson", "wgs84", [Detections.empty(), both], places)
    names = [feature["properties"]["image"] for feature in content["features"]]
    assert names == ["1.tif", "1.tif", "2.tif", "2.tif"]
    with pytest.raises(UsageError, match="different coordinate systems"):
        GeoPlan(tmp_path / "a.geojson", "raster", places)


def test_an_image_without_a_place(tmp_path: Path) -> None:
    raster(tmp_path / "1.tif", crs=None)
    with pytest.raises(ImageError, match=r"1\.tif: the image has no coordinate system"):
        georeference(tmp_path / "1.tif")
    from sodkit.data.images.decoding import write_image

    write_image(tmp_path / "a.png", np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(ImageError, match="has no georeference") as caught:
        georeference(tmp_path / "a.png")
    assert caught.value.exit_code == 3
    with pytest.raises(ImageError, match=r"no such file\.tif"):
        georeference(tmp_path / "no such file.tif")


def test_files_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"neither \.geojson nor \.gpkg"):
        check_geo_path(tmp_path / "a.json", overwrite=False)
    path = tmp_path / "a.geojson"
    written(path, "wgs84", [detections()], {1: georeference(raster(tmp_path / "1.tif"))})
    with pytest.raises(UsageError, match="exists already"):
        check_geo_path(path, overwrite=False)
    check_geo_path(path, overwrite=True)
    for other in ("b.geojson", "b.gpkg"):
        (tmp_path / other).write_text('{"type": "FeatureCollection", "features": []}')
        with pytest.raises(UsageError, match="is no file of detections"):
            check_geo_path(tmp_path / other, overwrite=True)
    monkeypatch.setattr("sodkit.data.predictions.geo_features.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError):
        check_geo_path(tmp_path / "c.gpkg", overwrite=False)


@pytest.mark.parametrize("count", [0, 2])
def test_a_geopackage_has_the_same_polygons(count: int, tmp_path: Path) -> None:
    pyogrio = pytest.importorskip("pyogrio", reason="the extra geo is not installed")
    place = georeference(raster(tmp_path / "1.tif"))
    found = detections(oriented=True).take(np.arange(count))
    parts = [Detections.empty("oriented"), found, found]
    path = tmp_path / "a.gpkg"
    write_geo(
        GeoPlan(path, "raster", {1: place}), parts, [ImageRecord(1, "1.tif", 64, 48)], CLASSES
    )  # fmt: skip
    meta, _, shapes, columns = pyogrio.raw.read(path, layer="detections")
    assert "32632" in meta["crs"]
    assert len(shapes) == 2 * count
    content = written(tmp_path / "a.geojson", "raster", parts, {1: place})
    rows = [f["properties"] for f in content["features"]]
    for name, column in zip(meta["fields"], columns, strict=True):
        assert column.tolist() == [row[name] for row in rows]
    for shape, feature in zip(shapes, content["features"], strict=True):
        polygon = shapely.Polygon(feature["geometry"]["coordinates"][0])
        assert shapely.equals(shapely.from_wkb(shape), polygon)
    check_geo_path(path, overwrite=True)
    assert [p.name for p in tmp_path.glob("*tmp*")] == []
