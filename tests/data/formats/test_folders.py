from __future__ import annotations

import os
from pathlib import Path

import pytest

from sodkit.data.formats.folders import fitting, is_file, is_folder


def test_names_that_no_system_takes(tmp_path: Path) -> None:
    for name in ("a" * 300, "ä" * 130, "a/" * 3000):
        assert not is_file(tmp_path / name)
        assert not is_folder(tmp_path / name)
    assert is_folder(tmp_path)


@pytest.mark.parametrize("letter", ["a", "ä", "船"])
def test_only_names_that_are_too_long_are_cut(letter: str) -> None:
    size = len(letter.encode())
    fits, longer = letter * (200 // size), letter * (202 // size + 1)
    assert fitting(fits, 55) == fits
    assert fitting(f"{longer}/b", 55) == f"{longer}/b"
    cut = fitting(f"folder/{longer}", 55)
    assert cut.startswith(f"folder/{letter * 10}")
    assert len(os.fsencode(cut.removeprefix("folder/"))) <= 200
    assert cut != fitting(f"folder/{longer}b", 55) != fitting(f"other/{longer}b", 55)
