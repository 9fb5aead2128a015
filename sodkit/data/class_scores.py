"""``scores.json``: the least score that a detection of each class needs.

``eval --out`` writes the scores with the highest F1; ``predict`` and ``visualize`` take the file by
``--scores``. It may as well be written by hand: ``{"scores": {"car": 0.31, "rider": 0.2}}``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from sodkit.arrays import FloatArray
from sodkit.data.formats.source import closest, decode_json, read_bytes
from sodkit.data.naming import find_class, listed
from sodkit.errors import DataError
from sodkit.files import StrPath, write_text
from sodkit.json_text import shown
from sodkit.outputs import json_object

NAME = "scores.json"
_FORM = 'scores from 0 to 1 by class: {"scores": {"car": 0.31}}, as eval --out writes scores.json'


class _File(msgspec.Struct):
    scores: dict[str, object]


def write_class_scores(path: StrPath, scores: Mapping[str, float]) -> None:
    """Write scores by class name; UsageError if the file cannot be written."""
    write_text(Path(path), json_object({"scores": dict(scores)}) + "\n")


def read_class_scores(
    path: StrPath,
    classes: Sequence[str],
    default: float,
    say: Callable[[str], None] = lambda message: None,
) -> FloatArray:
    """Return the least score (K,) of each class.

    Args:
        path: the file.
        classes: names of the K classes.
        default: of classes that the file does not name.
        say: called with a sentence about these, and about names that differ in case only.

    Raises:
        DataError: the file cannot be read, names a class that is not there, or one twice, or a
            score is not from 0 to 1.
    """
    path = Path(path)
    named = decode_json(read_bytes(path), _File, path, form=_FORM).scores
    scores = np.full(len(classes), np.nan)
    for name, score in named.items():
        label = find_class(name, classes)
        if label is None:
            raise _unknown(name, classes, path)
        if not np.isnan(scores[label]):
            raise DataError(f"class '{classes[label]}' has two scores", where=path)
        if classes[label] != name:
            say(f"{path}: class '{name}' is taken as '{classes[label]}'")
        scores[label] = _checked(score, name, path)
    missing = np.isnan(scores).tolist()
    without = [name for name, one in zip(classes, missing, strict=True) if one]
    if without:
        say(f"{path}: no score for {listed(without)}: at least {default:g}, as --score says")
    return np.where(missing, default, scores)


def _checked(score: object, name: str, path: Path) -> float:
    if isinstance(score, int | float) and not isinstance(score, bool) and 0 <= score <= 1:
        return float(score)
    what = f"the score of '{name}' is not a number from 0 to 1 but {shown(score)}"
    raise DataError(what, where=path)


def _unknown(name: str, classes: Sequence[str], path: Path) -> DataError:
    like = closest(name, classes)
    hint = f"is '{like}' meant? " if like else ""
    return DataError(
        f"'{name}' is no class of the predictions", where=path,
        hint=f"{hint}the classes are: {listed(classes, 20)}",
    )  # fmt: skip
