from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from sodkit.data.images.decoding import write_image
from sodkit.data.images.listing import list_images
from sodkit.data.images.video import VideoReader, is_video, video_size
from sodkit.errors import ImageError

FRAMES = 9


def write_video(path: Path, count: int = FRAMES) -> Path:
    """Write frames whose grey is ten times their number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    codec = cv2.VideoWriter.fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(path), codec, 10, (64, 48))
    for number in range(1, count + 1):
        writer.write(np.full((48, 64, 3), 10 * number, np.uint8))
    writer.release()
    return path


def shade(pixels: np.ndarray) -> int:
    return round(float(pixels.mean()) / 10)


def test_frames_in_any_order(tmp_path: Path) -> None:
    reader = VideoReader(write_video(tmp_path / "a.avi"))
    for number in (1, 2, 5, 9, 3, 3, 4):
        pixels = reader.read(number)
        assert pixels.shape == (48, 64, 3)
        assert shade(pixels) == number
    for number in (0, 10):
        with pytest.raises(ImageError, match=f"frame {number} cannot be decoded"):
            reader.read(number)
    assert shade(reader.read(9)) == 9
    assert video_size(tmp_path / "a.avi") == (64, 48, FRAMES)


def test_what_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(ImageError, match="the video cannot be decoded") as caught:
        VideoReader(tmp_path / "a.mp4")
    assert "ffmpeg" in (caught.value.hint or "")
    with pytest.raises(ImageError, match="no such video"):
        VideoReader(tmp_path / "b.mp4")
    assert is_video(Path("A.MOV"))
    assert not is_video(Path("a.tif"))


@pytest.mark.parametrize(("every", "numbers"), [(1, range(1, 10)), (4, (1, 5, 9)), (20, (1,))])
def test_frames_are_listed_as_images(every: int, numbers: tuple[int, ...], tmp_path: Path) -> None:
    video = write_video(tmp_path / "day" / "a.avi")
    write_image(tmp_path / "b.png", np.zeros((8, 9, 3), np.uint8))
    said: list[str] = []
    listed = list_images([video, tmp_path / "b.png"], every=every, say=said.append)
    names = [image.file_name for image in listed.images]
    assert names == [*(f"day/a/frame_{n:06d}.png" for n in numbers), "b.png"]
    assert [frame.number for frame in listed.frames.values()] == list(numbers)
    assert [*listed.frames] == [image.id for image in listed.images[:-1]]
    assert {(i.width, i.height) for i in listed.images[:-1]} == {(64, 48)}
    assert listed.folder == tmp_path
    assert f"{len(numbers)} of 9 frames" in said[0]


def test_videos_of_one_name(tmp_path: Path) -> None:
    videos = [write_video(tmp_path / name, 1) for name in ("a.avi", "a.mkv")]
    names = [image.file_name for image in list_images(videos).images]
    assert names == ["a/frame_000001.png", "a.mkv.frames/frame_000001.png"]


def test_every_image_of_a_folder(tmp_path: Path) -> None:
    for number in range(7):
        write_image(tmp_path / f"{number}.png", np.zeros((8, 9, 3), np.uint8))
    names = [image.file_name for image in list_images([tmp_path], every=3).images]
    assert names == ["0.png", "3.png", "6.png"]


def test_a_broken_video_among_others(tmp_path: Path) -> None:
    good = write_video(tmp_path / "a.avi", 2)
    (tmp_path / "b.avi").write_bytes(good.read_bytes()[:100])
    with pytest.raises(ImageError, match=r"b\.avi"):
        list_images([good, tmp_path / "b.avi"])
    bad: list[object] = []
    assert len(list_images([good, tmp_path / "b.avi"], on_bad=bad.append).images) == 2
    assert len(bad) == 1
