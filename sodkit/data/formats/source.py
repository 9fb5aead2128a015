"""Reading a source file with errors that name the place: bytes, text, JSON, safe file names.

What is wrong is reported by a ``Report``. Ordinary reading passes ``stop``, which raises it; a
check passes one that notes it, and the reader goes on without the part concerned.
"""

from __future__ import annotations

import difflib
import json
import logging
import math
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import msgspec

from sodkit.data.formats.folders import LONGEST_NAME
from sodkit.errors import DataError, ImageError
from sodkit.json_text import BOM, JsonError, decode, decode_items, encoding_fault

T = TypeVar("T")

_PLAIN_NAME = re.compile(r"\w[\w-]*(\.\w[\w-]*)*(/\w[\w-]*(\.\w[\w-]*)*)*", re.ASCII)

_QUOTED = 60
"""Characters of a text that are quoted."""

_AROUND = 20
"""So many bytes before and behind a mistake in JSON are shown."""

_LONGEST_PATH = 4095
"""Bytes that systems take for a path."""

Report = Callable[[DataError, str], None]
"""Called with something wrong: the error, and a short name of its kind."""


class Oddity(DataError):  # noqa: N818 - it is no failure
    """Something odd that is read all the same: a ``Report`` shows it and never raises it."""


class EmptySubset(Oddity):
    """A subset whose folder of labels is empty: a check calls it an error."""


class MissingImageError(DataError):
    """Annotations whose image is not there; ``stem`` is the name it should have, without suffix."""

    def __init__(self, what: str, *, stem: str, where: Path, hint: str | None = None) -> None:
        super().__init__(what, where=where, hint=hint)
        self.stem = stem


SKIPPED = ("no-size", "not-finite", "outside", "bad-polygon")
"""Kinds of boxes that ``--skip-bad`` leaves out: releases have a handful among 100 000."""


def stop(error: DataError, kind: str) -> None:
    """Raise what is wrong, log an ``Oddity``: the ``Report`` of ordinary reading."""
    if isinstance(error, Oddity):
        logging.getLogger("sodkit").warning("note: %s", error)
        return
    skipped = kind in SKIPPED or isinstance(error, (MissingImageError, ImageError))
    raise advised(error) if skipped else error


def advised(error: DataError) -> DataError:
    """Add to an error's hint that ``--skip-bad`` leaves out what it is about."""
    advice = "--skip-bad leaves out such boxes and images, and lists them"
    if advice not in (error.hint or ""):
        error.hint = advice if error.hint is None else f"{error.hint}; {advice}"
    return error


