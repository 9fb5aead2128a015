from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest

from sodkit.data.images.path_list import expanded
from sodkit.errors import DataError, UsageError

NONE = BytesIO()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.png", "a.png", "c.jpg", "deep/er/d.png", "[x].png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(folder: Path, paths: list[Path]) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


def test_patterns(folder: Path) -> None:
    found = expanded([folder / "?.png", folder / "c.jpg"], NONE)
    assert names(folder, found) == ["a.png", "b.png", "c.jpg"]
    found = expanded([folder / "**" / "*.png"], NONE)
    assert names(folder, found) == ["[x].png", "a.png", "b.png", "deep/er/d.png"]
    with pytest.raises(DataError, match="no file matches"):
        expanded([folder / "*.tif"], NONE)


def test_what_exists_is_no_pattern(folder: Path) -> None:
    assert names(folder, expanded([folder / "[x].png"], NONE)) == ["[x].png"]
    missing = Path("no such file.png")
    assert expanded([missing], NONE) == [missing]  # whoever reads it says so


@pytest.mark.parametrize("text", [b"a b.png\r\n\nd/e.png\n", b"a b.png\0d/e.png\0"])
def test_a_list_on_standard_input(text: bytes) -> None:
    found = expanded([Path("x.png"), Path("-")], BytesIO(text))
    assert found == [Path("x.png"), Path("a b.png"), Path("d/e.png")]


def test_standard_input_that_cannot_be_used() -> None:
    with pytest.raises(DataError, match="lists no path"):
        expanded([Path("-")], BytesIO(b"\n"))
    with pytest.raises(UsageError, match="can be read once"):
        expanded([Path("-"), Path("-")], BytesIO(b"a"))
