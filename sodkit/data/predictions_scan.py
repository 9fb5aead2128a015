"""Reading large predictions files fast: compiled, in threads, straight into columns.

Only the plain form is understood: a list of flat records that all have ``image_id``, ``score``, one
kind of box, either all or none ``category_id``, and nothing else. On anything else, right or wrong,
``scan`` gives up and the careful reader (``predictions_json``) decides: so every number read here
is the double that a correct JSON reader gives, and no message has to be made here.

Decimal to double: a significand below 2**53 and a power of ten up to 22 are both exact, so one
multiplication or division rounds correctly (Clinger 1990). Others take the 128-bit product of
Lemire, "Number parsing at a gigabyte per second" (2021), which is provably exact for 19 digits or
reports that it cannot tell.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numba
import numpy as np
import numpy.typing as npt

from sodkit.data.records import FloatArray, IntArray

ByteArray = npt.NDArray[np.uint8]
WordArray = npt.NDArray[np.uint64]

KINDS = {"bbox": 4, "obb": 5, "poly": 8}
"""Fields of boxes and how many numbers they have."""

_THREADS = 2
_SHORTEST = 36
"""A record takes at least so many bytes: ``{"score":0,"obb":[0,0,0,0,0],...``."""

_LOWEST, _HIGHEST = -60, 40
"""Powers of ten in the table; a number beyond them is left to the careful reader."""


def _powers_of_five() -> WordArray:
    """Return the leading 128 bits (high, low) of 5**q for q from _LOWEST to _HIGHEST.

    Rounded down for q >= 0 and up for q < 0, where 5**q has no end in binary.
    """
    rows = []
    for q in range(_LOWEST, _HIGHEST + 1):
        power = 5 ** abs(q)
        if q >= 0:
            shift = 128 - power.bit_length()
            value = power << shift if shift >= 0 else power >> -shift
        else:
            value = (1 << (power.bit_length() + 127)) // power + 1
            value >>= value.bit_length() - 128
        rows.append((value >> 64, value & (2**64 - 1)))
    return np.array(rows, np.uint64)


_FIVES = _powers_of_five()
_TENS = np.array([10.0**q for q in range(23)])


def scan(
    data: ByteArray, kind: str
) -> tuple[IntArray, IntArray | None, FloatArray, FloatArray] | None:
    """Read a JSON list of predictions in its plain form.

    Args:
        data: (B,) the file's bytes.
        kind: the field that holds the boxes.

    Returns:
        image_id (N,), category_id (N,) or None, score (N,), boxes (N, 4, 5 or 8); or None if the
        file is not in the plain form, which says nothing about its being right.
    """
    bounds = _bounds(data)
    if bounds is None:
        return None
    work = partial(_scan_part, data, np.frombuffer(kind.encode() + b'"', np.uint8), KINDS[kind])
    with ThreadPoolExecutor(_THREADS) as pool:
        parts = list(pool.map(work, bounds[:-1], bounds[1:]))
    if any(part is None for part in parts):
        return None
    ids, scores, boxes = (
        np.concatenate([part[column] for part in parts if part is not None]) for column in range(3)
    )
    known = ids[:, 1] != _ABSENT
    if known.any() and not known.all():
        return None
    category = np.ascontiguousarray(ids[:, 1]) if known.all() else None
    return np.ascontiguousarray(ids[:, 0]), category, scores, boxes


_ABSENT = np.iinfo(np.int64).min


def _bounds(data: ByteArray) -> list[int] | None:
    """Return where the threads' parts begin and end: at a record's brace or the list's bracket.

    A brace inside a string would be a wrong guess; then the part before does not end there and
    the scan gives up.
    """
    head, tail = data[:4096].tobytes().lstrip(b" \t\r\n"), data[-4096:].tobytes().rstrip(b" \t\r\n")
    if not head.startswith(b"[") or not tail.endswith(b"]") or head[1:].lstrip()[:1] != b"{":
        return None
    first = data[:4096].tobytes().index(b"{")
    last = len(data) - len(data[-4096:]) + len(tail) - 1
    bounds = [first]
    for thread in range(1, _THREADS):
        middle = max(first + (last - first) * thread // _THREADS, bounds[-1])
        found = data[middle : middle + 65536].tobytes().find(b"{")
        if found >= 0:
            bounds.append(middle + found)
    return [*bounds, last]


def _scan_part(
    data: ByteArray, kind: ByteArray, width: int, start: int, end: int
) -> tuple[IntArray, FloatArray, FloatArray] | None:
    """Read the records in [start, end); None if they are not in the plain form."""
    room = (end - start) // _SHORTEST + 1  # untouched pages take no memory
    ids, scores = np.empty((room, 2), np.int64), np.empty(room)
    boxes = np.empty((room, width))
    rows = _scan_records(data, kind, start, end, _FIVES, _TENS, ids, scores, boxes)
    return None if rows < 0 else (ids[:rows], scores[:rows], boxes[:rows])


@numba.njit(cache=True, nogil=True)
def _scan_records(
    data: ByteArray,
    kind: ByteArray,
    start: int,
    end: int,
    fives: WordArray,
    tens: FloatArray,
    ids: IntArray,
    scores: FloatArray,
    boxes: FloatArray,
) -> int:
    """Fill the columns; return the number of records, or -1 if one is not in the plain form.

    A record may be followed by a comma, the last one before the list's end may not. ``end`` is the
    brace of the next part's first record or the bracket that ends the list.
    """
    at, row = start, 0
    ends_list = data[end] == 93
    while at < end:
        at = _scan_record(data, kind, at, end, fives, tens, ids[row], scores, boxes[row], row)
        if at < 0:
            return -1
        row += 1
        at = _skip(data, at, end)
        if at == end and ends_list:
            return row
        if at >= end or data[at] != 44:
            return -1
        at = _skip(data, at + 1, end)
        if at == end and ends_list:
            return -1
    return row if at == end else -1


@numba.njit(cache=True, nogil=True)
def _scan_record(
    data: ByteArray,
    kind: ByteArray,
    at: int,
    end: int,
    fives: WordArray,
    tens: FloatArray,
    ids: IntArray,
    scores: FloatArray,
    box: FloatArray,
    row: int,
) -> int:
    """Read the record at ``at``; return the place behind it, or -1."""
    if data[at] != 123:
        return -1
    ids[1] = -9223372036854775808
    seen = 0
    value = np.empty(1)
    while True:
        at = _skip(data, at + 1, end)
        if at >= end or data[at] != 34:
            return -1
        field, at = _scan_key(data, kind, at + 1)
        if field == 0 or seen & field:
            return -1
        seen |= field
        at = _skip(data, at, end)
        if at >= end or data[at] != 58:
            return -1
        at = _skip(data, at + 1, end)
        if field <= 2:
            at = _scan_integer(data, at, end, ids, field - 1)
        elif field == 4:
            at = _scan_number(data, at, end, fives, tens, value)
            scores[row] = value[0]
        else:
            at = _scan_list(data, at, end, fives, tens, value, box)
        if at < 0:
            return -1
        at = _skip(data, at, end)
        if at >= end:
            return -1
        if data[at] == 125:
            return at + 1 if seen & 13 == 13 else -1
        if data[at] != 44:
            return -1


@numba.njit(cache=True, nogil=True, inline="always")
def _skip(data: ByteArray, at: int, end: int) -> int:
    """Return the first place from ``at`` on that is no white space."""
    while at < end and (data[at] == 32 or data[at] == 10 or data[at] == 13 or data[at] == 9):
        at += 1
    return at


_IMAGE, _CATEGORY, _SCORE = (
    np.frombuffer(name, np.uint8) for name in (b'image_id"', b'category_id"', b'score"')
)


@numba.njit(cache=True, nogil=True)
def _scan_key(data: ByteArray, kind: ByteArray, at: int) -> tuple[int, int]:
    """Return the field (1 image_id, 2 category_id, 4 score, 8 box, 0 other) and what follows it."""
    first = data[at] if at < len(data) else 0
    if first == 105:
        field, name = 1, _IMAGE
    elif first == 99:
        field, name = 2, _CATEGORY
    elif first == 115:
        field, name = 4, _SCORE
    else:
        field, name = 8, kind
    if at + len(name) > len(data):
        return 0, at
    for i in range(len(name)):
        if data[at + i] != name[i]:
            return 0, at
    return field, at + len(name)


@numba.njit(cache=True, nogil=True)
def _scan_integer(data: ByteArray, at: int, end: int, ids: IntArray, column: int) -> int:
    """Read an integer of at most 18 digits into ``ids[column]``; return what follows, or -1."""
    negative = data[at] == 45
    at += negative
    start, value = at, np.int64(0)
    while at < end and 48 <= data[at] <= 57:
        value = value * 10 + (np.int64(data[at]) - 48)
        at += 1
    digits = at - start
    if digits == 0 or digits > 18 or (digits > 1 and data[start] == 48):
        return -1
    ids[column] = -value if negative else value
    return at  # a point or exponent is no comma or brace: the caller gives up


@numba.njit(cache=True, nogil=True)
def _scan_list(
    data: ByteArray,
    at: int,
    end: int,
    fives: WordArray,
    tens: FloatArray,
    value: FloatArray,
    box: FloatArray,
) -> int:
    """Read a list of exactly ``len(box)`` numbers; return what follows, or -1."""
    if at >= end or data[at] != 91:
        return -1
    for i in range(len(box)):
        at = _skip(data, at + 1, end)
        at = _scan_number(data, at, end, fives, tens, value)
        if at < 0:
            return -1
        box[i] = value[0]
        at = _skip(data, at, end)
        if at >= end or data[at] != (44 if i + 1 < len(box) else 93):
            return -1
    return at + 1


@numba.njit(cache=True, nogil=True)
def _scan_number(
    data: ByteArray, at: int, end: int, fives: WordArray, tens: FloatArray, value: FloatArray
) -> int:
    """Read a JSON number of at most 19 digits into ``value[0]``; return what follows, or -1."""
    negative = at < end and data[at] == 45
    at += negative
    start, digits, power, significant = at, np.uint64(0), 0, 0
    while at < end and 48 <= data[at] <= 57:
        digits = digits * np.uint64(10) + np.uint64(data[at] - 48)
        significant += digits > 0  # leading zeros are no burden
        at += 1
    if at == start or (at > start + 1 and data[start] == 48):
        return -1
    if at < end and data[at] == 46:
        at += 1
        start = at
        while at < end and 48 <= data[at] <= 57:
            digits = digits * np.uint64(10) + np.uint64(data[at] - 48)
            significant += digits > 0
            at += 1
        power = start - at
        if power == 0:
            return -1
    if significant > 19:
        return -1
    if at < end and (data[at] == 101 or data[at] == 69):
        at += 1
        down = at < end and data[at] == 45
        if at < end and (data[at] == 45 or data[at] == 43):
            at += 1
        start, exponent = at, 0
        while at < end and 48 <= data[at] <= 57:
            if exponent < 10000:
                exponent = exponent * 10 + int(data[at]) - 48
            at += 1
        if at == start:
            return -1
        power += -exponent if down else exponent
    number = _to_double(digits, power, fives, tens)
    if number < 0:
        return -1
    value[0] = -number if negative else number
    return at


@numba.njit(cache=True, nogil=True)
def _to_double(digits: np.uint64, power: int, fives: WordArray, tens: FloatArray) -> float:
    """Return digits * 10**power correctly rounded, or -1 if it is out of reach here."""
    if digits <= np.uint64(9007199254740992) and -22 <= power <= 22:
        exact = np.float64(digits)
        return float(exact / tens[-power] if power < 0 else exact * tens[power])
    if digits == 0:
        return 0.0
    if power < _LOWEST or power > _HIGHEST:
        return -1.0
    zeros = 0
    while not digits >> np.uint64(63):
        digits <<= np.uint64(1)
        zeros += 1
    high, low = _multiply(digits, fives[power - _LOWEST, 0])
    if high & np.uint64(0x1FF) == np.uint64(0x1FF):  # the other half of the power may carry
        more, _ = _multiply(digits, fives[power - _LOWEST, 1])
        low += more
        if low < more:
            high += np.uint64(1)
    if low == np.uint64(0xFFFFFFFFFFFFFFFF) and (power < -27 or power > 55):
        return -1.0
    top = high >> np.uint64(63)
    shift = top + np.uint64(9)
    mantissa = high >> shift  # 54 bits: one more than a double has
    if (
        low <= np.uint64(1)
        and -4 <= power <= 23
        and mantissa & np.uint64(3) == np.uint64(1)
        and mantissa << shift == high
    ):
        mantissa &= ~np.uint64(1)  # exactly half way: to even
    mantissa = (mantissa + (mantissa & np.uint64(1))) >> np.uint64(1)
    # 217706 / 65536 approximates log2(10) closely enough for the exponent of these powers.
    binary = ((217706 * power) >> 16) + 63 + np.int64(top) - zeros - 52
    return float(np.float64(mantissa) * 2.0**binary)


@numba.njit(cache=True, nogil=True)
def _multiply(a: np.uint64, b: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Return the 128-bit product (high, low) of two unsigned 64-bit integers."""
    mask, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    a_low, a_high, b_low, b_high = a & mask, a >> half, b & mask, b >> half
    low = a_low * b_low
    cross = a_high * b_low + (low >> half)
    other = a_low * b_high + (cross & mask)
    return a_high * b_high + (cross >> half) + (other >> half), a * b
