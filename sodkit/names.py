"""File names that every system can hold: what is written on one must open on another."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sodkit.errors import DataError

_DEVICE = re.compile(r"(con|prn|aux|nul|con(in|out)\$|(com|lpt)[0-9¹²³]) *(\..*)?", re.IGNORECASE)
_FORBIDDEN = re.compile(r'[<>:"|?*\\\x00-\x1f]')


def check_names(names: Iterable[tuple[str, str]]) -> None:
    """Raise if a file to be written has a name that Windows reserves.

    Args:
        names: (name to be written, with folders; the image it is named after).

    Raises:
        DataError: naming the first such image.
    """
    for name, image in names:
        fault = name_fault(name)
        if fault is not None:
            raise DataError(
                f"what is written for it cannot be named '{name}': {fault}",
                where=image,
                hint="rename the image, and its entry in the annotations",
            )


def name_fault(name: str) -> str | None:
    """Return why Windows refuses a relative path with forward slashes, None if it does not."""
    for part in name.split("/"):
        found = _FORBIDDEN.search(part)
        if found is not None:
            return f"Windows allows no {found[0]!r} in a file name"
        if _DEVICE.fullmatch(part):
            return f"'{part}' is a device on Windows"
        if part not in {"", ".", ".."} and part[-1] in ". ":
            return f"Windows drops the {part[-1]!r} at the end of '{part}'"
    return None
