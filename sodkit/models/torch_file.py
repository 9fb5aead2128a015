"""Files written by ``torch.save``, read without running anything in them."""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sodkit.errors import ModelError

_SCALAR: Callable[..., Any] = np.float64(0).__reduce__()[0]  # type: ignore[assignment]
_NUMPY: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    *(type(np.dtype(name)) for name in ("float32", "float64", "int32", "int64", "bool")),
]
"""Plain numbers that training tools leave beside the weights (a best score, say)."""
_FAILURES = (
    OSError,
    RuntimeError,
    EOFError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    AssertionError,
    struct.error,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
)
"""What torch raises on files that are damaged, or no torch files at all."""


def read(path: Path, what: str, hint: str) -> Any:
    """Return the content of a file, tensors on the CPU.

    Only tensors, containers and plain numbers are made: a file that names any other class is
    refused, so nothing in it can run.

    Args:
        path: the file.
        what: subject of error messages, as in "the weights".
        hint: what should have been given.

    Raises:
        ModelError: if it cannot be read.
    """
    try:
        with torch.serialization.safe_globals(_NUMPY):
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ModelError(f"{what} cannot be read: no such file", where=path, hint=hint) from error
    except _FAILURES as error:
        raise ModelError(
            f"{what} cannot be read: {first_lines(str(error))}", where=path, hint=hint
        ) from error


def first_lines(text: str, count: int = 4) -> str:
    """Return the beginning of a long message in one line."""
    return " ".join(line.strip() for line in text.splitlines()[:count])
