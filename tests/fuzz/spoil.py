"""Which changes a file can get: by its suffix those that know its form, and those of bytes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import PurePosixPath
from random import Random

import yaml

from . import spoil_archive, spoil_bytes, spoil_image, spoil_text, spoil_tree, spoil_xml

Change = Callable[[Random, bytes, bytes], bytes]
"""Changes content; the third argument is the same file of another valid input."""

_BY_SUFFIX: dict[str, tuple[Change, ...]] = {
    ".json": (spoil_tree.json_text,) * 3,
    ".yaml": (spoil_tree.yaml_text, spoil_tree.yaml_text, spoil_text.lines),
    ".xml": (spoil_xml.elements,) * 3,
    ".txt": (spoil_text.lines,) * 3,
    ".csv": (spoil_text.lines,) * 3,
    ".set": (spoil_tree.override,) * 3,
    ".npz": (spoil_archive.members,) * 3,
    ".pth": (spoil_archive.members, spoil_archive.pickled),
    ".safetensors": (spoil_archive.safetensors,) * 3,
    ".png": (spoil_image.png,) * 3,
    ".jpg": (spoil_image.jpeg,) * 3,
}
_FAILURES = (
    ValueError, LookupError, ArithmeticError, RecursionError, TypeError, AttributeError,
    yaml.YAMLError, struct.error, zlib.error,
)  # fmt: skip
"""What the changes by form raise on content that does not have it, as another change left it."""


def spoil(random: Random, name: str, data: bytes, other: bytes) -> bytes:
    """Return changed content of a file; what no longer has its form is changed as bytes."""
    changes = (*_BY_SUFFIX.get(PurePosixPath(name).suffix, ()), spoil_bytes.any_change)
    try:
        return random.choice(changes)(random, data, other)
    except _FAILURES:
        return spoil_bytes.any_change(random, data, other)
