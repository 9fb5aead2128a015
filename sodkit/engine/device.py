"""Choosing where and in which number type to compute."""

from __future__ import annotations

import contextlib
from typing import Any

import torch

from sodkit.errors import UsageError

PRECISIONS = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def pick_device(name: str) -> torch.device:
    """Return the device called ``name``; ``auto`` is CUDA where there is one, else the CPU.

    Raises:
        UsageError: unknown or absent device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"--device {name}: {reason}", hint="use auto, cpu or cuda:0") from error
    return device


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[Any]:
    """Return the autocast context for ``precision``; float16 is CUDA's only (float32 elsewhere)."""
    if precision == "float32" or (precision == "float16" and device.type != "cuda"):
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=PRECISIONS[precision])
