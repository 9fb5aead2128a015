"""Videos as a row of images, decoded by OpenCV.

Frame 1 of ``clip.mp4`` is the image ``clip/frame_000001.png``: so it is called, too, after
``ffmpeg -i clip.mp4 clip/frame_%06d.png``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from sodkit.data.images.decoding import RgbImage
from sodkit.errors import ImageError

SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".mts", ".ts", ".wmv", ".flv",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame of a video: its file, and its number from 1."""

    path: Path
    number: int


def is_video(path: Path) -> bool:
    """Return whether a path has the ending of a video."""
    return path.suffix.lower() in SUFFIXES


def frame_path(folder: Path, number: int) -> Path:
    """Return what a frame, numbered from 1, is called in a folder that is named after its video."""
    return folder / f"frame_{number:06d}.png"


class VideoReader:
    """Reads frames; fast in ascending order. Not for several threads at once.

    Args:
        path: the file.

    Raises:
        ImageError: it is missing, or no video that can be decoded.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise ImageError("no such video", where=path)
        self._path = path
        self._open()

    def _open(self) -> None:
        self._capture = cv2.VideoCapture(str(self._path))
        self._passed = 0
        if not self._capture.isOpened():
            raise ImageError(
                "the video cannot be decoded", where=self._path,
                hint="convert it, such as with: ffmpeg -i FILE -c:v libx264 clip.mp4",
            )  # fmt: skip

    def read(self, number: int) -> RgbImage:
        """Return frame ``number``, from 1 on, as (H, W, 3) RGB.

        Raises:
            ImageError: there is no such frame, or it cannot be decoded.
        """
        if number <= self._passed:
            self._open()
        while self._passed < number - 1 and self._capture.grab():
            self._passed += 1
        image = self._capture.read()[1] if self._passed == number - 1 else None
        if image is None:
            raise ImageError(f"frame {number} cannot be decoded", where=self._path)
        self._passed = number
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)

    def count(self) -> int:
        """Return how many frames there are: they are gone through, headers only estimate it."""
        self._open()
        while self._capture.grab():
            self._passed += 1
        return self._passed


def video_size(path: Path) -> tuple[int, int, int]:
    """Return width and height in px, and the number of frames.

    Raises:
        ImageError: it is missing, or no video that can be decoded.
    """
    reader = VideoReader(path)
    height, width = reader.read(1).shape[:2]
    return width, height, reader.count()
