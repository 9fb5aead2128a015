"""Machine code: what it takes, that it is kept, and that keeping it is safe."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sodkit import compiled as module
from sodkit.compiled import Kernel, compiled

STEP = 2.0


def helper(row: np.ndarray, weight: float) -> tuple[float, int]:
    return row[0] * weight + STEP, len(row)


@compiled("f8(f8[:,:], u1[:], i4[:], i8, f8)")
def total(rows, chosen, counts, start, weight):
    result = 0.0
    for i in range(start, len(rows)):
        value, length = helper(rows[i], weight)
        if chosen[i]:
            result += value / counts[i]
            counts[i] = length
    return result


def test_equals_its_python_original() -> None:
    rows, chosen = np.arange(8.0).reshape(4, 2), np.array([True, True, False, True])
    counts = np.array([1, 2, 3, 0], np.int32)  # a division by zero is no exception
    again = counts.copy()
    assert isinstance(total, Kernel)
    assert total(rows, chosen, counts, 0, 1.5) == np.inf
    np.testing.assert_array_equal(counts, [2, 2, 3, 2])
    again[3] = 1
    expected = total.function(rows, chosen, again, 0, 1.5)
    assert total(rows, chosen, np.array([1, 2, 3, 1], np.int32), 0, 1.5) == expected


@pytest.mark.parametrize(
    "rows",
    [
        np.zeros((4, 2), np.float32),
        np.zeros(4),
        np.zeros((4, 4))[:, ::2],
        np.zeros((2, 4)).T,
    ],
)
def test_arrays_that_do_not_fit_are_refused(rows: np.ndarray) -> None:
    with pytest.raises(TypeError, match="total"):
        total(rows, np.zeros(4, np.bool_), np.zeros(4, np.int32), 0, 1.0)


def test_the_number_of_arguments_is_checked() -> None:
    with pytest.raises(TypeError, match="takes 5 arguments"):
        total(np.zeros((4, 2)))


def test_a_changed_helper_or_constant_changes_the_fingerprint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert isinstance(total, Kernel)
    before = module._fingerprint(total)
    assert module._fingerprint(total) == before
    monkeypatch.setitem(globals(), "STEP", 3.0)
    assert module._fingerprint(total) != before
    monkeypatch.undo()

    def other(row: np.ndarray, weight: float) -> tuple[float, int]:
        return row[0] - weight, len(row)

    monkeypatch.setitem(globals(), "helper", other)
    assert module._fingerprint(total) != before


def test_two_processes_share_the_first_compilation(tmp_path: Path) -> None:
    (tmp_path / "many.py").write_text(MANY, "utf-8")
    folder = Path(__file__).parents[1]
    environment = {"PYTHONPATH": f"{folder}:{tmp_path}", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-c", "import many; many.main()"]
    for compiled_here in (["one", "three"], []):
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        assert done.stdout.split() == compiled_here
    assert len(list((tmp_path / "__pycache__").glob("*.o"))) == 3


@pytest.mark.parametrize("damage", ["cut", "empty", "zeros", "one bit"])
def test_a_damaged_file_is_compiled_anew(tmp_path: Path, damage: str) -> None:
    """Running it would crash the process, and every later one."""
    (tmp_path / "many.py").write_text(MANY, "utf-8")
    folder = Path(__file__).parents[1]
    environment = {"PYTHONPATH": f"{folder}:{tmp_path}", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-c", "import many; many.one(many.np.zeros(1))"]
    subprocess.run(command, check=True, env=environment)
    (path,) = (tmp_path / "__pycache__").glob("*.o")
    sound = path.read_bytes()
    middle = len(sound) // 2
    flipped = sound[:middle] + bytes([sound[middle] ^ 1]) + sound[middle + 1 :]
    bad = {"cut": sound[:middle], "empty": b"", "zeros": bytes(len(sound)), "one bit": flipped}
    path.write_bytes(bad[damage])
    subprocess.run(command, check=True, env=environment)
    assert path.read_bytes() == sound


MANY = """
import numpy as np
from sodkit import compiled as module
from sodkit.compiled import compiled, prepare

@compiled("void(f8[:])")
def one(values):
    values[0] = 1

@compiled("void(f8[:])")
def two(values):
    values[0] = 2

@compiled("void(f8[:])")
def three(values):
    values[0] = 3

def main():
    slow = module._compile
    def spy(kernel, name):
        print(kernel.function.__name__)
        return slow(kernel, name)
    module._compile = spy
    prepare(one, two, three)
    room = np.zeros(1)
    for number, kernel in enumerate((one, two, three), 1):
        kernel(room)
        assert room[0] == number
"""

KERNEL = """
import sys
import numpy as np
from sodkit.compiled import compiled

@compiled("void(f8[:], f8)")
def fill(values, value):
    for i in range(len(values)):
        values[i] = value

room = np.zeros(5000)
fill(room, 0.0)
fill(room, 2.5)
assert (room == 2.5).all()
print("numba" in sys.modules)
"""


def test_a_second_process_loads_it_without_numba(tmp_path: Path) -> None:
    script = tmp_path / "kernel.py"
    script.write_text(KERNEL, "utf-8")
    folder = Path(__file__).parents[1]

    def run() -> str:
        command = [sys.executable, "-W", "error", str(script)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, cwd=folder, env=environment
        )
        return done.stdout.strip()

    environment = {"PYTHONPATH": str(folder), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    assert run() == "True"
    kept = list((tmp_path / "__pycache__").glob("*.o"))
    assert len(kept) == 1
    assert run() == "False"
    # No folder to write to beside the script: the user's cache takes it.
    kept[0].unlink()
    (tmp_path / "__pycache__").rmdir()
    (tmp_path / "__pycache__").write_text("", "utf-8")
    assert run() == "True"
    assert len(list((tmp_path / "cache" / "sodkit").glob("*.o"))) == 1
    assert run() == "False"
