"""GeoTIFF and tiled TIFF: windows read from the file by rasterio (the extra ``geo``).

The whole image is never in memory. Its pixels are those that OpenCV decodes, but for two kinds that
are decoded otherwise: colours stored as YCbCr, and bands of transparency. Such images are read by
windows from 67 megapixels on only, where memory counts more.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from sodkit.data.images.decoding import RgbImage
from sodkit.data.images.deep import Range, Scaling
from sodkit.data.images.image_size import MOST_PIXELS
from sodkit.data.images.tiff_header import Layout, tiff_layout
from sodkit.errors import DataError, ImageError, ImageSizeError, MissingExtraError

EXTRA = "geo"
CACHE = {"GDAL_CACHEMAX": 64_000_000}
"""Bytes of tiles that GDAL keeps; by itself it takes a twentieth of the machine's memory."""

_STRIP = 1 << 21
"""Pixels that are read at a time to find an image's range."""
_COLOURS, _DECODED_BANDS = 3, 4
_LARGE = 1 << 26
"""Pixels: 200 MB decoded."""


def needs_raster(path: Path, bands: Sequence[int] | None) -> bool:
    """Return whether windows of an image are read from the file.

    That is so of GeoTIFF and tiled TIFF where rasterio is installed, and of a TIFF that cannot be
    decoded otherwise: one that is too large, or whose bands are chosen.

    Raises:
        ImageError: the image has more bands than are decoded, and none are chosen.
        MissingExtraError: it cannot be read otherwise, and rasterio is not installed.
    """
    layout = tiff_layout(path)
    if layout is None or not layout.plain or layout.trouble is not None:
        return False
    many = layout.bands > _DECODED_BANDS
    needed = bands is not None or many or layout.width * layout.height > MOST_PIXELS
    same = layout.bands in (1, _COLOURS) and not layout.ycbcr
    by_windows = layout.tiled or layout.georeferenced
    if not needed and not (by_windows and (same or layout.width * layout.height > _LARGE)):
        return False
    if find_spec("rasterio") is not None:
        _check_bands(layout, bands, path)
        return True
    if needed:
        raise MissingExtraError("rasterio", EXTRA)
    return False


def _check_bands(layout: Layout, bands: Sequence[int] | None, path: Path) -> None:
    if bands is None and layout.bands > _DECODED_BANDS:
        raise ImageError(
            f"the image has {layout.bands} bands", where=path,
            hint="--bands says which are red, green and blue, such as --bands 3,2,1",
        )  # fmt: skip
    check_band_numbers(bands, layout.bands, path)


def check_band_numbers(bands: Sequence[int] | None, count: int, path: str | Path) -> None:
    """Raise ImageError if an image of so many bands lacks one of ``bands``."""
    if bands is not None and max(bands) > count:
        have = "1 band" if count == 1 else f"{count} bands"
        raise ImageError(
            f"the image has {have}, --bands names band {max(bands)}", where=path,
            hint="bands count from 1",
        )  # fmt: skip


def raster_size(path: Path) -> tuple[int, int]:
    """Return (width, height) of a TIFF as its header states it."""
    layout = tiff_layout(path)
    assert layout is not None
    return layout.width, layout.height


class Raster:
    """A TIFF whose windows are read from the file; see ``PixelSource``.

    Args:
        path: the file.
        size: (width, height) that is stated; another one is an error.
        bands: numbers from 1 of red, green and blue, or of one grey band; None: the first three.
        bit_depth: see ``read_image``; None: the image is read once to find its range, if it has
            more than 8 bits.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        bands: Sequence[int] | None = None,
        bit_depth: int | None = None,
    ) -> None:
        self._path, self._size, self._bands, self._bit_depth = path, size, bands, bit_depth
        self._lock = Lock()  # a data set of rasterio is for one thread at a time
        self._dataset: Any = None
        self._scaling: Scaling | None = None
        self._error: DataError | None = None

    def read(self, start: tuple[int, int], side: int) -> RgbImage:
        """See ``PixelSource``."""
        import rasterio
        from rasterio.errors import RasterioError

        with self._lock, rasterio.Env(**CACHE):
            if self._error is not None:
                raise self._error
            try:
                return self._read(start, side)
            except DataError as error:
                self._error = error
            except RasterioError as error:
                reason = next(iter(str(error).splitlines()), type(error).__name__)
                hint = "is it a whole image file?"
                self._error = ImageError(f"cannot be read: {reason}", where=self._path, hint=hint)
            raise self._error

    def _read(self, start: tuple[int, int], side: int) -> RgbImage:
        if self._dataset is None:
            self._dataset = open_raster(self._path)
            self._check()
        x, y = start
        width, height = self._size
        values = self._values(x, y, min(side, width - x), min(side, height - y))
        if values.dtype != np.uint8:
            if self._scaling is None or self._bit_depth is not None:
                self._scaling = self._find_scaling(values)
            values = self._scaling.applied(values)
        return np.ascontiguousarray(np.broadcast_to(values, (*values.shape[:2], _COLOURS)))

    def _check(self) -> None:
        have = (self._dataset.width, self._dataset.height)
        if have != self._size:
            raise ImageSizeError(
                f"the image has {have[0]} x {have[1]} px, its annotation says "
                f"{self._size[0]} x {self._size[1]}",
                where=self._path,
                hint="correct width and height in the annotations, or give the right images",
            )

    def _values(self, x: int, y: int, width: int, height: int) -> npt.NDArray[Any]:
        """Return a window's values as stored, (H, W, 1 or 3); 0 where there is no data."""
        from rasterio.windows import Window

        count = self._dataset.count
        chosen = list(self._bands or ((1,) if count < _COLOURS else (1, 2, 3)))
        values = self._dataset.read(chosen, window=Window(x, y, width, height))
        if values.dtype != np.uint8 and self._dataset.nodata is not None:
            values[values == self._dataset.nodata] = 0
        return np.asarray(values.transpose(1, 2, 0))

    def _find_scaling(self, window: npt.NDArray[Any]) -> Scaling:
        """Return how values are scaled: by a stated depth, or else by the whole image's range."""
        if self._bit_depth is not None and np.issubdtype(window.dtype, np.integer):
            return Scaling.of(Range.of(window), self._bit_depth, self._path)
        if self._scaling is not None:
            return self._scaling
        ranges = (Range.of(strip) for strip in self._strips())
        joined = next(ranges)
        for one in ranges:
            joined = joined.joined(one)
        return Scaling.of(joined, self._bit_depth, self._path)

    def _strips(self) -> Iterator[npt.NDArray[Any]]:
        width, height = self._size
        rows = max(_STRIP // width, 1)
        for y in range(0, height, rows):
            yield self._values(0, y, width, min(rows, height - y))


def open_raster(path: Path) -> Any:
    """Return rasterio's data set of a file, which the caller closes or drops.

    Raises:
        MissingExtraError: rasterio is not installed.
        rasterio.errors.RasterioError: it cannot be opened.
    """
    try:
        import rasterio
        from rasterio.errors import NotGeoreferencedWarning
    except ImportError as error:
        raise MissingExtraError("rasterio", EXTRA) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(path)
