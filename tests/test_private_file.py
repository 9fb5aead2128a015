"""Who may have written a file: the user and root only, through all folders above it."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest

from sodkit import private_file
from sodkit.private_file import NotPrivateError, check_folder, make_folder, read_private

pytestmark = pytest.mark.skipif(os.name != "posix", reason="checked on POSIX only")
as_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away"
)
OTHER = 54_321


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "above" / "folder"
    make_folder(folder, 0o700)
    (folder / "file").write_bytes(b"content")
    (folder / "file").chmod(0o644)
    return folder / "file"


def test_reads_what_is_private(path: Path) -> None:
    assert read_private(path) == b"content"
    check_folder(path.parent)
    path.chmod(0o600)
    path.parent.chmod(0o755)
    assert read_private(path) == b"content"


@pytest.mark.parametrize("mode", [0o666, 0o646, 0o664, 0o777])
def test_a_file_that_others_may_write(path: Path, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(NotPrivateError, match="file may be written to by others"):
        read_private(path)
    check_folder(path.parent)


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o757, 0o1777])
def test_a_folder_that_others_may_write(path: Path, mode: int) -> None:
    """The sticky bit does not help the folder itself: others may put a file under a new name."""
    path.parent.chmod(mode)
    for check in (read_private, lambda path: check_folder(path.parent)):
        with pytest.raises(NotPrivateError, match="folder may be written to by others"):
            check(path)


@pytest.mark.parametrize(("mode", "private"), [(0o777, False), (0o775, False), (0o1777, True)])
def test_a_folder_above(path: Path, mode: int, private: bool) -> None:
    """In /tmp and the like only the owner of a folder may put another in its place."""
    path.parents[1].chmod(mode)
    if private:
        assert read_private(path) == b"content"
    else:
        with pytest.raises(NotPrivateError, match="above may be written to by others"):
            read_private(path)


@as_root
@pytest.mark.parametrize("above", [0, 1, 2])
def test_what_belongs_to_another_user(path: Path, above: int) -> None:
    place = [path, path.parent, path.parents[1]][above]
    os.chown(place, OTHER, OTHER)
    if above == 2:
        place.chmod(0o1755)
    with pytest.raises(NotPrivateError, match=f"{place.name} belongs to another user"):
        read_private(path)


def test_a_user_trusts_what_is_roots(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system-wide installation is root's; root itself trusts no user."""
    if path.stat().st_uid == 0:
        monkeypatch.setattr(os, "geteuid", lambda: OTHER)
        assert read_private(path) == b"content"
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        with pytest.raises(NotPrivateError, match="belongs to another user"):
            read_private(path)


def test_links(path: Path, tmp_path: Path) -> None:
    link = path.with_name("link")
    link.symlink_to(path)
    with pytest.raises(NotPrivateError, match="is a link"):
        read_private(link)
    link.unlink()
    link.symlink_to("absent")
    with pytest.raises(NotPrivateError, match="is a link"):
        read_private(link)
    # A link to the folder counts as what it leads to.
    (tmp_path / "short").symlink_to(path.parent)
    assert read_private(tmp_path / "short" / "file") == b"content"
    path.parent.chmod(0o777)
    with pytest.raises(NotPrivateError, match="folder may be written"):
        read_private(tmp_path / "short" / "file")


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_ordinary_file(path: Path, make: Callable[[Path], None]) -> None:
    path.unlink()
    make(path)
    with pytest.raises(NotPrivateError, match="is no ordinary file"):
        read_private(path)


def test_what_is_missing(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_private(path.with_name("absent"))
    with pytest.raises(FileNotFoundError):
        check_folder(path.with_name("absent"))


@pytest.mark.parametrize(
    ("number", "name", "members", "own"),
    [
        (700, "ann", [], True),
        (700, "ann", ["ann"], True),
        (700, "ann", ["ann", "bob"], False),
        (700, "staff", [], False),
        (701, "ann", [], False),
        (0, "ann", [], False),
    ],
)
def test_the_group_that_only_the_user_is_in(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    name: str,
    members: list[str],
    own: bool,
) -> None:
    """With a umask of 002 everything is written for such a group."""
    user = pwd.struct_passwd(("ann", "x", os.geteuid(), 0 if number == 0 else 700, "", "/", "sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda _: user)
    monkeypatch.setattr(grp, "getgrgid", lambda _: grp.struct_group((name, "x", number, members)))
    assert private_file._is_own_group(number) == own


def test_a_user_without_a_name_has_no_own_group(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_: int) -> None:
        raise KeyError("uid not found")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert not private_file._is_own_group(5)


def test_folders_are_made_for_the_user_alone(tmp_path: Path) -> None:
    mask = os.umask(0o002)
    try:
        make_folder(tmp_path / "a" / "b", 0o700)
        make_folder(tmp_path / "a" / "c", 0o755)
        make_folder(tmp_path / "a" / "c", 0o700)
    finally:
        os.umask(mask)
    modes = [(tmp_path / "a" / name).stat().st_mode & 0o777 for name in (".", "b", "c")]
    assert modes == [0o700, 0o700, 0o755]
