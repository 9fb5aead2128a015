"""What records in JSON may have, and the columns they become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sodkit.arrays import BoolArray, FloatArray, IntArray

INTEGER, FLAG, NUMBERS, SKIP, REFERENCE, TEXT = 0, 1, 2, 3, 4, 5
"""What a field holds: an integer, true/false/an integer, numbers, what is skipped, an id (an
integer, a whole number like 4.0, or text), or text."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field that records may have.

    Attributes:
        kind: INTEGER, FLAG, NUMBERS, REFERENCE or TEXT.
        width: how many numbers; 0: one that stands alone, not in a list.
        required: a record without it is wrong.
        any_length: the list may be of any length; ``width`` is the usual one.
    """

    kind: int
    width: int = 0
    required: bool = False
    any_length: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class JsonColumns:
    """The columns of N records; a field that no record has is left out, unless it is required.

    Attributes:
        positions: (N,) where the records stand in the list; wrong ones are left out.
        integers: by field: (N,), 0 where absent; flags are 0 or 1.
        numbers: by field: (N,) or (N, width), NaN where absent; of lists of any length all numbers
            in one row.
        offsets: by field of any length: (N + 1,) record i has [offsets[i], offsets[i + 1]).
        present: by field: (N,) the record has it, and not as null.
        texts: by field: N texts, "" where absent; of a REFERENCE only if a record has it as text,
            then the integers of the others are texts, too.
    """

    positions: IntArray
    integers: Mapping[str, IntArray]
    numbers: Mapping[str, FloatArray]
    offsets: Mapping[str, IntArray]
    present: Mapping[str, BoolArray]
    texts: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.positions)
