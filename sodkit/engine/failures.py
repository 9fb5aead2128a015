"""How a run ends when the machine gives out: full memory, a worker that was killed."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sodkit.data.samples.loader import WorkerGoneError
from sodkit.errors import SodkitError

CPU_ALLOCATOR = "DefaultCPUAllocator"
"""In torch's message when the computer's own memory is full: it has no class of its own."""

NOT_DETERMINISTIC = "does not have a deterministic implementation"
"""In torch's message about an operation that ``schedule.deterministic`` rules out."""

WORKER = "DataLoader worker (pid"
"""What torch's message starts with when its handler of SIGCHLD, set by another loader, raises."""


@contextmanager
def explained(advice: str) -> Iterator[None]:
    """Turn torch's errors about memory, workers and algorithms into ours; usable as a decorator.

    Args:
        advice: what needs less memory.

    Raises:
        SodkitError: the memory of the device or the computer is full, a worker was killed, or an
            operation has no deterministic algorithm.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise SodkitError(f"the device's memory is full: {error}", hint=advice) from error
    except MemoryError as error:
        raise SodkitError(f"the memory is full: {error}", hint=advice) from error
    except OSError as error:
        if error.errno == errno.ENOMEM:
            raise SodkitError(f"the memory is full: {error}", hint=advice) from error
        raise
    except RuntimeError as error:
        if CPU_ALLOCATOR in str(error):
            raise SodkitError(f"the memory is full: {error}", hint=advice) from error
        if NOT_DETERMINISTIC in str(error):
            raise SodkitError(
                f"schedule.deterministic: {str(error).partition('.')[0]}",
                hint="schedule.deterministic=false lets it run; results then differ in last digits",
            ) from error
        if str(error).startswith(WORKER):
            raise WorkerGoneError(str(error).strip(), advice) from error
        raise
    except WorkerGoneError as error:
        raise WorkerGoneError(error.reason, advice) from error
