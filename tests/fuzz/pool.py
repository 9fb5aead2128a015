"""Many inputs in forked processes: whatever an input does to its process, the others go on."""

from __future__ import annotations

import gc
import json
import mmap
import os
import selectors
import shutil
import signal
import struct
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from .reader import Files, Folder, Reader, make_input
from .watch import FAULTS, Limits, Outcome, Watch

_MARK = struct.Struct("qd")
"""What a process is at: the number of its input, and since when."""

_INTERRUPTS = (signal.SIGINT, signal.SIGTERM)

_DEEP = Path("a/b/c/d/e")
"""Readers look some folders above the input's own: these hold nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A reader with its valid inputs."""

    reader: Reader
    valid: tuple[Files, ...]

    @classmethod
    def of(cls, reader: Reader, scratch: Path) -> Self:
        """Make the valid inputs and read them once: what that loads, all processes have.

        Raises:
            SodkitError: if the reader refuses one of them.
        """
        valid = reader.valid()
        before = Path.cwd()
        for number, files in enumerate(valid):
            folder = Folder(scratch / reader.name / str(number) / _DEEP)
            folder.show(files)
            os.chdir(folder.path)
            try:
                reader.call(folder.path)
            finally:
                os.chdir(before)
        return cls(reader, valid)


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault with what it takes to replay it."""

    reader: str
    seed: int
    number: int
    outcome: Outcome

    @property
    def kind(self) -> tuple[str, str, str, str]:
        """What faults of one class share."""
        what = self.outcome.what.split(":")[0] if self.outcome.end == "raised" else ""
        return self.reader, self.outcome.end, what, self.outcome.place


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some inputs of a reader for one process: numbers from ``start`` to before ``stop``."""

    subject: Subject
    seed: int
    start: int
    stop: int


