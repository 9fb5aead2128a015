"""Faults by class, with the command that replays one; their inputs are kept in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .pool import Fault, Result, Subject
from .reader import make_input

_KEPT = 2
"""Inputs kept of a class of faults."""


def by_class(faults: list[Fault]) -> list[list[Fault]]:
    """Return faults by class, each class by number, the largest class first."""
    classes: dict[tuple[str, ...], list[Fault]] = {}
    for fault in sorted(faults, key=lambda fault: (fault.reader, fault.number)):
        classes.setdefault(fault.kind, []).append(fault)
    return sorted(classes.values(), key=len, reverse=True)


def lines(result: Result, command: str) -> Iterator[str]:
    """Yield the report: how inputs ended by reader, then the classes of faults."""
    for name, ends in result.ends.items():
        counts = ", ".join(f"{count} {end}" for end, count in sorted(ends.items()))
        yield f"{name}: {counts}"
    classes = by_class(result.faults)
    for some in classes:
        first = some[0]
        yield f"\n{len(some)} x {first.reader}: {first.outcome.end} at {first.outcome.place}"
        yield f"  {first.outcome.what[:300]!r}"
        yield f"  {command} --reader {first.reader} --seed {first.seed} --only {first.number}"
    yield f"\n{result.total()} inputs, {len(result.faults)} faults of {len(classes)} classes"


def keep(folder: Path, subjects: list[Subject], faults: list[Fault], count: int = _KEPT) -> None:
    """Write the inputs of some faults of each class, each into a folder of its own."""
    known = {subject.reader.name: subject for subject in subjects}
    for some in by_class(faults):
        for fault in some[:count]:
            subject = known[fault.reader]
            target = folder / f"{fault.reader}-{fault.seed}-{fault.number}"
            files = make_input(subject.reader, subject.valid, fault.seed, fault.number)
            for name, content in files.items():
                path = target / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            text = f"{fault.outcome.end} at {fault.outcome.place}\n{fault.outcome.what}\n"
            (target.parent / f"{target.name}.fault").write_text(text, "utf-8", "backslashreplace")
