"""Names that mean the same: image files by name, path or stem, and classes by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

LOWER_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
IMAGE_SUFFIXES = (*LOWER_SUFFIXES, *(suffix.upper() for suffix in LOWER_SUFFIXES))
"""Suffixes of image files, likeliest first."""

SEVERAL = -1
"""Stands for a name that several images or classes have."""


class ImageNames:
    """Finds images by what others call them.

    An image is meant by its name, by its name without suffix, by the end of its path, and by a path
    that ends in its name: ``a/1.jpg`` by ``1.jpg``, ``1`` and ``/data/a/1.png``, not by
    ``b/1.jpg``.

    Args:
        names: relative names of image files, with forward slashes.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._whole: dict[str, int] = {}
        self._ends: dict[str, int] = {}
        for index, name in enumerate(names):
            for form in {name, stem(name)}:
                _put(self._whole, form, index)
                for end in _ends(form):
                    _put(self._ends, end, index)

    def find(self, name: str) -> int | None:
        """Return the index of the image that is meant, ``SEVERAL``, or None if there is none."""
        clean = name.replace("\\", "/")
        for form in dict.fromkeys((clean, stem(clean))):
            if form in self._whole:
                return self._whole[form]
            if form in self._ends:
                return self._ends[form]
            for end in _ends(form):
                if end in self._whole:
                    return self._whole[end]
        return None


def stem(name: str) -> str:
    """Return the name of an image file without its suffix; what follows another dot stays."""
    end = PurePosixPath(name).suffix
    return name.removesuffix(end) if end.lower() in IMAGE_SUFFIXES else name


def class_names(text: str) -> tuple[str, ...]:
    """Return the names that an option gives with commas between."""
    return tuple(name for part in text.split(",") if (name := part.strip()))


def find_class(name: str, known: Sequence[str]) -> int | None:
    """Return the index of a class by its name, or by the only name that differs in case alone."""
    if name in known:
        return known.index(name)
    folded = name.strip().casefold()
    alike = [index for index, other in enumerate(known) if other.strip().casefold() == folded]
    return alike[0] if len(alike) == 1 else None


def listed(names: Iterable[object], most: int = 10) -> str:
    """Return names with commas between, and how many more there are."""
    every = [str(name) for name in names]
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more


def _ends(name: str) -> list[str]:
    """Return the shorter ends of a path, the longest first."""
    parts = [part for part in name.split("/") if part]
    return ["/".join(parts[start:]) for start in range(0 if name[:1] == "/" else 1, len(parts))]


def _put(table: dict[str, int], name: str, index: int) -> None:
    table[name] = index if table.get(name, index) == index else SEVERAL
