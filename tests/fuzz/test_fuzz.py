"""Fuzzing for less than a minute, and that the fuzzer finds what is planted."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from .pool import Subject, rounds
from .reader import Files, Reader, make_input
from .spoil import spoil
from .table import READERS

ROOT = Path(__file__).parents[2]
INPUTS = 10_000

READER_NAMES = [reader.name for reader in READERS]


def fuzz(*arguments: object, module: str = "tests.fuzz") -> subprocess.CompletedProcess[str]:
    """Run the fuzzer in a process of its own: this one has threads, and must not be forked."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def planted(name: str, *arguments: object) -> str:
    """Fuzz a reader with a planted fault; return the report, which must name a fault."""
    done = fuzz("--reader", name, "--inputs", 8, *arguments, module="tests.fuzz.planted")
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


def test_readers_accept_or_refuse_whatever_they_get() -> None:
    # a number of inputs, not of seconds: the same ones on any machine
    done = fuzz("--inputs", INPUTS, "--workers", 2)
    assert done.returncode == 0, done.stdout + done.stderr
    tried = re.findall(r"^([\w-]+): \d+ ", done.stdout, re.MULTILINE)
    assert sorted(tried) == sorted(READER_NAMES)  # every reader had its turn


def test_a_sound_reader_has_no_fault() -> None:
    done = fuzz("--reader", "sound", "--inputs", 300, module="tests.fuzz.planted")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "300 inputs, 0 faults" in done.stdout
    assert re.search(r"sound: \d+ accepted, \d+ refused", done.stdout)


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("raises", ("--inputs", 100), r"raises: raised at tests/fuzz/planted.py:\d+\n  .*KeyError"),
        ("sleeps", ("--limit-seconds", 0.2), r"6 x sleeps: slow at"),
        ("spins", ("--inputs", 3, "--limit-seconds", 0.2), r"1 x spins: died at SIGKILL"),
        ("fills", ("--limit-mb", 100), r"6 x fills: memory at .*\n  .took \d+ MB"),
        ("asks", (), r"6 x asks: raised at .*\n  .*MemoryError"),
        ("dies", (), r"6 x dies: died at SIGSEGV"),
        ("warns", (), r"6 x warns: said at .*RuntimeWarning: odd"),
        ("prints", (), r"6 x prints: said at library: # errors"),
    ],
)
def test_a_planted_fault_is_found(name: str, more: tuple[object, ...], message: str) -> None:
    report = planted(name, *more)
    assert re.search(message, report), report


def test_a_fault_is_kept_and_replayed(tmp_path: Path) -> None:
    report = planted("raises", "--inputs", 100, "--keep", tmp_path / "kept")
    found = re.search(r"python -m (\S+) (--reader raises --seed 0 --only (\d+))", report)
    assert found is not None, report
    again = fuzz(*found[2].split(), "--keep", tmp_path / "again", module=found[1])
    assert "1 inputs, 1 faults" in again.stdout
    name = Path(f"raises-0-{found[3]}") / "a.json"
    kept = (tmp_path / "kept" / name).read_bytes()
    assert (tmp_path / "again" / name).read_bytes() == kept
    assert b"x" not in kept or b'"x"' not in kept


def test_after_a_process_died_the_others_inputs_are_tried() -> None:
    report = planted("dies", "--inputs", 12, "--workers", 2)
    assert re.search(r"^dies: 2 accepted, 10 died", report, re.MULTILINE) or "10 x dies" in report


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_with_a_report(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "tests.fuzz.planted", "--reader", "sound", "--seconds", "99"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "1 readers, 2 valid inputs\n"
        process.send_signal(number)
        report, errors = process.communicate()
    assert process.returncode == 130
    assert "inputs, 0 faults" in report
    assert "Traceback" not in errors


_INTERRUPT_AT_FORK = """
import os, signal, sys
fork = os.fork
def interrupted():
    child = fork()
    if child:
        os.kill(os.getpid(), signal.SIGINT)
    return child
os.fork = interrupted
from tests.fuzz.command import main
from tests.fuzz.planted import PLANTED
code = main(PLANTED, "planted", ["--reader", "sound", "--seconds", "9"])
try:
    os.waitpid(-1, os.WNOHANG)
    print("a process is left")
except ChildProcessError:
    pass
sys.exit(code)
"""


def test_an_interrupt_while_a_process_starts_leaves_none_behind() -> None:
    command = [sys.executable, "-c", _INTERRUPT_AT_FORK]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 130, done.stderr
    assert "inputs, 0 faults" in done.stdout
    assert "a process is left" not in done.stdout


def digest(files: Files) -> str:
    own = hashlib.blake2b(digest_size=8)
    for name in sorted(files):
        own.update(name.encode() + b"\0" + files[name])
    return own.hexdigest()


def digests() -> dict[str, list[str]]:
    """Return digests of the first inputs of every reader."""
    found = {}
    for reader in READERS:
        valid = reader.valid()
        inputs = (make_input(reader, valid, 3, number) for number in range(30))
        found[reader.name] = [digest(files) for files in inputs]
    return found


def test_the_same_number_is_the_same_input_in_any_process() -> None:
    """Also under another order of sets, and made at another time."""
    code = "import json; from tests.fuzz.test_fuzz import digests; print(json.dumps(digests()))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": "1"},
    )  # fmt: skip
    own = digests()
    assert json.loads(done.stdout) == own
    for name, some in own.items():
        assert len(set(some)) > 15, name  # different numbers are different inputs


def test_rounds_visit_every_reader_and_skip_no_number() -> None:
    readers = [Reader(name, tuple, print, share=3) for name in "ab"]
    chunks = list(rounds([Subject(reader, ()) for reader in readers], 0, first=5, inputs=25))
    for name in "ab":
        own = [(c.start, c.stop) for c in chunks if c.subject.reader.name == name]
        assert own[0][0] == 5
        assert all(stop == start for (_, stop), (start, _) in pairwise(own))
    assert sum(chunk.stop - chunk.start for chunk in chunks) == 25


def test_the_first_inputs_are_valid_ones_and_only_targets_change() -> None:
    reader = Reader("some", tuple, print, targets=("*.txt",))
    valid: tuple[Files, ...] = tuple({"a.txt": text, "b.png": b"x"} for text in (b"one two", b"3"))
    assert make_input(reader, valid, 0, 1) is valid[1]
    inputs = [make_input(reader, valid, 0, number) for number in range(2, 60)]
    assert all(files["b.png"] == b"x" for files in inputs)
    assert len({files["a.txt"] for files in inputs}) > 20


def test_a_tree_that_unrolls_without_end_is_changed_as_bytes() -> None:
    names = "abcdefghij"
    rows = [f"{new}: &{new} [{','.join(['*' + old] * 9)}]" for old, new in pairwise(names)]
    bomb = "\n".join(["a: &a [x]", *rows]).encode()
    changed = {spoil(Random(number), "r.yaml", bomb, b"") for number in range(20)}
    assert len(changed) > 10


def test_options_that_make_no_run() -> None:
    assert fuzz("--reader", "nonsense", module="tests.fuzz.planted").returncode == 2
    done = fuzz("--reader", "sound", module="tests.fuzz.planted")
    assert done.returncode == 2
    assert "--seconds, --inputs or --only" in done.stderr
