"""Reading long JSON lists of like records fast: compiled, in threads, straight into columns.

``scan`` gives up on everything unusual, right or wrong: then the careful reader decides. So every
number read here is the double that a correct JSON reader gives, and nothing is accepted that is
not JSON.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from sodkit.arrays import BitArray, ByteArray, FloatArray, IntArray, WordArray
from sodkit.compiled import compiled
from sodkit.json_columns.decimals import FIVES, TENS, TWOS, scan_number
from sodkit.json_columns.fields import INTEGER, NUMBERS, REFERENCE, SKIP, TEXT, Field, JsonColumns
from sodkit.threads import map_in_order

_WINDOW = 1 << 16

THREADS = min(os.cpu_count() or 1, 8)
"""Threads that share out a list; no result depends on it."""


def scan(data: ByteArray, fields: Mapping[str, Field], *, is_json: bool) -> JsonColumns | None:
    """Read a JSON list of records.

    Args:
        data: (B,) its bytes, from the bracket to the bracket but for white space.
        fields: what to read, by name; the first record shows which of them there are.
        is_json: it is known to be valid JSON; then other fields may be skipped.

    Returns:
        the columns, or None if the list is in any way unusual, which says nothing about its being
        right: the first record lacks a field that a later one has, a number has more than 19
        digits, ...
    """
    first = _first_record(data)
    if first is None or len(first) > 31 or not (is_json or first.keys() <= fields.keys()):
        return None
    if any(field.required and name not in first for name, field in fields.items()):
        return None
    if any(name in first and field.kind == TEXT for name, field in fields.items()):
        return None
    bounds = _bounds(data)
    if bounds is None:
        return None
    # What only later records have must not be skipped: it is left to the careful reader.
    later = [name for name in fields if name not in first]
    parts = list(pairwise(bounds))
    most = list(map_in_order(lambda part: _count_braces(data, *part), parts, THREADS))
    starts = [0, *np.cumsum(most).tolist()]
    plan, names, integers, numbers, slots = _plan([*first, *later], fields, starts[-1])
    seen = np.zeros(starts[-1], np.uint32)

    def work(number: int) -> int:
        return _scan_records(
            data, *parts[number], names, plan, len(first), FIVES, TENS, TWOS,
            starts[number], starts[number + 1], integers, numbers, seen,
        )  # fmt: skip

    found = list(map_in_order(work, range(len(parts)), THREADS))
    if min(found) < 0 or found != most:
        return None
    return _columns([*first], fields, slots, integers, numbers, seen)


def _first_record(data: ByteArray) -> dict[str, object] | None:
    """Return the list's first record, None if there is none or it is very long."""
    head = data[:_WINDOW].tobytes().lstrip(b" \t\r\n")
    if head[:1] != b"[":
        return None
    text = head[1:].lstrip(b" \t\r\n").decode(errors="replace")
    try:
        record, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and record else None


