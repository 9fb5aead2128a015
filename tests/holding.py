"""A process that holds a lock, as another command does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOLD = """
import os, sys, time
from pathlib import Path
from sodkit.lock import lock_file, lock_folder
with {lock}(Path({path!r})):
    {more}
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def holding(
    path: Path, lock: str = "lock_folder", more: str = ""
) -> Iterator[subprocess.Popen[str]]:
    """Hold a lock in another process while the block runs."""
    code = HOLD.format(lock=lock, path=str(path), more=more)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
