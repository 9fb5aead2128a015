"""How a source is read where it can mean two things: what the user decides.

The words for ignore regions, and the units of an angle, stand here as tables.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

Difficult = Literal["ignore", "keep"]
Area = Literal["stated", "box"]
Angle = Literal["radians", "degrees", "degrees-ccw"]

ANGLE_UNITS: dict[Angle, float] = {
    "radians": 1.0,
    "degrees": math.pi / 180,
    "degrees-ccw": -math.pi / 180,
}
"""What an angle is multiplied by to be in radians, clockwise with y down."""

IGNORE_NAMES = frozenset(
    {
        "ignore", "ignored", "ignoring", "dontcare", "ignoreregion", "ignoreregions",
        "ignoredregion", "ignoredregions", "ignorearea", "ignoreareas", "ignoredarea",
        "ignoredareas", "ignoreobject", "ignoreobjects", "ignoredobject", "ignoredobjects",
        "othersignored", "ignoredothers", "otherignored", "ignoredother",
    }
)  # fmt: skip
"""Names of categories that hold ignore regions: lower case, letters only."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the user decides about a source.

    Attributes:
        difficult: whether difficult objects are ignored or kept; None: as the source's version
            has it.
        area: which area counts, the stated one or that of the box; None: the stated one where it
            can be that of the box.
        angle: unit and direction of stated angles; None: radians, and refused beyond two pi.
        oriented: read four-corner segmentations of COCO as oriented boxes.
        classes: names that are classes even if they are in ``IGNORE_NAMES``; case does not count.
    """

    difficult: Difficult | None = None
    area: Area | None = None
    angle: Angle | None = None
    oriented: bool = False
    classes: tuple[str, ...] = ()


AS_STATED = Reading()
"""Nothing is decided by hand."""


def is_ignore(name: str, classes: Collection[str] = ()) -> bool:
    """Return whether a category of this name holds ignore regions.

    Args:
        name: of the category; case, spaces and punctuation do not count.
        classes: names that are classes all the same.
    """
    folded = name.casefold()
    if re.sub(r"[\W_]", "", folded) not in IGNORE_NAMES:
        return False
    return folded.strip() not in {known.strip().casefold() for known in classes}
