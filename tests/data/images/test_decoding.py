from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest

from sodkit.data.images.decoding import image_size, read_image, write_image
from sodkit.errors import DataError, DataWarning, ImageError


def picture(height: int = 40, width: int = 60) -> np.ndarray:
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, :, 0] = 250
    return image


def exif(path: Path, orientation: int, order: str) -> Path:
    """Put an EXIF orientation into a JPEG."""
    ends = {"big": b"MM\0*\0\0\0\x08", "little": b"II*\0\x08\0\0\0"}[order]
    number = [(1, 2), (0x112, 2), (3, 2), (1, 4), (orientation, 2), (0, 2), (0, 4)]
    body = ends + b"".join(value.to_bytes(size, order) for value, size in number)  # type: ignore[arg-type]
    data = b"Exif\0\0" + body
    segment = b"\xff\xe1" + (len(data) + 2).to_bytes(2, "big") + data
    whole = path.read_bytes()
    path.write_bytes(whole[:2] + segment + whole[2:])
    return path


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp"])
def test_round_trip(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    write_image(path, picture())
    if suffix != ".webp":
        np.testing.assert_array_equal(read_image(path), picture())
    assert image_size(path) == (60, 40)


def test_channels(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", picture())
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", order="bgr"), picture()[..., ::-1])
    write_image(tmp_path / "b.png", picture(), order="bgr")
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), picture()[..., ::-1])


def test_grey_and_alpha(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "g.png"), np.full((5, 6), 77, np.uint8))
    cv2.imwrite(str(tmp_path / "a.png"), np.full((5, 6, 4), 77, np.uint8))
    for name in ("g.png", "a.png"):
        image = read_image(tmp_path / name)
        assert image.shape == (5, 6, 3)
        assert (image == 77).all()


@pytest.mark.parametrize("order", ["big", "little"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_size_follows_the_orientation(tmp_path: Path, orientation: int, order: str) -> None:
    write_image(tmp_path / "a.jpg", picture())
    path = exif(tmp_path / "a.jpg", orientation, order)
    upright = read_image(path)
    assert image_size(path) == (upright.shape[1], upright.shape[0])
    stored = read_image(path, size=(60, 40))
    assert stored.shape == (40, 60, 3)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp"])
def test_stated_size_is_checked(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    write_image(path, picture())
    assert read_image(path, size=(60, 40)).shape == (40, 60, 3)
    for size in ((40, 60), (61, 40)):
        with pytest.raises(DataError, match=r"60 x 40 px, its annotation says"):
            read_image(path, size=size)


def test_a_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    """A small PNG that claims to be huge is not decoded when its size is known."""
    path = tmp_path / "a.png"
    write_image(path, picture())
    data = bytearray(path.read_bytes())
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    path.write_bytes(data)
    with pytest.raises(DataError, match="60000 x 60000"):
        read_image(path, size=(60, 40))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "cannot be decoded"),
        (b"GIF?", "cannot be decoded"),
        (b"\xff\xd8\xff\xe0\x00\x10JF", "ends in its header"),
        (b"\xff\xd8\x12\x34\x56\x78", "ends in its header"),
        (b"\x89PNG\r\n\x1a\n\0\0", "ends in its header"),
    ],
)
def test_broken_images(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    with pytest.raises(DataError, match=message):
        image_size(path)
    with pytest.raises(DataError):
        read_image(path)


def test_missing_image(tmp_path: Path) -> None:
    for read in (image_size, read_image):
        with pytest.raises(DataError, match=r"no such|cannot be read"):
            read(tmp_path / "none.jpg")


def jpeg(path: Path, height: int = 64, width: int = 96) -> Path:
    rng = np.random.default_rng(height)
    write_image(path, rng.integers(0, 256, (height, width, 3), np.uint8))
    return path


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_reads_into_memory_given(tmp_path: Path, order: Literal["rgb", "bgr"]) -> None:
    path, into = jpeg(tmp_path / "a.jpg"), np.zeros((64, 96, 3), np.uint8)
    image = read_image(path, size=(96, 64), order=order, into=into)
    assert image is into
    np.testing.assert_array_equal(image, read_image(path, order=order))


@pytest.mark.filterwarnings("ignore::sodkit.errors.DataWarning")
@pytest.mark.parametrize("kept", [0.9, 0.5])
@pytest.mark.parametrize("end", [b"", b"\xff\xd9"])
def test_memory_given_hides_no_damage(tmp_path: Path, kept: float, end: bytes) -> None:
    """What the careful way says of a file is said with memory for its pixels, too."""
    path, into = jpeg(tmp_path / "a.jpg"), np.zeros((64, 96, 3), np.uint8)
    read_image(path, size=(96, 64), into=into)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)] + end)
    try:
        careful = read_image(path)
    except DataError:
        with pytest.raises(DataError, match="cannot be decoded"):
            read_image(path, size=(96, 64), into=into)
    else:
        np.testing.assert_array_equal(read_image(path, size=(96, 64), into=into), careful)