def _bounds(data: ByteArray) -> list[int] | None:
    """Return where the threads' parts begin and end: at a record's brace or the list's bracket.

    What looks like the gap between two records may stand inside one; then the part before does not
    end there and the scan gives up.
    """
    tail = data[-_WINDOW:].tobytes().rstrip(b" \t\r\n")
    if not tail.endswith(b"]"):
        return None
    first = data[:_WINDOW].tobytes().index(b"{")
    last = len(data) - min(_WINDOW, len(data)) + len(tail) - 1
    bounds = [first]
    for part in range(1, THREADS):
        middle = max(first + (last - first) * part // THREADS, bounds[-1] + 1)
        gap = re.search(rb"\}[ \t\r\n]*,[ \t\r\n]*\{", data[middle : middle + _WINDOW].tobytes())
        if gap:
            bounds.append(middle + gap.end() - 1)
    return [*bounds, last]


def _plan(
    order: Sequence[str], fields: Mapping[str, Field], rows: int
) -> tuple[IntArray, ByteArray, IntArray, FloatArray, list[int]]:
    """Lay out the columns.

    Returns:
        (F, 4) kind, length of the name, place of the column, numbers a record; the names with
        their closing quote; room for the integers and the numbers; the places.
    """
    encoded = [name.encode() + b'"' for name in order]
    names = np.zeros((len(order), max(map(len, encoded))), np.uint8)
    plan = np.zeros((len(order), 4), np.int64)
    integers = numbers = 0
    for row, (name, text) in enumerate(zip(order, encoded, strict=True)):
        names[row, : len(text)] = np.frombuffer(text, np.uint8)
        field = fields.get(name, Field(SKIP))
        place = numbers if field.kind == NUMBERS else integers
        kind = INTEGER if field.kind == REFERENCE else field.kind  # text makes the scan give up
        plan[row] = kind, len(text), place, field.width
        if field.kind == NUMBERS:
            numbers += max(field.width, 1) * rows
        elif field.kind != SKIP:
            integers += rows
    return plan, names, np.zeros(integers, np.int64), np.empty(numbers), plan[:, 2].tolist()


def _columns(
    order: Sequence[str],
    fields: Mapping[str, Field],
    slots: Sequence[int],
    integers: IntArray,
    numbers: FloatArray,
    seen: BitArray,
) -> JsonColumns | None:
    """Cut the room that was filled into columns; None if a record lacks a required field."""
    rows = len(seen)
    whole, real, offsets, present = {}, {}, {}, {}
    for bit, name in enumerate(order):
        field, start = fields.get(name), slots[bit]
        if field is None:
            continue
        there = np.asarray(seen & np.uint32(1 << bit) != 0)
        complete = bool(there.all())
        if field.required and not complete:
            return None
        if not there.any():
            continue
        present[name] = there
        if field.kind != NUMBERS:
            whole[name] = integers[start : start + rows]
            continue
        column = numbers[start : start + rows * max(field.width, 1)]
        if field.width:
            column = column.reshape(rows, field.width)
        if field.any_length:
            offsets[name] = np.concatenate([[0], np.cumsum(there * field.width)])
            column = column[there].reshape(-1)
        elif not complete:
            column[~there] = np.nan
        real[name] = column
    return JsonColumns(np.arange(rows), whole, real, offsets, present)


@compiled("i8(u1[:], i8, i8)")
def _count_braces(data: ByteArray, start: int, end: int) -> int:
    """Return how many records begin in [start, end), at most."""
    count = 0
    for i in range(start, end):
        count += data[i] == 123
    return count


@compiled(
    "i8(u1[:], i8, i8, u1[:,:], i8[:,:], i8, u8[:,:], f8[:], f8[:], i8, i8, i8[:], f8[:], u4[:])"
)
def _scan_records(
    data: ByteArray,
    start: int,
    end: int,
    names: ByteArray,
    plan: IntArray,
    known: int,
    fives: WordArray,
    tens: FloatArray,
    twos: FloatArray,
    row: int,
    last_row: int,
    integers: IntArray,
    numbers: FloatArray,
    seen: BitArray,
) -> int:
    """Fill the columns from ``row`` on; return the number of records, or -1 to give up.

    A record may be followed by a comma, the last one before the list's end may not. ``end`` is the
    brace of the next part's first record or the bracket that ends the list. Fields from ``known``
    on are not in the first record.
    """
    at, first_row = start, row
    ends_list = data[end] == 93
    while at < end:
        if row >= last_row or data[at] != 123:
            return -1
        at = _scan_record(
            data, at, end, names, plan, known, fives, tens, twos, row, integers, numbers, seen
        )
        if at < 0:
            return -1
        row += 1
        at = _skip(data, at, end)
        if at == end and ends_list:
            return row - first_row
        if at >= end or data[at] != 44:
            return -1
        at = _skip(data, at + 1, end)
        if at == end and ends_list:
            return -1
    return row - first_row if at == end else -1


def _scan_record(
    data: ByteArray,
    at: int,
    end: int,
    names: ByteArray,
    plan: IntArray,
    known: int,
    fives: WordArray,
    tens: FloatArray,
    twos: FloatArray,
    row: int,
    integers: IntArray,
    numbers: FloatArray,
    seen: BitArray,
) -> int:
    """Read the record at ``at``; return the place behind it, or -1."""
    guess, met = 0, np.uint32(0)
    while True:
        at = _skip(data, at + 1, end)
        if at >= end or data[at] != 34:
            return -1
        field = _find_field(data, at + 1, end, names, plan, guess)
        if field < 0 or field >= known:
            return -1
        bit = np.uint32(1) << np.uint32(field)
        if met & bit:
            return -1
        met |= bit
        guess = field + 1
        at = _skip(data, at + 1 + plan[field, 1], end)
        if at >= end or data[at] != 58:
            return -1
        at = _skip(data, at + 1, end)
        kind, place = plan[field, 0], plan[field, 2]
        if kind == 3:
            at = _skip_value(data, at, end)
        elif at + 4 <= end and data[at] == 110 and data[at + 1] == 117 and data[at + 2] == 108:
            if data[at + 3] != 108:
                return -1
            at += 4
        else:
            seen[row] |= bit
            if kind == 2:
                at = _scan_numbers(
                    data, at, end, plan[field, 3], fives, tens, twos, numbers, place, row
                )
            else:
                value, at = _scan_integer(data, at, end, kind == 1)
                integers[place + row] = value
        if at < 0:
            return -1
        at = _skip(data, at, end)
        if at >= end:
            return -1
        if data[at] == 125:
            return at + 1
        if data[at] != 44:
            return -1


def _skip(data: ByteArray, at: int, end: int) -> int:
    """Return the first place from ``at`` on that is no white space."""
    while at < end and (data[at] == 32 or data[at] == 10 or data[at] == 13 or data[at] == 9):
        at += 1
    return at


def _find_field(
    data: ByteArray, at: int, end: int, names: ByteArray, plan: IntArray, guess: int
) -> int:
    """Return the field whose name and closing quote stand at ``at``, or -1; try the guess first."""
    fields = len(plan)
    for step in range(fields):
        field = guess + step
        if field >= fields:
            field -= fields
        length = plan[field, 1]
        if at + length > end:
            continue
        i = 0
        while i < length and data[at + i] == names[field, i]:
            i += 1
        if i == length:
            return field
    return -1


def _skip_value(data: ByteArray, at: int, end: int) -> int:
    """Return the comma or brace behind a value of valid JSON, or -1."""
    depth = 0
    while at < end:
        one = data[at]
        if one == 34:
            at += 1
            while at < end and data[at] != 34:
                at += 2 if data[at] == 92 else 1
        elif one == 123 or one == 91:
            depth += 1
        elif depth == 0 and (one == 44 or one == 125):
            return at
        elif one == 125 or one == 93:
            depth -= 1
        at += 1
    return -1


def _scan_integer(data: ByteArray, at: int, end: int, flag: bool) -> tuple[int, int]:
    """Read an integer of at most 18 digits, as a flag 0 or 1; return it and what follows, or -1."""
    if flag and at + 5 <= end:
        if data[at] == 116 and data[at + 1] == 114 and data[at + 2] == 117 and data[at + 3] == 101:
            return 1, at + 4
        if data[at] == 102 and data[at + 1] == 97 and data[at + 2] == 108 and data[at + 3] == 115:
            return 0, at + 5 if data[at + 4] == 101 else -1
    negative = at < end and data[at] == 45
    at += int(negative)
    start, value = at, 0
    while at < end and 48 <= data[at] <= 57:
        value = value * 10 + int(data[at]) - 48
        at += 1
    digits = at - start
    if digits == 0 or digits > 18 or (digits > 1 and data[start] == 48):
        return 0, -1
    if flag:
        return int(value != 0), at
    return -value if negative else value, at  # a point or exponent is no comma: the caller gives up


def _scan_numbers(
    data: ByteArray,
    at: int,
    end: int,
    width: int,
    fives: WordArray,
    tens: FloatArray,
    twos: FloatArray,
    numbers: FloatArray,
    place: int,
    row: int,
) -> int:
    """Read a number (width 0) or a list of exactly ``width``; return what follows, or -1."""
    if width == 0:
        value, at = scan_number(data, at, end, fives, tens, twos)
        numbers[place + row] = value
        return at
    if at >= end or data[at] != 91:
        return -1
    for i in range(width):
        at = _skip(data, at + 1, end)
        value, at = scan_number(data, at, end, fives, tens, twos)
        if at < 0:
            return -1
        numbers[place + row * width + i] = value
        at = _skip(data, at, end)
        if at >= end or data[at] != (44 if i + 1 < width else 93):
            return -1
    return at + 1
