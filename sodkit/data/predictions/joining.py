"""From what a file of predictions calls images and classes to those of the annotations.

Names decide where there are any: in the predictions, or in the list of images and classes that
``predict`` writes beside them. Numbers alone are the annotations' ids.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np

from sodkit.arrays import BoolArray, IntArray
from sodkit.data.naming import SEVERAL, ImageNames, find_class, listed
from sodkit.data.predictions.columns import CategoryIds, Columns
from sodkit.data.predictions.output_path import image_ids_file
from sodkit.data.records import Category, ImageRecord
from sodkit.errors import DataError, UsageError
from sodkit.json_text import BOM, JsonError, decode

Say = Callable[[str], None]
_COCO_GAPS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
"""Numbers up to 90 that none of COCO's 80 classes has."""

NONE = -1
"""Stands for an image or class that the annotations do not have."""


class _Image(msgspec.Struct):
    id: int
    file_name: str


class _Class(msgspec.Struct):
    id: int
    name: str


class Names(msgspec.Struct):
    """A list of images and classes, as COCO JSON has them."""

    images: list[_Image]
    categories: list[_Class]


@dataclass(frozen=True, slots=True)
class Beside:
    """The images and classes that predictions were made on and with, by their ids there.

    ``path`` is where they are listed: beside the predictions, or in their own file.
    """

    path: Path
    images: dict[int, str]
    classes: dict[int, str]

    @classmethod
    def of(cls, path: Path, names: Names) -> Beside:
        """Return those of a list in a file."""
        return cls(
            path,
            {image.id: image.file_name for image in names.images},
            {one.id: one.name for one in names.categories},
        )


def read_beside(path: Path) -> Beside | None:
    """Read the list of images and classes beside a file of predictions, None if there is none.

    Raises:
        DataError: it is there but cannot be read.
    """
    own = image_ids_file(path)
    try:
        found = decode(own.read_bytes().removeprefix(BOM), Names)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, JsonError) as error:
        raise DataError(
            f"cannot be read: {error}",
            where=own,
            hint=f"it says which images the ids in {path.name} mean; remove it to take them as the "
            "annotations' ids",
        ) from error
    return Beside.of(own, found)


def with_names(columns: Columns, beside: Beside | None, where: str) -> Columns:
    """Replace ids by the names that are listed beside the predictions.

    Raises:
        DataError: an id is not in the list.
    """
    if beside is None or columns.image_names is not None:
        return columns
    index, names = _named(columns, columns.image_id, beside.images, "image_id", beside, where)
    columns = replace(columns, image_id=index, image_names=names)
    if columns.category_id is None or columns.class_names is not None or not beside.classes:
        return columns
    ids = columns.category_id
    index, names = _named(columns, ids, beside.classes, "category_id", beside, where)
    return replace(columns, category_id=index, class_names=names)


def _named(
    columns: Columns,
    ids: IntArray,
    known: dict[int, str],
    field: str,
    beside: Beside,
    where: str,
) -> tuple[IntArray, tuple[str, ...]]:
    """Return indices into the names of a list, the ones without a prediction too."""
    index = _index_of(ids, np.array(list(known), np.int64))
    if (index == NONE).any():
        row = int(np.argmax(index == NONE))
        own = str(beside.path) == where
        raise DataError(
            f"{field} {ids[row]} is not in {'its list' if own else beside.path.name}",
            where=columns.place(row, where),
            hint="write the file anew, with all of its images and categories"
            if own
            else f"{beside.path} should list the images and classes of these predictions; if it is "
            "of others, remove it: then ids are those of the annotations",
        )
    return index, tuple(known.values())


def join_images(
    columns: Columns, images: Sequence[ImageRecord], where: str, say: Say
) -> tuple[IntArray, IntArray | None]:
    """Return the index (N,) of each prediction's image, and the images that were predicted on.

    The latter are known only where the predictions name all of them, else None.

    Raises:
        DataError: an image that is not among the annotations', or a name that fits several.
    """
    ids = np.array([image.id for image in images], np.int64)
    names = columns.image_names
    if names is None:
        index = _index_of(columns.image_id, ids)
        if (index == NONE).any():
            numbers, inverse = np.unique(columns.image_id, return_inverse=True)
            stems = _by_stem_number(numbers.tolist(), images)
            if not (stems == NONE).any():
                say(f"{where}: image ids are the numbers in the names of the images")
                index = stems[inverse]
    else:
        table = _by_name(columns, names, images, ids, where)
        index = table[columns.image_id] if len(names) else np.zeros(0, np.int64)
    _reject_unknown(columns, index, images, where)
    if names is None:
        return index, None
    return index, np.unique(table[table >= 0])


