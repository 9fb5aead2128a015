"""Files of predictions by their names and first bytes: what is written, what may be replaced."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from sodkit.data.formats.labels import IMAGE_IDS
from sodkit.errors import UsageError
from sodkit.outputs import check_file

ENDINGS = {".json": "JSON", ".npz": "the same as columns", ".zip": "DOTA's Task 1, oriented boxes"}
"""Formats of predictions by the ending of the file's name."""

_HEAD = 1 << 16


def image_ids_file(path: Path) -> Path:
    """Return the file beside predictions that says which image has which id."""
    return path.with_suffix(IMAGE_IDS)


def check_predictions_path(path: Path, *, overwrite: bool, read: Sequence[Path] = ()) -> None:
    """Raise unless predictions, and the image ids beside them, may be written: before predicting.

    Args:
        path: the file of predictions.
        overwrite: earlier predictions may be replaced.
        read: what is predicted on: image ids among it are not written, so they may be there.

    Raises:
        UsageError: its ending is none of ``ENDINGS``, or a file exists and may not be replaced.
    """
    if path.suffix not in ENDINGS and not path.is_dir():
        known = ", ".join(f"{ending} ({what})" for ending, what in ENDINGS.items())
        ending = f"the ending '{path.suffix}'" if path.suffix else "no ending"
        raise UsageError(
            f"has {ending}: it says how predictions are written", where=path, hint=f"known: {known}"
        )
    check_file(path, overwrite=overwrite, is_own=is_predictions, what="file of predictions")
    ids = image_ids_file(path)
    if not is_among(ids, read):
        what = "list of predict's image ids"
        check_file(ids, overwrite=overwrite, is_own=is_image_ids, what=what)


def is_among(path: Path, others: Sequence[Path]) -> bool:
    """Return whether a path leads to the same place as one of others."""
    return path.resolve() in {other.resolve() for other in others}


def is_predictions(path: Path) -> bool:
    """Return whether a file looks like predictions as they are written."""
    try:
        if path.suffix == ".json":
            return _is_records(path)
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False
    if path.suffix == ".npz":
        return {"image_id.npy", "score.npy"} <= set(names)
    return bool(names) and all(name.startswith("Task1_") for name in names)


def is_image_ids(path: Path) -> bool:
    """Return whether a file lists images without annotations, as ``predict`` does."""
    try:
        content = msgspec.json.decode(path.read_bytes(), type=dict[str, msgspec.Raw])
        return not msgspec.json.decode(content["annotations"], type=list[msgspec.Raw])
    except (OSError, KeyError, ValueError, RecursionError):
        return False


def _is_records(path: Path) -> bool:
    """Return whether a JSON file is a list that is empty or starts with an image and a score."""
    with path.open("rb") as file:
        head = file.read(_HEAD).removeprefix(b"\xef\xbb\xbf").lstrip()
    if not head.startswith(b"["):
        return False
    return (b'"image_id"' in head and b'"score"' in head) or not head[1:].strip(b" \t\r\n]")
