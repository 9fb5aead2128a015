"""What ``analyze-anchors --suggest`` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sodkit.cli.tables import print_table
from sodkit.data.sizes import SIZE_NAMES

if TYPE_CHECKING:
    from sodkit.analysis.suggest import Suggestion
    from sodkit.arrays import FloatArray

HEADS = ("key", "now", "suggested")
FEW = 100
"""Objects below which figures are called uncertain."""
MANY_TOO_LONG = 0.05
"""Share of objects too long for the anchors from which it is said."""


def print_suggestion(suggestion: Suggestion) -> None:
    """Print the changes as a table, their reasons in numbers, and as --set lines."""
    name = suggestion.recipe.name
    if suggestion.changes:
        rows = [(key, f"{old:g}", f"{new:g}") for key, (old, new) in suggestion.changes.items()]
        print_table(f"Settings that fit these objects better than {name}'s", HEADS, rows)
    _print_reasons(suggestion)
    if suggestion.changes:
        if "input.patch" in suggestion.changes or "input.stride" in suggestion.changes:
            given = suggestion.recipe.input
            print(f"Patches of larger images: split --size {given.patch} --stride {given.stride}")
        print("To train with them:")
        for line in suggestion.lines():
            print(f"--set {line}")
    else:
        print(f"Nothing need be changed: no settings fit better than those of {name}.")


def _print_reasons(suggestion: Suggestion) -> None:
    before, after = suggestion.before, suggestion.after
    columns = [(f"IoU >= {t:g}", before.above[t], after.above[t], ".1%") for t in before.above]
    if before.enough is not None and after.enough is not None:
        columns.append(("1 to 12 positives", before.enough, after.enough, ".1%"))
    if before.positives is not None and after.positives is not None:
        columns.append(("mean positives", before.positives, after.positives, ".2f"))
    rows = [
        (size, count, *(_change(old[k], new[k], form) for _, old, new, form in columns))
        for k, (size, count) in enumerate(zip(SIZE_NAMES, suggestion.objects, strict=True))
    ]
    title = "Share of objects with such an anchor, or so many positives: now -> then"
    print_table(title, ("size", "objects", *(head for head, *_ in columns)), rows)
    for sentence in _sentences(suggestion):
        print(sentence)


def _sentences(suggestion: Suggestion) -> list[str]:
    old, new = suggestion.value
    said = [f"Value (docs/anchors.md): {old:.3f} -> {new:.3f}."]
    if sum(suggestion.objects) < FEW:
        said.append(f"There are only {sum(suggestion.objects)} objects: this says little.")
    if suggestion.pixels != 1:
        said.append(f"The network sees {suggestion.pixels:.2g} times the pixels of an image.")
    now, then = suggestion.longer
    if now or then:
        said.append(
            f"Longer than the overlap of patches, so not whole in each place: {now:.1%} -> "
            f"{then:.1%} of the objects."
        )
    if suggestion.too_long >= MANY_TOO_LONG:
        said.append(
            f"Too long for an IoU of .5 with anchors of these shapes, whatever their size: "
            f"{suggestion.too_long:.1%} of the objects."
        )
    return said


def _change(old: FloatArray, new: FloatArray, form: str) -> str | None:
    if np.isnan(old):
        return None
    now, then = format(old, form), format(new, form)
    return now if now == then else f"{now} -> {then}"
