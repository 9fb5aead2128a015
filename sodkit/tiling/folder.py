"""The folder a split writes to: whose it is, whether to continue in it, and its names.

While a split runs, ``.split.json`` says by a fingerprint of annotations and settings whose the
patches are; at the end ``split.json`` takes over. So a run with the same settings can go on after a
kill, and one with others is refused.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from sodkit.data.formats import PATCHES
from sodkit.data.formats.folders import fitting
from sodkit.data.left_out import LEFT_OUT
from sodkit.data.records import Annotations, ImageRecord
from sodkit.errors import UsageError
from sodkit.files import TEMPORARY, write_bytes
from sodkit.json_text import JsonError, decode
from sodkit.outputs import is_free
from sodkit.tiling.settings import SplitSettings
from sodkit.tiling.split import IMAGES, patch_name

REPORT = "split.json"
_RUNNING = ".split.json"
_SCHEMA = 1


class _Claim(msgspec.Struct):
    """The part of both files that says whose the folder is."""

    fingerprint: str
    settings: dict[str, Any]


def claim(out: Path, annotations: Annotations, settings: SplitSettings, *, overwrite: bool) -> str:
    """Make the folder ours: new, cleared, or with the patches that an earlier run left.

    Args:
        out: the folder.
        annotations: what is split.
        settings: by what rules.
        overwrite: remove what an earlier split left, whatever its settings.

    Returns:
        the fingerprint of this split.

    Raises:
        UsageError: if it holds another split, or something that is none.
    """
    mark = fingerprint(annotations, settings)
    found = _read_claim(out)
    if found is None and not is_free(out):
        raise UsageError(
            "is not empty and not made by a split", where=out, hint="give another folder by --out"
        )
    if found is not None:
        if overwrite:
            _clear(out)
        elif found.fingerprint != mark:
            raise UsageError(
                f"holds another split: {_difference(found, settings)}",
                where=out,
                hint="give another folder by --out, or --overwrite to replace it",
            )
        else:
            for leftover in out.rglob(f"{TEMPORARY}*"):
                leftover.unlink()
    write_bytes(out / _RUNNING, _encode({"fingerprint": mark, "settings": settings.as_dict()}))
    return mark


def finish(out: Path, mark: str, report: dict[str, Any]) -> None:
    """Write ``split.json`` and take the mark of a running split away."""
    write_bytes(out / REPORT, _encode({"fingerprint": mark, **report}))
    (out / _RUNNING).unlink(missing_ok=True)


def depth_of_patches(path: Path) -> int | None:
    """Return the stated bit depth of the images that patches were cut from, None if unknown.

    Args:
        path: what a split wrote: its folder, that of several subsets, or the annotations in it.
    """
    places = [path, *sorted(path.glob("*/"))] if path.is_dir() else [path.parent]
    claims = [_read_claim(place) for place in places]
    depths = {claim.settings.get("bit_depth") for claim in claims if claim is not None}
    (depth,) = depths if len(depths) == 1 else (None,)
    return depth if isinstance(depth, int) else None


def fingerprint(annotations: Annotations, settings: SplitSettings) -> str:
    """Return a digest of everything that decides what is written, but for the images' pixels."""
    digest = hashlib.blake2b(digest_size=16)
    # a depth that is not stated is left out: splits of earlier versions know none
    rules = {key: value for key, value in settings.as_dict().items() if value is not None}
    digest.update(repr((_SCHEMA, rules, annotations.categories)).encode())
    for image in annotations.images:
        digest.update(repr(image).encode())
    polygons = annotations.polygons
    columns = [getattr(annotations, name) for name in ("image_index", "labels", "ids", "ignore")]
    columns += [annotations.xywh, annotations.area]
    columns += [] if polygons is None else [polygons.points, polygons.offsets]
    for column in columns:
        digest.update(column.tobytes())
    return digest.hexdigest()


def stems(images: Sequence[ImageRecord], settings: SplitSettings) -> list[str]:
    """Return what the names of each image's patches start with: its own name without suffix.

    Its folders stay; where two images differ only by suffix or case the image's id is added. A name
    that leaves too little room for what the patches' names end in is cut.
    """
    plain = [str(PurePosixPath(image.file_name).with_suffix("")) for image in images]
    counts = Counter(stem.casefold() for stem in plain)
    own = [
        stem if counts[stem.casefold()] == 1 else f"{stem}-{image.id}"
        for stem, image in zip(plain, images, strict=True)
    ]
    return [
        fitting(stem, _longest_end(image, settings))
        for stem, image in zip(own, images, strict=True)
    ]


def _longest_end(image: ImageRecord, settings: SplitSettings) -> int:
    """Return how long that is at most which follows the stem in the names of an image's patches."""
    ends = []
    for scale in settings.scales:
        last = max(0, image.width - scale.size), max(0, image.height - scale.size)
        ends.append(len(patch_name("", scale.size, last, scale.format)))
    return max(ends)


def _read_claim(out: Path) -> _Claim | None:
    """Return whose the folder is, None if no split has been there."""
    for name in (_RUNNING, REPORT):
        try:
            return decode((out / name).read_bytes(), _Claim)
        except (OSError, JsonError):
            continue
    return None


def _difference(found: _Claim, settings: SplitSettings) -> str:
    """Say how an earlier split differs."""
    now = settings.as_dict()
    keys = [key for key, value in now.items() if found.settings.get(key) != value]
    if not keys:
        return "its annotations were others"
    return ", ".join(f"{key} was {found.settings.get(key)}, now {now[key]}" for key in keys)


def _clear(out: Path) -> None:
    """Remove what a split has written."""
    if (out / IMAGES).is_symlink():
        raise UsageError(
            "is a link: what it leads to may be no split's",
            where=out / IMAGES,
            hint="remove the link, or give another folder by --out",
        )
    if (out / IMAGES).is_dir():
        shutil.rmtree(out / IMAGES)
    for name in (PATCHES, REPORT, _RUNNING, LEFT_OUT):
        (out / name).unlink(missing_ok=True)


def _encode(content: dict[str, Any]) -> bytes:
    text = msgspec.json.encode({"schema_version": _SCHEMA, **content})
    return msgspec.json.format(text, indent=1) + b"\n"
