"""Files written by ``torch.save``, read without running anything in them."""

from __future__ import annotations

import re
import warnings
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
"""Plain numbers that training tools leave beside the weights, such as a best score."""


def read(path: Path, what: str, hint: str) -> Any:
    """Return the content of a file, tensors on the CPU.

    Only tensors, containers and plain numbers are made: a file that names any other class is
    refused, so nothing in it can run.

    Args:
        path: the file.
        what: subject of error messages, as in "the weights".
        hint: what should have been given.

    Raises:
        ModelError: if it cannot be read; one sentence says what was refused, and why.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about files that are refused next
            with torch.serialization.safe_globals(_NUMPY):
                return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # torch promises no kind of exception on a damaged file
        raise ModelError(
            f"{what} cannot be read: {_reason(error)}", where=path, hint=hint
        ) from error


def _reason(error: Exception) -> str:
    """Return in a few words why torch refused a file.

    Its own messages fill a screen, and advise to read the file in a way that runs what is in it.
    """
    text = str(error)
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, OSError):
        return error.strerror or text
    named = re.search(r"GLOBAL (\S+)|unsupported class (\S+)|but got <class '([^']+)'>", text)
    if named is not None:
        name = next(group for group in named.groups() if group)[:80]
        name = "".join(c if c.isprintable() else "?" for c in name)  # it may steer a terminal
        return f"it names {name}, which may run code; only tensors and plain numbers are read"
    if "TorchScript" in text:
        return "it is a TorchScript archive, not a file of torch.save"
    if ".tar format" in text:
        return "it is in the old tar format of PyTorch; torch.save no longer writes that"
    return "it is damaged, or no file of torch.save"
