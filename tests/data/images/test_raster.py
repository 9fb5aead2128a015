"""Windows of rasters have the pixels that are decoded otherwise; what cannot be read is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sodkit.data.images.decoding import read_image, write_image
from sodkit.data.images.pixel_source import PixelSource, file_size, file_source
from sodkit.data.images.raster import Raster, needs_raster
from sodkit.data.images.tiff_header import Layout, tiff_layout
from sodkit.errors import ImageError, MissingExtraError

rasterio = pytest.importorskip("rasterio", reason="the extra geo is not installed")

WIDTH, HEIGHT = 133, 70


def values(bands: int, kind: str) -> np.ndarray:
    rng = np.random.default_rng(bands)
    if kind == "uint16":
        return rng.integers(0, 3000, (HEIGHT, WIDTH, bands)).astype(kind)
    if kind == "float32":
        return rng.uniform(-9, 500, (HEIGHT, WIDTH, bands)).astype(kind)
    return rng.integers(0, 256, (HEIGHT, WIDTH, bands)).astype(kind)


def write(path: Path, image: np.ndarray, **more: Any) -> Path:
    """Write a tiled TIFF in UTM."""
    height, width, bands = image.shape
    profile = {
        "driver": "GTiff", "width": width, "height": height, "count": bands, "dtype": image.dtype,
        "tiled": True, "blockxsize": 64, "blockysize": 64, "crs": "EPSG:32632",
        "transform": rasterio.Affine(0.5, 0, 600_000, 0, -0.5, 5_300_000),
    }  # fmt: skip
    with rasterio.open(path, "w", **(profile | more)) as file:
        file.write(image.transpose(2, 0, 1))
    return path


def read_all(source: PixelSource, side: int = 50) -> np.ndarray:
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for x in range(0, WIDTH, side):
        for y in range(0, HEIGHT, side):
            part = source.read((x, y), side)
            image[y : y + part.shape[0], x : x + part.shape[1]] = part
    return image


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize("compress", ["none", "deflate"])
def test_windows_are_those_of_the_decoded_image(
    kind: str, bands: int, compress: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.tif", values(bands, kind), compress=compress)
    assert needs_raster(path, None)
    source = file_source(path, (WIDTH, HEIGHT))
    assert isinstance(source, Raster)
    np.testing.assert_array_equal(read_all(source), read_image(path))


@pytest.mark.parametrize("kind", ["uint16", "float32"])
def test_a_stated_depth_counts(kind: str, tmp_path: Path) -> None:
    image = np.abs(values(3, kind))
    path = write(tmp_path / "a.tif", image)
    source = file_source(path, (WIDTH, HEIGHT), bit_depth=14)
    np.testing.assert_array_equal(read_all(source), read_image(path, bit_depth=14))
    with pytest.raises(ImageError, match="--bit-depth 8 holds 0 to 255") as caught:
        read_all(file_source(path, (WIDTH, HEIGHT), bit_depth=8))
    assert caught.value.where == str(path)


def test_bands_are_chosen(tmp_path: Path) -> None:
    image = values(6, "uint8")
    path = write(tmp_path / "a.tif", image)
    with pytest.raises(ImageError, match="has 6 bands") as caught:
        file_size(path)
    assert "--bands" in (caught.value.hint or "")
    assert file_size(path, (6, 3, 1)) == (WIDTH, HEIGHT)
    found = read_all(file_source(path, (WIDTH, HEIGHT), bands=(6, 3, 1)))
    np.testing.assert_array_equal(found, image[..., [5, 2, 0]])
    found = read_all(file_source(path, (WIDTH, HEIGHT), bands=(4,)))
    np.testing.assert_array_equal(found, image[..., [3, 3, 3]])
    with pytest.raises(ImageError, match="has 6 bands, --bands names band 7"):
        read_all(file_source(path, (WIDTH, HEIGHT), bands=(7,)))


def test_bands_of_an_image_that_is_decoded(tmp_path: Path) -> None:
    image = values(3, "uint8")
    write_image(tmp_path / "a.png", image)
    found = read_all(file_source(tmp_path / "a.png", (WIDTH, HEIGHT), bands=(3, 2, 1)))
    np.testing.assert_array_equal(found, image[..., ::-1])
    with pytest.raises(ImageError, match="has 3 bands, --bands names band 4"):
        read_all(file_source(tmp_path / "a.png", (WIDTH, HEIGHT), bands=(1, 2, 4)))


def test_values_without_data_are_black_and_do_not_count(tmp_path: Path) -> None:
    image = values(1, "uint16")
    image[:9] = 65535
    path = write(tmp_path / "a.tif", image, nodata=65535)
    black = np.where(image == 65535, 0, image) >> (12 - 8)
    found = read_all(file_source(path, (WIDTH, HEIGHT)))
    np.testing.assert_array_equal(found, np.broadcast_to(black, found.shape))


def test_what_is_decoded_as_before(tmp_path: Path) -> None:
    """Rows without georeference, transparency and other kinds of TIFF go to the old decoder."""
    cv2.imwrite(str(tmp_path / "rows.tif"), values(3, "uint8"))
    for name in (
        "rows.tif",
        write(tmp_path / "alpha.tif", values(4, "uint8")).name,
        write(tmp_path / "jpeg.tif", values(3, "uint8"), compress="jpeg", photometric="YCBCR").name,
        write(tmp_path / "inverted.tif", values(1, "uint8"), photometric="MINISWHITE").name,
    ):
        assert not needs_raster(tmp_path / name, None)
    write_image(tmp_path / "a.png", values(3, "uint8"))
    assert tiff_layout(tmp_path / "a.png") is None
    assert not needs_raster(tmp_path / "no such file.tif", None)


def test_large_images_are_read_by_windows_whatever_their_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "alpha.tif", values(4, "uint8"))
    large = Layout(30_000, 30_000, 4, True, True, None, plain=True, ycbcr=False)
    monkeypatch.setattr("sodkit.data.images.raster.tiff_layout", lambda path: large)
    assert needs_raster(path, None)
    monkeypatch.setattr("sodkit.data.images.raster.find_spec", lambda name: None)
    assert not needs_raster(path, None)  # OpenCV can decode it
    with pytest.raises(MissingExtraError) as caught:
        needs_raster(path, (3, 2, 1))
    assert caught.value.exit_code == 5
    assert "sodkit[geo]" in (caught.value.hint or "")
    huge = Layout(60_000, 60_000, 3, True, True, None, plain=True, ycbcr=False)
    monkeypatch.setattr("sodkit.data.images.raster.tiff_layout", lambda path: huge)
    with pytest.raises(MissingExtraError):
        needs_raster(path, None)


def test_a_broken_raster_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", values(3, "uint8"), compress="deflate")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    source = file_source(path, (WIDTH, HEIGHT))
    for _ in range(2):
        with pytest.raises(ImageError, match=r"a\.tif"):
            read_all(source)


def test_another_size_than_stated(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", values(1, "uint8"))
    with pytest.raises(ImageError, match=f"the image has {WIDTH} x {HEIGHT} px"):
        file_source(path, (WIDTH, 99)).read((0, 0), 50)
