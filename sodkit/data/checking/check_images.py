"""What can be wrong with the image files of a data set: every one is decoded once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sodkit.data.checking.findings import Finding
from sodkit.data.formats.folders import is_file
from sodkit.data.images.decoding import JPEG_END, JPEG_START, read_image, read_raw
from sodkit.data.images.deep import Values, described
from sodkit.data.images.image_size import orientation, read_header
from sodkit.data.records import ImageRecord
from sodkit.errors import DataError, ImageSizeError
from sodkit.threads import map_in_order

_TURNED = 5
"""EXIF orientations from this one on swap width and height."""


@dataclass(frozen=True, slots=True)
class _Look:
    """What one image file shows."""

    findings: tuple[Finding, ...]
    digest: bytes | None
    deep: Values | None = None


def image_findings(
    images: Sequence[ImageRecord],
    folder: Path,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    earlier: dict[bytes, str] | None = None,
    bit_depth: int | None = None,
) -> Iterator[Finding]:
    """Yield what is wrong with image files, in the order of the images.

    Args:
        images: as the annotations state them.
        folder: where their file names start.
        workers: threads, None: one a core.
        progress: called with (done, total).
        earlier: digests of the images of other subsets, with their paths; those of these are added.
        bit_depth: of images of more than 8 bits, see ``read_image``.
    """
    others = {} if earlier is None else dict(earlier)
    seen: dict[bytes, str] = {}
    count = workers or os.cpu_count() or 1
    deep: list[tuple[str, Values]] = []
    looks = map_in_order(lambda image: _look(image, folder, bit_depth), images, count)
    for done, (image, look) in enumerate(zip(images, looks, strict=True), start=1):
        yield from look.findings
        if look.deep is not None:
            deep.append((str(folder / image.file_name), look.deep))
        if look.digest is not None:
            if look.digest in others:
                what = f"the same image as {others[look.digest]} of another subset"
                hint = "take it out of one of them: what was trained on measures nothing"
                where = str(folder / image.file_name)
                yield Finding("error", "in-two-subsets", what, where, hint)
            if earlier is not None:
                earlier.setdefault(look.digest, str(folder / image.file_name))
            twin = seen.setdefault(look.digest, image.file_name)
            if twin != image.file_name:
                what = f"the same file as {twin}, byte by byte"
                where = str(folder / image.file_name)
                yield Finding("warning", "duplicate-image", what, where)
        if progress is not None:
            progress(done, len(images))
    if bit_depth is None:
        yield from _deep_findings(deep, len(images))


def _deep_findings(deep: Sequence[tuple[str, Values]], images: int) -> Iterator[Finding]:
    """Yield what values the images of more than 8 bits have, once for each form of them."""
    for form in dict.fromkeys(values.form for _, values in deep):
        alike = [(where, values) for where, values in deep if values.form == form]
        what, hint = described([values for _, values in alike])
        share = "the image has" if images == 1 else f"{len(alike)} of {images} images have"
        yield Finding("warning", "bits", f"{share} {what}", alike[0][0], hint)


def _look(image: ImageRecord, folder: Path, bit_depth: int | None) -> _Look:
    path = folder / image.file_name
    if not is_file(path):
        hint = "--images DIR says where file names start"
        return _Look((Finding("error", "missing", "no such image", str(path), hint),), None)
    findings, deep = [], None
    try:
        read_image(path, size=(image.width, image.height), bit_depth=bit_depth)
        exif = orientation(path)
        if exif != 1:
            findings.append(_rotated(path, exif, image))
        header = read_header(path)
        if header is None or header.bits is None or header.bits > 8:
            raw = read_raw(path)
            deep = None if raw.dtype == np.uint8 else Values.of(raw)
        data = path.read_bytes()
        if data.startswith(JPEG_START) and not data.rstrip(b"\0").endswith(JPEG_END):
            what = "the JPEG lacks its end: what is missing is read as grey"
            findings.append(Finding("warning", "cut-off", what, str(path)))
        digest = hashlib.blake2b(data, digest_size=16).digest()
    except DataError as error:
        kind = "size" if isinstance(error, ImageSizeError) else "unreadable"
        return _Look((Finding.of(error, kind),), None)
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        return _Look((Finding("error", "unreadable", what, str(path)),), None)
    return _Look(tuple(findings), digest, deep)


def _rotated(path: Path, exif: int, image: ImageRecord) -> Finding:
    size = f"{image.width} x {image.height}"
    if exif >= _TURNED:
        what = f"EXIF orientation {exif} turns it; the annotations' {size} px decide how it is read"
    else:
        what = f"EXIF orientation {exif} turns or mirrors it: is that how it was annotated?"
    hint = "store the pixels upright and remove the tag, to be sure of all tools"
    return Finding("warning", "exif-rotated", what, str(path), hint)