# yolov5#916: photos that were cut off while they were copied
def test_a_jpeg_without_its_end_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = jpeg(tmp_path / "a.jpg")
    data, whole = path.read_bytes(), read_image(path)
    path.write_bytes(data[: int(len(data) * 0.9)])
    with pytest.warns(DataWarning, match=r"a\.jpg: the JPEG lacks its end: \d+ of its 64 rows"):
        image = read_image(path, size=(96, 64))
    np.testing.assert_array_equal(image[:32], whole[:32])
    path.write_bytes(data[: len(data) // 4 + 300])
    with pytest.raises(ImageError, match=r"cannot be decoded: .* \d+ of its 64 rows are there"):
        read_image(path, size=(96, 64))


def test_a_turned_jpeg_without_its_end(tmp_path: Path) -> None:
    path = exif(jpeg(tmp_path / "a.jpg"), 6, "big")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * 0.7)])
    with pytest.warns(DataWarning, match=r" [1-9]\d* of its 64 rows"):
        assert read_image(path).shape == (96, 64, 3)
    path.write_bytes(data[: int(len(data) * 0.3)])
    with pytest.raises(ImageError, match="less than half"):
        read_image(path)


def test_memory_given_does_not_keep_the_image_before(tmp_path: Path) -> None:
    """A JPEG with sound frame and end, but broken tables: OpenCV leaves the memory as it was."""
    path, into = jpeg(tmp_path / "a.jpg"), np.zeros((64, 96, 3), np.uint8)
    read_image(path, size=(96, 64), into=into)
    data = bytearray(path.read_bytes())
    tables = data.index(b"\xff\xc4")
    data[tables + 5 : tables + 21] = b"\xff" * 16  # more codes of each length than there can be
    path.write_bytes(data)
    with pytest.raises(DataError, match="cannot be decoded"):
        read_image(path, size=(96, 64), into=into)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_memory_given_and_rotated(tmp_path: Path, orientation: int) -> None:
    path = exif(jpeg(tmp_path / "a.jpg", 64, 64), orientation, "big")
    into = np.zeros((64, 64, 3), np.uint8)
    image = read_image(path, size=(64, 64), into=into)
    np.testing.assert_array_equal(image, read_image(path, size=(64, 64)))


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "ä.jpg"])
def test_memory_given_and_other_files(tmp_path: Path, name: str) -> None:
    path, into = jpeg(tmp_path / name), np.zeros((64, 96, 3), np.uint8)
    np.testing.assert_array_equal(read_image(path, size=(96, 64), into=into), read_image(path))


def test_memory_given_of_another_size(tmp_path: Path) -> None:
    path = jpeg(tmp_path / "a.jpg")
    turned, wrong = np.zeros((96, 64, 3), np.uint8), np.zeros((10, 96, 3), np.uint8)
    assert read_image(path, size=(96, 64), into=wrong).shape == (64, 96, 3)
    with pytest.raises(DataError, match="96 x 64 px"):
        read_image(path, size=(64, 96), into=turned)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize(("highest", "shift"), [(255, 0), (1000, 2), (4095, 4), (65535, 8)])