def _index_of(values: IntArray, keys: IntArray) -> IntArray:
    """Return the place (N,) of values among keys, ``NONE`` where absent.

    By a table if the range allows: sorting a million ids takes longer than reading them.
    """
    if not len(keys):
        return np.full(len(values), NONE)
    order = np.argsort(keys, kind="stable")
    low, high = int(keys[order[0]]), int(keys[order[-1]])
    if high - low > 10_000_000:
        spots = np.minimum(np.searchsorted(keys[order], values), len(keys) - 1)
        return np.where(keys[order[spots]] == values, order[spots], NONE)
    table = np.full(high - low + 3, NONE)
    table[keys - low + 1] = np.arange(len(keys))
    return np.asarray(table[np.clip(values, low - 1, high + 1) - low + 1])


def _by_stem_number(numbers: Sequence[int], images: Sequence[ImageRecord]) -> IntArray:
    """Find images by the number that their names are, ``000012.jpg`` by 12."""
    place: dict[int, int] = {}
    for index, image in enumerate(images):
        match = re.fullmatch(r"(?:.*/)?(\d{1,18})\.\w+", image.file_name, re.ASCII)
        if match:
            number = int(match[1])
            place[number] = NONE if number in place else index
    return np.array([place.get(number, NONE) for number in numbers], np.int64)


def _by_name(
    columns: Columns,
    names: Sequence[str],
    images: Sequence[ImageRecord],
    ids: IntArray,
    where: str,
) -> IntArray:
    """Return the index of the image that each name means, ``NONE`` where there is none."""
    known = ImageNames([image.file_name for image in images])
    used = np.zeros(len(names), np.bool_)
    used[columns.image_id] = True
    found = [known.find(name) for name in names]
    table = np.array([NONE if index is None else index for index in found], np.int64)
    several = [index == SEVERAL and use for index, use in zip(found, used.tolist(), strict=True)]
    if any(several):
        name = names[several.index(True)]
        raise DataError(
            f"the image name '{name}' fits several images of the annotations",
            where=where,
            hint="name the images with their folder and suffix, as the annotations do",
        )
    table = _number_or_name(names, table, used, ids, where)
    taken = table[used & (table >= 0)]
    if len(np.unique(taken)) < len(taken):
        index = int(np.argmax(np.bincount(taken)))
        both = [name for name, own in zip(names, table.tolist(), strict=True) if own == index]
        raise DataError(
            f"{listed(both)} would all be the image {images[index].file_name}",
            where=where,
            hint="name the images with their folder and suffix, as the annotations do",
        )
    return table


def _number_or_name(
    names: Sequence[str], by_name: IntArray, used: BoolArray, ids: IntArray, where: str
) -> IntArray:
    """Decide what numbers written as text mean: ids, or names without suffix."""
    digits = np.array([_is_number(name) for name in names], np.bool_)
    by_number = by_name.copy()
    numbers = [int(name) for name in names if _is_number(name)]
    by_number[digits] = _index_of(np.array(numbers, np.int64), ids)
    some = used & digits
    is_name, is_number = ((table[some] >= 0).all() for table in (by_name, by_number))
    if is_name and is_number and (by_name[some] != by_number[some]).any():
        row = int(np.argmax(some & (by_name != by_number)))
        raise DataError(
            f"the image_id '{names[row]}' is the id of one image and the name of another",
            where=where,
            hint="write ids as numbers, without quotes, or names with their suffix (.jpg)",
        )
    return by_number if is_number and not is_name else by_name


def _is_number(name: str) -> bool:
    return re.fullmatch(r"-?\d{1,18}", name, re.ASCII) is not None


def _reject_unknown(
    columns: Columns, index: IntArray, images: Sequence[ImageRecord], where: str
) -> None:
    unknown = index < 0
    if not unknown.any():
        return
    row = int(np.argmax(unknown))
    names = columns.image_names
    if names is None:
        which, known = str(columns.image_id[row]), [str(image.id) for image in images]
    else:
        which, known = names[columns.image_id[row]], [image.file_name for image in images]
    raise DataError(
        f"image {which} is not in the annotations"
        f" ({int(unknown.sum())} of {len(unknown)} predictions are of unknown images)",
        where=columns.place(row, where),
        hint=f"predict on these annotations' images, or evaluate against the others; theirs are "
        f"{listed(known, 5)}",
    )


