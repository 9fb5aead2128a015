"""What becomes of a run when the machine gives out: full memory, a worker that was killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sodkit.errors import SodkitError

CPU_ALLOCATOR = "DefaultCPUAllocator"
"""In torch's message when the computer's own memory is full: it has no class of its own."""

WORKER = "DataLoader worker"
"""In torch's message when a worker process has gone."""


@contextmanager
def explained(advice: str) -> Iterator[None]:
    """Turn torch's errors about memory and workers into ours; usable as a decorator.

    Args:
        advice: what needs less memory.

    Raises:
        SodkitError: the memory of the device or the computer is full, or a worker was killed.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise SodkitError(f"the device's memory is full: {error}", hint=advice) from error
    except MemoryError as error:
        raise SodkitError(f"the memory is full: {error}", hint=advice) from error
    except RuntimeError as error:
        if CPU_ALLOCATOR in str(error):
            raise SodkitError(f"the memory is full: {error}", hint=advice) from error
        if WORKER in str(error):
            hint = f"the memory may be full: give fewer --workers; {advice}"
            raise SodkitError(
                f"a worker process has gone: {str(error).strip()}", hint=hint
            ) from error
        raise
