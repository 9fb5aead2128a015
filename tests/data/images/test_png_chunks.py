from __future__ import annotations

import struct
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from sodkit.data.images.decoding import read_image
from sodkit.data.images.png_chunks import pixel_chunks
from sodkit.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
HEAD = 33
"""Bytes of the signature and the first chunk."""


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png() -> bytes:
    done, data = cv2.imencode(".png", PIXELS[..., ::-1])
    assert done
    return bytes(data.tobytes())


def reduced(data: bytes) -> bytes:
    return pixel_chunks(np.frombuffer(data, np.uint8), Path("a.png")).tobytes()


def test_a_plain_png_is_not_copied() -> None:
    data = np.frombuffer(png(), np.uint8)
    assert pixel_chunks(data, Path("a.png")) is data


def test_what_pixels_do_not_need_is_left_out(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A broken colour profile, a text and what follows the end: libpng would speak of them."""
    whole = png()
    more = chunk(b"iCCP", b"x\0\0" + zlib.compress(b"rubbish" * 9)) + chunk(b"tEXt", b"a\0b")
    data = whole[:HEAD] + more + whole[HEAD:-12] + more + whole[-12:] + b"rubbish"
    assert reduced(data) == whole
    (tmp_path / "a.png").write_bytes(data)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), PIXELS)
    assert capfd.readouterr().err == ""


def test_transparency_and_orientation_stay() -> None:
    whole = png()
    data = whole[:HEAD] + chunk(b"tRNS", bytes(6)) + chunk(b"eXIf", b"MM\0*") + whole[HEAD:]
    assert reduced(data) == data


@pytest.mark.parametrize("at", [16, 60, 500])
def test_a_damaged_chunk_is_named(at: int) -> None:
    data = bytearray(png())
    data[at] ^= 255
    with pytest.raises(DataError, match=r"its chunk 'I\w+' is damaged"):
        reduced(bytes(data))


@pytest.mark.parametrize("end", [20, 40, 45, 300, -12, -6, -1])
def test_a_file_that_was_cut_off(end: int) -> None:
    with pytest.raises(DataError, match=r"the file ends") as error:
        reduced(png()[:end])
    assert error.value.hint


def test_a_chunk_that_claims_more_than_there_is(tmp_path: Path) -> None:
    """OpenCV would allocate the 4 GB of it."""
    whole = png()
    path = tmp_path / "a.png"
    path.write_bytes(whole[:HEAD] + struct.pack(">I", 0xFF00_052D) + whole[HEAD + 4 :])
    start = time.perf_counter()
    with pytest.raises(DataError, match=r"states 4278191405 bytes, the file ends after \d+"):
        read_image(path, size=(60, 40))
    assert time.perf_counter() - start < 2
