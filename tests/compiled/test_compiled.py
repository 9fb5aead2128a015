"""Machine code: what it takes, that it is kept, and that a kept file is run only if it is sound."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from sodkit import compiled as module
from sodkit.compiled import Kernel, compiled
from sodkit.compiled.object_files import read_code, write_code

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


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Where object code is looked for: beside the byte code, and in the user's cache."""
    found = [tmp_path / "__pycache__" / "k.o", tmp_path / "cache" / "sodkit" / "k.o"]
    monkeypatch.setattr(module, "files", lambda *_: found)
    monkeypatch.setattr(module, "_NOTED", threading.Event())
    return found


def cached(monkeypatch: pytest.MonkeyPatch, code: bytes = b"new") -> bytes:
    monkeypatch.setattr(module, "compile_kernel", lambda *_: code)
    return module._code(total.function, total.signature, "mark")


def plant(path: Path, folder_mode: int, mode: int) -> None:
    """Put object code with the right checksum where others may write."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_code(path, b"planted")
    path.chmod(mode)
    path.parent.chmod(folder_mode)


def test_what_is_kept_is_kept_for_the_user(
    places: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = os.umask(0o002)
    try:
        assert cached(monkeypatch) == b"new"
        assert places[0].stat().st_mode & 0o777 == 0o644
        assert places[0].parent.stat().st_mode & 0o777 == 0o755
        places[0].unlink()
        places[0].parent.rmdir()
        places[0].parent.write_text("no folder can be made here")
        assert cached(monkeypatch) == b"new"
    finally:
        os.umask(mask)
    assert places[1].parent.stat().st_mode & 0o777 == 0o700
    assert cached(monkeypatch, b"newer") == b"new"
    assert capsys.readouterr() == ("", "")


@pytest.mark.skipif(os.name != "posix", reason="checked on POSIX only")
@pytest.mark.parametrize(
    ("folder_mode", "mode"), [(0o777, 0o644), (0o1777, 0o644), (0o775, 0o644), (0o755, 0o666)]
)
def test_code_that_others_may_have_written_is_not_run(
    places: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    folder_mode: int,
    mode: int,
) -> None:
    plant(places[0], folder_mode, mode)
    assert read_code(places)[0] is None
    assert cached(monkeypatch) == b"new"
    line = capsys.readouterr().err
    assert line.startswith("compiling anew, which takes seconds: ")
    assert line.count("\n") == 1
    assert "chmod go-w" in line
    # It is kept where that is safe, and later processes say nothing.
    safe = places[0] if folder_mode == 0o755 else places[1]
    assert safe.read_bytes().endswith(b"new")
    assert cached(monkeypatch, b"newer") == b"new"
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(os.name != "posix", reason="checked on POSIX only")
def test_where_no_place_is_safe_nothing_is_kept(
    places: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in places:
        plant(path, 0o777, 0o644)
    before = [path.read_bytes() for path in places]
    assert cached(monkeypatch) == b"new"
    assert cached(monkeypatch, b"newer") == b"newer"
    assert [path.read_bytes() for path in places] == before
    assert capsys.readouterr().err.count("\n") == 1  # once a process
    for path in places:
        path.unlink()
    module._NOTED.clear()
    assert cached(monkeypatch) == b"new"
    assert capsys.readouterr().err.count("\n") == 1
    assert not any(path.exists() for path in places)


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
    folder = Path(__file__).parents[2]

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


@pytest.mark.parametrize("damage", ["cut", "empty", "zeros", "one bit"])
def test_a_damaged_file_is_compiled_anew(tmp_path: Path, damage: str) -> None:
    """Running it would crash the process, and every later one."""
    script = tmp_path / "kernel.py"
    script.write_text(KERNEL, "utf-8")
    folder = Path(__file__).parents[2]
    environment = {"PYTHONPATH": str(folder), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [sys.executable, str(script)]
    subprocess.run(command, check=True, env=environment)
    (path,) = (tmp_path / "__pycache__").glob("*.o")
    sound = path.read_bytes()
    middle = len(sound) // 2
    flipped = sound[:middle] + bytes([sound[middle] ^ 1]) + sound[middle + 1 :]
    bad = {"cut": sound[:middle], "empty": b"", "zeros": bytes(len(sound)), "one bit": flipped}
    path.write_bytes(bad[damage])
    subprocess.run(command, check=True, env=environment)
    assert path.read_bytes() == sound