def test_16_bits_are_scaled_by_the_bits_in_use(
    tmp_path: Path, suffix: str, highest: int, shift: int
) -> None:
    path = tmp_path / f"a{suffix}"
    values = np.linspace(0, highest, 64 * 96).reshape(64, 96).astype(np.uint16)
    cv2.imwrite(str(path), values)
    assert (read_image(path) == (values >> shift)[..., None]).all()


@pytest.mark.parametrize("band", [1.0, 200.0, 4000.0])
def test_floating_point_images_are_scaled(tmp_path: Path, band: float) -> None:
    path = tmp_path / "a.tif"
    values = np.linspace(0, band, 64 * 96, dtype=np.float32).reshape(64, 96)
    cv2.imwrite(str(path), values)
    image = read_image(path, size=(96, 64))
    assert image.min() == 0
    assert image.max() == (200 if band == 200 else 255)


@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".ppm"])
def test_16_bits_in_colour(tmp_path: Path, suffix: str, order: Literal["rgb", "bgr"]) -> None:
    path = tmp_path / f"a{suffix}"
    bgr = np.random.default_rng(0).integers(0, 4096, (64, 96, 3)).astype(np.uint16)
    bgr[0, 0] = 4095
    cv2.imwrite(str(path), bgr)
    wanted = bgr if order == "bgr" else bgr[..., ::-1]
    np.testing.assert_array_equal(read_image(path, order=order), wanted >> 4)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize(("highest", "depth"), [(255, 8), (900, 10), (700, 12), (2047, 11)])
def test_a_stated_depth_scales_all_images_alike(
    tmp_path: Path, suffix: str, highest: int, depth: int
) -> None:
    path = tmp_path / f"a{suffix}"
    values = np.linspace(0, highest, 64 * 96).reshape(64, 96).astype(np.uint16)
    cv2.imwrite(str(path), values)
    image = read_image(path, bit_depth=depth)
    assert (image == (values >> depth - 8)[..., None]).all()
    np.testing.assert_allclose(image[..., 0], values * 255.0 / (2**depth - 1), atol=1)


def test_a_stated_depth_leaves_images_of_8_bits_as_they_are(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", picture())
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", bit_depth=12), picture())


@pytest.mark.parametrize(
    ("highest", "depth", "seen"), [(1.0, 12, 255), (255.0, 8, 255), (700.0, 12, 44)]
)
def test_a_stated_depth_of_floating_point_values(
    tmp_path: Path, highest: float, depth: int, seen: int
) -> None:
    values = np.linspace(0, highest, 64 * 96, dtype=np.float32).reshape(64, 96)
    cv2.imwrite(str(tmp_path / "a.tif"), values)
    assert read_image(tmp_path / "a.tif", bit_depth=depth).max() == seen


@pytest.mark.parametrize(
    ("values", "suffix", "advice"),
    [
        (np.full((4, 5), 4095, np.uint16), ".png", "--bit-depth 12 "),
        (np.full((4, 5), 9000, np.float32), ".tif", "--bit-depth 14 "),
        (np.full((4, 5), 1e6, np.float32), ".tif", "leave --bit-depth away"),
        (np.full((4, 5), -3, np.float32), ".tif", "leave --bit-depth away"),
    ],
)
def test_values_outside_the_stated_depth_are_refused(
    tmp_path: Path, values: np.ndarray, suffix: str, advice: str
) -> None:
    cv2.imwrite(str(tmp_path / f"a{suffix}"), values)
    with pytest.raises(ImageError, match="holds 0 to 1023") as caught:
        read_image(tmp_path / f"a{suffix}", bit_depth=10)
    assert caught.value.hint is not None
    assert advice in caught.value.hint


@pytest.mark.parametrize(("suffix", "longest"), [(".jpg", 65_500), (".webp", 16_383)])
def test_what_a_format_cannot_hold_is_not_encoded(
    tmp_path: Path, suffix: str, longest: int, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"a{suffix}"
    with pytest.raises(DataError, match=f"cannot be written as {suffix}, it holds {longest} px"):
        write_image(path, np.zeros((2, longest + 1, 3), np.uint8))
    assert not path.exists()
    assert capfd.readouterr().err == ""
