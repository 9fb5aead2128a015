"""What all tests share.

One thread for torch, in the programs that tests start, too: the models of the tests are small, and
threads would only wait for each other. Hypothesis draws the same examples in every run, and waits
as long as a first compilation takes.

``pytest --check-bounds`` runs the compiled loops with every index checked: a loop that reads or
writes beside an array raises IndexError, where its machine code might go on with garbage.
``pytest --uncompiled`` runs them as the Python they are written in, so that coverage and a debugger
see their lines.
"""

import os
import signal
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings

from sodkit import compiled
from sodkit.compiled.numba_code import jitted

torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--check-bounds", action="store_true", help="check the compiled loops' indices"
    )
    parser.addoption("--uncompiled", action="store_true", help="run the compiled loops as Python")


def pytest_configure(config: pytest.Config) -> None:
    # A shell starts what runs in the background with Ctrl-C ignored; tests of it want it heeded.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("--check-bounds"):
        compiled.Kernel.__call__ = _checked  # type: ignore[method-assign]
    if config.getoption("--uncompiled"):
        compiled.Kernel.__call__ = _uncompiled  # type: ignore[method-assign]


_call = compiled.Kernel.__call__


def _uncompiled(kernel: compiled.Kernel[..., Any], *args: object) -> object:
    """Run a kernel's Python original, with machine arithmetic: no warning if a number overflows."""
    if not kernel.function.__module__.startswith("sodkit."):
        return _call(kernel, *args)  # a kernel of a test that is about machine code
    for (kind, axes), value in zip(kernel.arguments, args, strict=True):
        if axes:
            compiled.as_pointer(kernel.function.__name__, kind, axes, value)
    with np.errstate(all="ignore"):
        return kernel.function(*args)


def _checked(kernel: compiled.Kernel[..., Any], *args: object) -> object:
    """Run a kernel as numba does when it is asked to check indices."""
    options = {"error_model": "numpy", "boundscheck": True}
    if not hasattr(kernel, "checked"):
        kernel.checked = jitted(kernel.function, {}, options)  # type: ignore[attr-defined]
    return kernel.checked(*args)  # type: ignore[attr-defined]