@dataclass(slots=True)
class Result:
    """What came of all inputs: how many ended how, by reader, and the faults."""

    ends: dict[str, Counter[str]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def total(self) -> int:
        """Return the number of inputs."""
        return sum(sum(counts.values()) for counts in self.ends.values())


def rounds(
    subjects: list[Subject], seed: int, first: int = 0, inputs: int | None = None
) -> Iterator[Chunk]:
    """Yield chunks round robin, each reader's numbers from ``first`` on, for ever or ``inputs``.

    The rounds grow, so that a short run sees all readers and a long one seldom forks.
    """
    given, turn = 0, 0
    following = {subject.reader.name: first for subject in subjects}
    while inputs is None or given < inputs:
        for subject in subjects:
            count = max(1, subject.reader.share * min(2**turn, 64) // 4)
            count = count if inputs is None else min(count, inputs - given)
            start = following[subject.reader.name]
            if count > 0:
                yield Chunk(subject, seed, start, start + count)
            following[subject.reader.name] += count
            given += count
        turn += 1


class _Child:
    """A forked process at work on a chunk."""

    def __init__(self, chunk: Chunk, scratch: Path, limits: Limits, deadline: float) -> None:
        self.chunk, self.scratch = chunk, scratch
        self.mark = mmap.mmap(-1, _MARK.size)
        self._set(chunk.start)
        self.pipe, theirs = os.pipe()
        self.text = b""
        self.pid = os.fork()
        if self.pid == 0:
            try:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, _INTERRUPTS)
                os.close(self.pipe)
                self._work(theirs, scratch, limits, deadline)
            except BaseException:
                _send(theirs, {"broken": traceback.format_exc()})
            finally:
                os._exit(0)
        os.close(theirs)

    def _set(self, number: int) -> None:
        self.mark[:] = _MARK.pack(number, time.monotonic())

    def at(self) -> tuple[int, float]:
        """Return the number of the input it is at, and since how many seconds."""
        number, since = _MARK.unpack(self.mark[:])
        return number, time.monotonic() - since

    def _work(self, pipe: int, scratch: Path, limits: Limits, deadline: float) -> None:
        chunk, ends = self.chunk, Counter[str]()
        subject = chunk.subject
        folder = Folder(scratch / _DEEP)
        os.chdir(folder.path)
        watch = Watch(limits)
        number = chunk.start
        while number < chunk.stop and time.monotonic() < deadline:
            self._set(number)
            folder.show(make_input(subject.reader, subject.valid, chunk.seed, number))
            self._set(number)
            outcome = watch.call(subject.reader.call, folder.path)
            ends[outcome.end] += 1
            if outcome.end in FAULTS:
                _send(pipe, {"number": number, "outcome": asdict(outcome)})
            number += 1
            if outcome.end == "memory":
                break  # the process remembers its peak: another one goes on
            if subject.reader.writes:
                folder.clear()
        _send(pipe, {"ends": ends, "next": number})


def _send(pipe: int, message: dict[str, object]) -> None:
    data = json.dumps(message).encode() + b"\n"
    while data:
        data = data[os.write(pipe, data) :]


def run(
    chunks: Iterator[Chunk],
    scratch: Path,
    result: Result,
    *,
    workers: int = 1,
    limits: Limits | None = None,
    seconds: float = float("inf"),
    progress: Callable[[Result], None] = lambda result: None,
) -> None:
    """Try inputs in forked processes until there are none left or the time is up.

    Args:
        chunks: the inputs.
        scratch: a folder in memory, for the inputs.
        result: what came of them is added to it, as each process ends.
        workers: processes at a time.
        limits: of every call.
        seconds: after so many no further input is tried.
        progress: called when a process has ended.
    """
    limits, deadline = limits or Limits(), time.monotonic() + seconds
    again: list[Chunk] = []
    children: dict[int, _Child] = {}
    numbers = iter(range(10**9))
    gc.freeze()  # a collection in a child would touch, and so copy, all that it shares with us
    with selectors.DefaultSelector() as selector:
        try:
            while True:
                while len(children) < workers and time.monotonic() < deadline:
                    chunk = again.pop() if again else next(chunks, None)
                    if chunk is None:
                        break
                    # An interrupt waits until the child is known: an unknown one would live on.
                    signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPTS)
                    child = _Child(chunk, scratch / str(next(numbers)), limits, deadline)
                    children[child.pipe] = child
                    selector.register(child.pipe, selectors.EVENT_READ)
                    signal.pthread_sigmask(signal.SIG_UNBLOCK, _INTERRUPTS)
                if not children:
                    return
                for key, _ in selector.select(0.5):
                    child = children[key.fd]
                    data = os.read(key.fd, 1 << 16)
                    child.text += data
                    if not data:
                        selector.unregister(key.fd)
                        del children[key.fd]
                        again += _ended(child, result)
                        progress(result)
                for child in children.values():
                    if child.at()[1] > limits.seconds + 5:
                        os.kill(child.pid, signal.SIGKILL)
        finally:
            for child in children.values():
                os.kill(child.pid, signal.SIGKILL)
                os.waitpid(child.pid, 0)


def _ended(child: _Child, result: Result) -> list[Chunk]:
    """Take in what a process has sent; return what is left of its chunk."""
    os.close(child.pipe)
    shutil.rmtree(child.scratch, ignore_errors=True)
    _, status = os.waitpid(child.pid, 0)
    chunk, name = child.chunk, child.chunk.subject.reader.name
    ends = result.ends.setdefault(name, Counter())
    following = None
    for line in child.text.split(b"\n")[:-1]:  # the last one ends where the process died
        message = json.loads(line)
        if "broken" in message:
            raise RuntimeError(f"the fuzzer failed at {name} {child.at()[0]}: {message['broken']}")
        if "number" in message:
            outcome = Outcome(**message["outcome"])
            result.faults.append(Fault(name, chunk.seed, message["number"], outcome))
        else:
            ends.update(message["ends"])
            following = int(message["next"])
    if following is None:
        number, since = child.at()
        outcome = Outcome("died", f"{_end_of(status)} after {since:.0f} s", _end_of(status))
        result.faults.append(Fault(name, chunk.seed, number, outcome))
        ends.update({"died": 1, "unknown": number - chunk.start})
        following = number + 1
    rest = Chunk(chunk.subject, chunk.seed, following, chunk.stop)
    return [rest] if following < chunk.stop else []


def _end_of(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
