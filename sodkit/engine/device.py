"""Choosing where and in which number type to compute."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

import torch

from sodkit.engine.world import ALONE, World
from sodkit.errors import UsageError

PRECISIONS = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def pick_device(name: str, world: World = ALONE) -> torch.device:
    """Return the device called ``name``; of several processes on a machine each has its own GPU.

    Args:
        name: ``auto`` (CUDA where there is one, else the CPU), ``cpu``, ``cuda``, ``cuda:1``, ...;
            ``gpu`` is ``cuda``, a number the GPU of this number.
        world: the processes.

    Raises:
        UsageError: no such device here; the message lists what there is. Or more processes than
            GPUs, or one GPU for all of them.
    """
    if world.here > 1:
        name = _one_each(name, world)
    wanted = {"gpu": "cuda"}.get(name, name)
    if name == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    elif name.isascii() and name.isdecimal():
        wanted = f"cuda:{name.lstrip('0') or '0'}"
    here = devices()
    if wanted not in (*here, *(one.partition(":")[0] for one in here)):
        raise UsageError(
            f"--device {name if name.strip() else repr(name)}: no such device here; "
            f"there is {', '.join(here)}{_why_no_cuda(wanted)}"
        )
    device = torch.device(wanted)
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"--device {name}: {reason}", hint="use cpu, or free the GPU") from error
    return device


def _one_each(name: str, world: World) -> str:
    """Return the name of the device of this process among those of its machine."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and not gpus):
        return "cpu"
    if name not in ("auto", "cuda", "gpu"):
        raise UsageError(
            f"--device {name}: all {world.here} processes of this machine would use it",
            hint="give --device cuda: each process takes a GPU of its own",
        )
    if gpus < world.here:
        raise UsageError(
            f"{world.here} processes, and {gpus} GPUs on this machine",
            hint=f"torchrun --nproc-per-node {gpus}" if gpus else "give --device cpu",
        )
    return f"cuda:{world.local}"


def devices() -> list[str]:
    """Return the names of the devices that PyTorch finds on this machine, the CPU first."""
    kind = torch.accelerator.current_accelerator(check_available=True)
    if kind is None:
        return ["cpu"]
    return ["cpu", *(f"{kind.type}:{k}" for k in range(torch.accelerator.device_count()))]


def describe(device: torch.device, precision: str = "float32") -> str:
    """Return a device's name for people: with the GPU's, or the CPU's threads.

    Where it cannot compute in ``precision``, that is said, too.
    """
    name = str(device)
    if device.type == "cuda":
        name = f"{device} ({torch.cuda.get_device_name(device)})"
    elif device.type == "cpu":
        name = f"{device} ({torch.get_num_threads()} threads)"
    instead = computed_in(device, precision)
    return name if instead == precision else f"{name}; {instead}, as it has no fast {precision}"


def peak_memory(device: torch.device) -> int | None:
    """Return the most bytes that were in use: by tensors on a GPU, else by this process.

    None: it cannot be found out on this system.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _why_no_cuda(wanted: str) -> str:
    """Return why PyTorch cannot use a requested GPU, if that can be found out."""
    if not wanted.startswith("cuda") or torch.cuda.is_available():
        return ""
    if torch.version.cuda is None and torch.version.hip is None:
        return " (this PyTorch is built without CUDA)"
    return " (PyTorch finds no GPU: does nvidia-smi list one?)"


def computed_in(device: torch.device, precision: str) -> str:
    """Return the number type that a device computes in where a recipe says ``precision``.

    float16 is CUDA's only. Without AVX-512 PyTorch has no fast convolution in bfloat16 for the CPU
    and takes one that is many times slower than float32, so there it is float32.
    """
    if precision == "float16" and device.type != "cuda":
        return "float32"
    if precision == "bfloat16" and device.type == "cpu" and not _cpu_has_bfloat16():
        return "float32"
    return precision


def _cpu_has_bfloat16() -> bool:
    """Return what PyTorch's convolution asks before it takes its fast path."""
    asks = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return asks is not None and bool(asks())


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[Any]:
    """Return the context that makes networks compute as ``computed_in`` says."""
    precision = computed_in(device, precision)
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=PRECISIONS[precision])


@contextlib.contextmanager
def reproducible(wanted: bool) -> Iterator[None]:
    """Let torch use only deterministic algorithms while the block runs, if that is wanted.

    An operation without one raises RuntimeError (``failures.explained`` makes it ours).
    """
    if not wanted:
        yield
        return
    # cuBLAS reads this from the environment only, and torch refuses to go on without it.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.get_deterministic_debug_mode(), torch.backends.cudnn.benchmark
    torch.set_deterministic_debug_mode("error")
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before[0])
        torch.backends.cudnn.benchmark = before[1]
