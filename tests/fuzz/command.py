"""The command line of the fuzzer, for the real readers and for the planted ones of its tests."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from . import pool, report
from .reader import Reader
from .watch import Limits


def parser(command: str) -> argparse.ArgumentParser:
    """Return the parser of the options."""
    own = argparse.ArgumentParser(prog=command, description="Fuzz the readers.")
    own.add_argument("--reader", action="append", help="only this reader; repeatable")
    own.add_argument("--seed", type=int, default=0)
    own.add_argument("--seconds", type=float, default=float("inf"), help="time to try inputs")
    own.add_argument("--inputs", type=int, help="how many to try in all")
    own.add_argument("--first", type=int, default=0, help="number of each reader's first input")
    own.add_argument("--only", type=int, help="try this one input")
    own.add_argument("--workers", type=int, default=1, help="processes")
    own.add_argument("--keep", type=Path, help="folder for the inputs of faults")
    own.add_argument("--limit-seconds", type=float, default=Limits().seconds, help="of a call")
    own.add_argument("--limit-mb", type=int, default=Limits().memory >> 20, help="of a call")
    own.add_argument("--list", action="store_true", help="list the readers")
    return own


def main(readers: Sequence[Reader], command: str, arguments: Sequence[str]) -> int:
    """Run the fuzzer; return 1 if there was a fault, 130 if it was interrupted."""
    options = parser(command).parse_args(arguments)
    names = [reader.name for reader in readers]
    unknown = sorted(set(options.reader or ()) - set(names))
    if options.list or unknown:
        print("\n".join([*(f"no reader {name}" for name in unknown), *names]))
        return 2 if unknown else 0
    chosen = [item for item in readers if not options.reader or item.name in options.reader]
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as scratch:
        return _fuzz(chosen, command, options, Path(scratch))


def _fuzz(
    chosen: Sequence[Reader], command: str, options: argparse.Namespace, scratch: Path
) -> int:
    subjects = [pool.Subject.of(reader, scratch / "valid") for reader in chosen]
    if options.only is not None:
        chunk = pool.Chunk(subjects[0], options.seed, options.only, options.only + 1)
        chunks = iter([chunk])
    elif options.inputs is None and options.seconds == float("inf"):
        print("give --seconds, --inputs or --only", file=sys.stderr)
        return 2
    else:
        chunks = pool.rounds(subjects, options.seed, options.first, options.inputs)
    result = pool.Result()
    for number in (signal.SIGINT, signal.SIGTERM):  # also of a job in the background
        signal.signal(number, signal.default_int_handler)
    valid = sum(len(subject.valid) for subject in subjects)
    interrupted = False
    try:
        print(f"{len(subjects)} readers, {valid} valid inputs", file=sys.stderr, flush=True)
        pool.run(
            chunks, scratch, result, workers=options.workers,
            limits=Limits(options.limit_seconds, options.limit_mb << 20),
            seconds=options.seconds, progress=_Progress(),
        )  # fmt: skip
    except KeyboardInterrupt:
        interrupted = True
    for line in report.lines(result, command):
        print(line.encode("utf-8", "backslashreplace").decode())
    if options.keep is not None or options.only is not None:
        report.keep(options.keep or Path("faults"), subjects, result.faults)
    if interrupted:
        return 130
    return 1 if result.faults else 0


class _Progress:
    """Says on a terminal's stderr how far it is, once in 30 s into a file."""

    def __init__(self) -> None:
        self._start = self._last = time.monotonic()

    def __call__(self, result: pool.Result) -> None:
        now = time.monotonic()
        if now - self._last > 30:
            self._last = now
            classes = len(report.by_class(result.faults))
            text = (
                f"{now - self._start:.0f} s: {result.total()} inputs, {classes} classes of faults"
            )
            print(text, file=sys.stderr, flush=True)
