"""Decimal numbers in JSON text to doubles, correctly rounded, in functions that can be compiled.

Decimal to double: a significand below 2**53 and a power of ten up to 22 are both exact, so one
multiplication or division rounds correctly (Clinger 1990). Others take the 128-bit product of
Lemire, "Number parsing at a gigabyte per second" (2021), which is provably exact for 19 digits or
reports that it is not sure.
"""

from __future__ import annotations

import numpy as np

from sodkit.arrays import ByteArray, FloatArray, WordArray

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


FIVES = _powers_of_five()
TENS = np.array([10.0**q for q in range(23)])
TWOS = np.array([2.0**q for q in range(-320, 321)])
"""Tables that the functions below take: powers of five, ten and two."""


def scan_number(
    data: ByteArray, at: int, end: int, fives: WordArray, tens: FloatArray, twos: FloatArray
) -> tuple[float, int]:
    """Read a JSON number of at most 19 digits; return it and what follows, or -1."""
    negative = at < end and data[at] == 45
    at += int(negative)
    start, digits, power = at, np.uint64(0), 0
    while at < end and 48 <= data[at] <= 57:
        digits = digits * np.uint64(10) + np.uint64(data[at] - 48)
        at += 1
    whole = at - start
    if whole == 0 or (whole > 1 and data[start] == 48):
        return 0.0, -1
    if at < end and data[at] == 46:
        at += 1
        point = at
        while at < end and 48 <= data[at] <= 57:
            digits = digits * np.uint64(10) + np.uint64(data[at] - 48)
            at += 1
        power = point - at
        if power == 0:
            return 0.0, -1
    if whole - power > 19:  # leading zeros are no burden
        zeros = start
        while zeros < at and (data[zeros] == 48 or data[zeros] == 46):
            zeros += 1
        if at - zeros - int(power != 0 and zeros < start + whole) > 19:
            return 0.0, -1
    if at < end and (data[at] == 101 or data[at] == 69):
        exponent, at = _scan_exponent(data, at + 1, end)
        if at < 0:
            return 0.0, -1
        power += exponent
    number = _to_double(digits, power, fives, tens, twos)
    if number < 0:
        return 0.0, -1
    return -number if negative else number, at


def _scan_exponent(data: ByteArray, at: int, end: int) -> tuple[int, int]:
    """Read what stands behind the ``e`` of a number; return it and what follows, or -1."""
    down = at < end and data[at] == 45
    if at < end and (data[at] == 45 or data[at] == 43):
        at += 1
    start, exponent = at, 0
    while at < end and 48 <= data[at] <= 57:
        if exponent < 10000:
            exponent = exponent * 10 + int(data[at]) - 48
        at += 1
    if at == start:
        return 0, -1
    return -exponent if down else exponent, at


def _to_double(
    digits: np.uint64, power: int, fives: WordArray, tens: FloatArray, twos: FloatArray
) -> float:
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
    return float(np.float64(mantissa) * twos[binary + 320])


def _multiply(a: np.uint64, b: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Return the 128-bit product (high, low) of two unsigned 64-bit integers."""
    mask, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    a_low, a_high, b_low, b_high = a & mask, a >> half, b & mask, b >> half
    low = a_low * b_low
    cross = a_high * b_low + (low >> half)
    other = a_low * b_high + (cross & mask)
    return a_high * b_high + (cross >> half) + (other >> half), a * b
