"""What headers state, and what is refused by them before a decoder sees the file."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from sodkit.data.images.decoding import read_image, write_image
from sodkit.data.images.image_size import Header, header_size, read_header
from sodkit.errors import DataError, ImageError

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)


def tiff(path: Path, *, big: bool = False, order: str = "<", **tags: int) -> Path:
    """Write a TIFF of 60 x 40 px, uncompressed; a tag given as ``_339`` has that value."""
    fields = {256: 60, 257: 40, 258: 8, 259: 1, 262: 1, 277: 1, 278: 40}
    fields |= {int(name[1:]): value for name, value in tags.items()}
    place, kind, fill = ("Q", 16, 8) if big else ("I", 4, 4)
    size = 60 * 40 * fields[277] * fields[258] // 8
    count = len(fields) + 2
    head = 16 + 8 + 20 * count + 8 if big else 8 + 2 + 12 * count + 4
    fields |= {273: head, 279: size}
    table = b"".join(
        struct.pack(f"{order}HH{place}", tag, kind, 1)
        + struct.pack(order + place, value).ljust(fill, b"\0")
        for tag, value in sorted(fields.items())
    )
    mark = b"II" if order == "<" else b"MM"
    start = (
        mark + struct.pack(f"{order}HHHQQ", 43, 8, 0, 16, count)
        if big
        else mark + struct.pack(f"{order}HIH", 42, 8, count)
    )
    path.write_bytes(start + table + bytes(fill) + bytes(range(1, 241)) * (size // 240))
    return path


def spoilt(path: Path, at: int, values: bytes, suffix: str) -> Path:
    """Write an image and put bytes over its header."""
    done, data = cv2.imencode(suffix, PIXELS)
    assert done
    content = bytearray(data.tobytes())
    content[at : at + len(values)] = values
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".tif", ".webp", ".gif"])
def test_sizes_of_all_formats(tmp_path: Path, suffix: str) -> None:
    done, data = cv2.imencode(suffix, PIXELS)
    assert done
    (tmp_path / "a").write_bytes(data.tobytes())
    header = read_header(tmp_path / "a")
    assert header is not None
    assert header.size == (60, 40)
    assert header_size(tmp_path / "a") == ((60, 40) if suffix in (".jpg", ".png") else None)
    assert read_image(tmp_path / "a").shape == (40, 60, 3)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff_of_either_order_and_size(tmp_path: Path, big: bool, order: str) -> None:
    path = tiff(tmp_path / "a.tif", big=big, order=order)
    assert read_header(path) == Header("TIFF", 60, 40, bits=8)
    assert read_image(path).any()


@pytest.mark.parametrize(
    ("tags", "what"),
    [
        ({"_277": 5}, "5 bands"),
        ({"_258": 64, "_339": 3}, "floating-point samples of 64 bits"),
        ({"_258": 16, "_339": 2}, "signed whole samples of 16 bits"),
        ({"_258": 32}, "samples of 32 bits"),
        ({"_259": 34712}, "compressed in a way that cannot be read .number 34712"),
        ({"_256": 2**31}, "2147483648 x 40 px, more than can be decoded"),
    ],
)
@pytest.mark.parametrize("big", [False, True])
def test_tiffs_that_no_decoder_takes(
    tmp_path: Path, tags: dict[str, int], what: str, big: bool
) -> None:
    """OpenCV gives nothing for these, or black pixels, and the cause only to its log."""
    path = tiff(tmp_path / "a.tif", big=big, **tags)
    with pytest.raises(DataError, match=what) as error:
        read_image(path)
    assert error.value.hint


HUGE = 10**9


@pytest.mark.parametrize(
    ("suffix", "at", "values", "what"),
    [
        (".png", 16, struct.pack(">II", HUGE, HUGE), "1000000000 x 1000000000 px, more than"),
        (".png", 16, struct.pack(">II", 2_000_000, 1), "1000000 a side"),
        (".png", 16, struct.pack(">II", 30_000, 30_000), "bytes cannot hold as many"),
        (".png", 16, struct.pack(">II", 0, 5), "states 0 x 5 px"),
        (".bmp", 18, struct.pack("<ii", HUGE, HUGE), "more than can be decoded"),
        (".bmp", 18, struct.pack("<ii", 30_000, 30_000), "bytes cannot hold as many"),
        (".bmp", 18, struct.pack("<ii", 60, -(2**31)), "60 x 2147483648 px"),
        (".bmp", 18, struct.pack("<ii", -60, 40), "states -60 x 40 px"),
        (".gif", 6, struct.pack("<HH", 65_535, 65_535), "more than can be decoded"),
    ],
)
def test_absurd_sizes(tmp_path: Path, suffix: str, at: int, values: bytes, what: str) -> None:
    path = spoilt(tmp_path / "a", at, values, suffix)
    with pytest.raises(DataError, match=what):
        read_header(path)
    with pytest.raises(DataError, match=what):
        read_image(path)


def test_a_webp_of_the_extended_form(tmp_path: Path) -> None:
    done, data = cv2.imencode(".webp", PIXELS)
    assert done
    head = b"RIFF" + struct.pack("<I", 999) + b"WEBPVP8X" + struct.pack("<II", 10, 0)
    (tmp_path / "a").write_bytes(head + b"\x3b\0\0\x27\0\0" + data.tobytes()[12:])
    assert read_header(tmp_path / "a") == Header("WebP", 60, 40, bits=8)
    (tmp_path / "a").write_bytes(head + b"\xff" * 6 + data.tobytes()[12:])
    with pytest.raises(DataError, match="16777216 x 16777216 px, more than can be decoded"):
        read_header(tmp_path / "a")


@pytest.mark.parametrize("side", [1024, 4096])
def test_flat_images_are_no_bombs(tmp_path: Path, side: int) -> None:
    """As few bytes as an encoder makes of an image of one colour are believed."""
    for suffix in (".jpg", ".png"):
        path = tmp_path / f"a{suffix}"
        done, data = cv2.imencode(
            suffix,
            np.full((side, side), 128, np.uint8),
            [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
            if suffix == ".jpg"
            else [cv2.IMWRITE_PNG_COMPRESSION, 9],
        )
        assert done
        path.write_bytes(data.tobytes())
        assert header_size(path) == (side, side)


@pytest.mark.parametrize(
    ("data", "what", "hint"),
    [
        (b"\0\0\0\x18ftypmp42" + bytes(99), "is a video", "ffmpeg"),
        (b"RIFF\0\1\0\0AVI LIST" + bytes(99), "is a video", "ffmpeg"),
        (b"\x1aE\xdf\xa3" + bytes(99), "is a video", "ffmpeg"),
        (b"\0\0\0\x18ftypheic" + bytes(99), "HEIC", "PNG"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS", "git lfs pull"),
    ],
)
def test_what_is_taken_for_an_image(tmp_path: Path, data: bytes, what: str, hint: str) -> None:
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(DataError, match=what) as error:
        read_image(tmp_path / "a.jpg")
    assert hint in (error.value.hint or "")


def test_a_file_of_another_kind_is_left_to_the_decoder(tmp_path: Path) -> None:
    (tmp_path / "a.ppm").write_bytes(b"P6\n2 1\n255\nabcdef")
    assert read_header(tmp_path / "a.ppm") is None
    assert read_image(tmp_path / "a.ppm").shape == (1, 2, 3)


def test_a_name_that_no_system_takes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be read|no such image"):
        read_header(tmp_path / ("a" * 300))


def test_a_jpeg_that_stands_still(tmp_path: Path) -> None:
    """A segment of length 0 is no segment: the walk must end."""
    write_image(tmp_path / "a.jpg", PIXELS)
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(data[:2] + b"\xff\xe5\0\0" + data[2:])
    with pytest.raises(DataError, match="ends in its header"):
        read_header(tmp_path / "a.jpg")


def test_a_jpeg_of_12_bits_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    write_image(path, np.zeros((40, 60, 3), np.uint8))
    data = bytearray(path.read_bytes())
    data[data.index(b"\xff\xc0") + 4] = 12
    path.write_bytes(data)
    with pytest.raises(ImageError, match="12 bits"):
        read_header(path)