def join_classes(
    columns: Columns,
    categories: Sequence[Category],
    where: str,
    say: Say,
    *,
    drop: bool,
    numbers: CategoryIds | None = None,
) -> IntArray:
    """Return class indices (N,), ``NONE`` for those of other classes.

    Args:
        columns: the predictions.
        categories: of the annotations.
        where: the file.
        say: called with a sentence about classes that differ in case only.
        drop: predictions of other classes are to be left out; else they are an error.
        numbers: what ``category_id`` is; None: the data set's id.

    Raises:
        DataError: no ``category_id``, or a class that the annotations do not have.
        UsageError: ``numbers`` is "coco-91", and there are not 80 classes.
    """
    if columns.category_id is None:
        raise DataError(
            "predictions have no category_id", where=where, hint="are these --proposals?"
        )
    ids = np.array([one.id for one in categories], np.int64)
    countings = _countings(len(ids))
    if numbers == "coco-91" and numbers not in countings:
        raise UsageError(
            f"is for COCO's 80 classes, the annotations have {len(ids)}",
            where="--category-ids coco-91",
            hint="from-0 or from-1 counts the classes in their order",
        )
    if columns.class_names is None:
        own = columns.category_id
        labels = _index_of(own, countings.get(numbers or "data", ids))
        shifted = _starts(ids, 0) and _starts(own, 1)
        if numbers is None and columns.image_names is not None and shifted:
            say(f"{where}: {_SHIFTED}")
    else:
        if numbers is not None:
            say(f"{where}: classes have names: --category-ids is not needed")
        table = _class_table(columns.class_names, categories, ids, where, say)
        labels = table[columns.category_id] if len(table) else np.zeros(0, np.int64)
    unknown = labels == NONE
    if unknown.any() and not drop:
        _reject_class(columns, unknown, categories, where)
    return labels


def _countings(classes: int) -> dict[CategoryIds, IntArray]:
    """Return the numbers (classes,) that so many classes have where they are no ids of the data."""
    found: dict[CategoryIds, IntArray] = {
        "from-0": np.arange(classes),
        "from-1": np.arange(1, classes + 1),
    }
    coco = np.array([number for number in range(1, 91) if number not in _COCO_GAPS], np.int64)
    return found | ({"coco-91": coco} if classes == len(coco) else {})


_SHIFTED = (
    "category ids start at 1, those of the annotations at 0: if they count the classes, give "
    "--category-ids from-1; --category-ids data says that they are the annotations' ids"
)
"""Ultralytics counts classes from 1 in its predictions.json, from 0 in its labels."""


def _starts(ids: IntArray, first: int) -> bool:
    return len(ids) > 0 and int(ids.min()) == first


def _class_table(
    names: Sequence[str], categories: Sequence[Category], ids: IntArray, where: str, say: Say
) -> IntArray:
    known = [one.name for one in categories]
    table = np.full(len(names), NONE)
    for index, name in enumerate(names):
        label = find_class(name, known)
        if label is not None:
            table[index] = label
            if known[label] != name:
                say(f"{where}: class '{name}' is taken as '{known[label]}'")
        elif _is_number(name):
            table[index] = _index_of(np.array([int(name)], np.int64), ids)[0]
    return table


def _reject_class(
    columns: Columns, unknown: BoolArray, categories: Sequence[Category], where: str
) -> None:
    assert columns.category_id is not None
    row = int(np.argmax(unknown))
    own = columns.category_id
    names = columns.class_names
    which = f"category_id {own[row]}" if names is None else f"class '{names[own[row]]}'"
    common = (
        []
        if names is None
        else [c.name for c in categories if find_class(c.name, names) is not None]
    )
    known = ", ".join(f"{one.id} {one.name}" for one in categories)
    hint = f"the classes are: {known}; category_id is the data set's id"
    countings = _countings(len(categories)).items()
    fits = [f"--category-ids {name}" for name, counted in countings if np.isin(own, counted).all()]
    if fits and names is None:
        hint += f"; {' or '.join(fits)} takes it as a position in this list"
    if names is not None:
        hint = f"the classes are: {listed(one.name for one in categories)}"
    if common:
        hint += f"; --classes {','.join(common)} evaluates on those in common"
    raise DataError(
        f"{which} is no class of the annotations"
        f" ({int(unknown.sum())} of {len(unknown)} predictions have an unknown one)",
        where=columns.place(row, where),
        hint=hint,
    )