def read_bytes(path: Path) -> bytes:
    """Return the content of a file without a UTF-8 byte order mark.

    Raises:
        DataError: if it is missing, a folder or unreadable.
    """
    try:
        return path.read_bytes().removeprefix(BOM)
    except FileNotFoundError as error:
        raise DataError("no such file", where=path) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DataError(f"cannot be read: {reason}", where=path) from error


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file in UTF-8, whatever its line ends.

    Raises:
        DataError: if it is missing, unreadable, or not UTF-8 (with the line).
    """
    data = read_bytes(path)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(encoding_fault(data), where=f"{path}:{line}") from error
    return [line.removesuffix("\r") for line in text.split("\n")]


def number(text: str) -> float:
    """Return a finite number.

    Raises:
        ValueError: if it is none; Python's own ``float`` also takes "nan" and "1_000".
    """
    value = float(text)
    if not math.isfinite(value) or "_" in text:
        raise ValueError(text)
    return value


def quoted(text: str) -> str:
    """Return a text from a file for a message: in quotes, its start if it is long."""
    return repr(text if len(text) <= _QUOTED else f"{text[:_QUOTED]}...")


def closest(name: str, known: Iterable[str], likeness: float = 0.6) -> str | None:
    """Return the known name most like ``name``, None if none reaches the likeness 0..1."""
    folded = {item.casefold(): item for item in known}
    found = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=likeness)
    return folded[found[0]] if found else None


def decode_json(data: bytes, kind: type[T], path: Path, *, form: str | None = None) -> T:
    """Decode JSON as ``kind``.

    Args:
        data: the JSON text.
        kind: what msgspec is to make of it.
        path: the file it is from, for messages.
        form: a hint if it is of another form: how such a file looks.

    Raises:
        DataError: if it is no JSON (with the line), or of another form (with the JSON path).
    """
    try:
        return decode(data, kind)
    except JsonError as error:
        raise data_error(error, data, path, form=form) from error


def decode_list(
    raws: list[msgspec.Raw],
    kind: type[T],
    path: Path,
    key: str,
    report: Report,
    *,
    lax: bool = False,
    form: str | None = None,
) -> list[tuple[int, T]]:
    """Decode the items of a JSON list.

    Args:
        raws: the items.
        kind: what msgspec is to make of each.
        path: the file they are from, for messages.
        key: the list's name, for messages.
        report: called with every item that is of another form.
        lax: 1.0 and "1" are integers, too.
        form: a hint on items of another form: how one looks.

    Returns:
        (position, item) of the sound ones.
    """

    def wrong(position: int, text: bytes, error: JsonError) -> None:
        report(item_error(error, text, path, f"{key}[{position}]", form=form), "form")

    return decode_items(raws, kind, wrong, lax=lax)


def item_error(
    error: JsonError, text: bytes, path: Path, at: str, *, form: str | None = None
) -> DataError:
    """Say what is wrong with an item of a JSON list: its text, the file and its place in it."""
    if error.reason != "form":
        return DataError(str(error), where=f"{path}: {at}")
    at += f"{'.' if error.place else ''}{error.place}{_id_text(text)}"
    return DataError(str(error), where=f"{path}: {at}", hint=form)


def _id_text(raw: bytes) -> str:
    """Return `` (id 5)`` of an item that could not be decoded, if it has an id."""
    try:
        value = decode(raw, _AnyId).id
    except JsonError:
        return ""
    return "" if value is None else f" (id {value})"


def is_foreign(name: str) -> bool:
    """Return whether a path is absolute, on this system or on Windows."""
    return name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name) is not None


def leads_elsewhere(name: str) -> bool:
    """Return whether a file name is absolute or leads out of its folder: it is never opened."""
    return is_foreign(name) or (".." in name and ".." in name.replace("\\", "/").split("/"))


def stated_name(name: str, where: str) -> str:
    """Return ``safe_name``, but a path that leads elsewhere as it stands: it may be resolved."""
    usable = "\0" not in name and len(os.fsencode(name)) <= LONGEST_NAME
    return name if usable and leads_elsewhere(name) else safe_name(name, where)


def safe_name(name: str, where: str) -> str:
    """Return the name of an image file, relative and with forward slashes.

    Raises:
        DataError: if it is empty, absolute, leads out of its folder or is too long for a file.
    """
    if len(name) <= LONGEST_NAME and _PLAIN_NAME.fullmatch(
        name
    ):  # nearly all; taking paths apart is slow
        return name
    fault = _name_fault(name, where)
    if fault is not None:
        raise fault
    return name.replace("\\", "/")


def lost_name(name: str, where: str, others: int) -> DataError:
    """Return the error on a name that leads elsewhere and fits no file, of ``others`` + 1 such."""
    fault = _name_fault(name, where)
    what = f"the file name {name!r} leads elsewhere" if fault is None else fault.what
    more = f" (and {others} more like it)" if others else ""
    hint = "give the folder of the images by --images"
    return DataError(f"{what}, and no file here has that name alone{more}", where=where, hint=hint)


def _name_fault(name: str, where: str) -> DataError | None:
    """Return what is wrong with the name of an image file, None if it can be used."""
    clean = name.replace("\\", "/")
    parts = PurePosixPath(clean).parts
    if not parts or "\0" in clean:
        return DataError(f"{name!r} is not a file name", where=where)
    if is_foreign(clean):
        return DataError(
            f"the file name {name!r} is a path of another machine",
            where=where,
            hint="give the folder of the images by --images, or write the name as it is there",
        )
    if ".." in parts:
        return DataError(
            f"the file name {name!r} leads out of the images folder",
            where=where,
            hint="file names are relative to the folder given by --images, without '..'",
        )
    long = next((part for part in parts if len(os.fsencode(part)) > LONGEST_NAME), None)
    if long is not None or len(os.fsencode(clean)) > _LONGEST_PATH:
        most = _LONGEST_PATH if long is None else LONGEST_NAME
        return DataError(
            f"the file name {_shown(long or clean)} has more than {most} bytes: no file has",
            where=where,
            hint="give the image a shorter name, in its folder and here",
        )
    return None


def _shown(name: str) -> str:
    """Return a long name for a message: its start and its end."""
    return repr(f"{name[:40]}...{name[-20:]}")


def data_error(
    error: JsonError, data: bytes, path: Path, at: str = "", *, form: str | None = None
) -> DataError:
    """Say where in a file JSON is wrong: by its JSON path, or by line and column.

    Args:
        error: what is wrong.
        data: the JSON text.
        path: the file.
        at: the JSON path of ``data`` inside the file.
        form: a hint on another form: how such a file looks.
    """
    if error.reason == "form":
        place = ".".join(part for part in (at, error.place) if part)
        return DataError(str(error), where=f"{path}: {place}" if place else path, hint=form)
    if error.reason == "depth":
        return DataError(str(error), where=path)
    end = len(data) if error.byte is None else error.byte
    line = data.count(b"\n", 0, end) + 1
    where = f"{path}:{line}"
    if error.reason == "encoding":
        return DataError(str(error), where=where)
    found = _not_a_number(data)
    if found is not None:
        place, value = found
        return DataError(f"{value} is not a number", where=f"{path}: {place}")
    if error.reason == "end":
        what = "the file ends too early" if data.strip() else "the file is empty"
        return DataError(f"broken JSON: {what}", where=where)
    column = end - data.rfind(b"\n", 0, end)
    around = data[max(end - _AROUND, 0) : end + _AROUND].decode(errors="ignore")
    return DataError(
        f"broken JSON: {error}, column {column}, in {around!r}",
        where=where,
        hint=f"python -m json.tool {path} checks JSON; was it written by hand or by another tool?",
    )


class _AnyId(msgspec.Struct):
    id: object = None


class _NotANumber:
    """Stands for a NaN or an infinity that some writers put into JSON."""

    def __init__(self, text: str) -> None:
        self.text = text


def _not_a_number(data: bytes) -> tuple[str, str] | None:
    """Return the JSON path and text of the first NaN or Infinity, None if that is not the fault."""
    try:
        return _find(json.loads(data, parse_constant=_NotANumber), "")
    except (ValueError, RecursionError):
        return None


def _find(node: Any, place: str) -> tuple[str, str] | None:
    if isinstance(node, _NotANumber):
        return place, node.text
    children: list[tuple[str, Any]] = []
    if isinstance(node, dict):
        children = [(f"{place}.{key}".lstrip("."), value) for key, value in node.items()]
    elif isinstance(node, list):
        children = [(f"{place}[{index}]", value) for index, value in enumerate(node)]
    for name, child in children:
        found = _find(child, name)
        if found is not None:
            owner = node.get("id") if isinstance(node, dict) else None
            suffix = f" (id {owner})" if isinstance(owner, int) and "(id" not in found[0] else ""
            return found[0] + suffix, found[1]
    return None
