"""What to predict on, from the paths that a user names; and the files of what was found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from sodkit.data.formats import find_images, is_annotations, read_annotations
from sodkit.data.formats.coco_write import write
from sodkit.data.formats.subsets import EVALUATED, choose_subset
from sodkit.data.images.listing import list_images
from sodkit.data.predictions.dota_zip import check_task1, write_task1
from sodkit.data.predictions.output_path import image_ids_file, is_among
from sodkit.data.predictions.storage import write_predictions
from sodkit.data.records import Annotations, BoxKind, Category, Detections, ImageRecord
from sodkit.errors import ModelError, UsageError


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """Images to predict on.

    Attributes:
        images: records of the images.
        categories: of the data set, in the order of the detector's classes.
        folder: where the images' file names start.
        read: the paths that were named.
        has_ids: an annotation file gives the images' ids; else they count from 1, and are written
            beside the predictions.
    """

    images: tuple[ImageRecord, ...]
    categories: tuple[Category, ...]
    folder: Path
    read: tuple[Path, ...]
    has_ids: bool


def find_targets(
    paths: Sequence[Path],
    trained: Sequence[Category],
    *,
    folder: Path | None = None,
    format_name: str | None = None,
    recursive: bool = False,
    subset: str | None = None,
    say: Callable[[str], None] = lambda message: None,
) -> Targets:
    """Return the images that paths stand for.

    Args:
        paths: image files and folders of images, or one file or folder of annotations.
        trained: the categories of a checkpoint; an annotation file has the same by name.
        folder: where the file names of annotations start; None: found.
        format_name: of the annotations; None: recognised.
        recursive: take the images in subfolders of folders, too.
        subset: of annotations that hold several; None: val, else test, else train.
        say: called with a sentence about subfolders that are left out, and the subset that is read.

    Raises:
        DataError: a path that is neither, or annotations that cannot be read.
        ModelError: annotations of other classes.
    """
    first = paths[0]
    if len(paths) > 1 or not (format_name or is_annotations(first)):
        records, parent = list_images(paths, recursive=recursive, say=say)
        return Targets(records, tuple(trained), parent, tuple(paths), has_ids=False)
    chosen = choose_subset(first, subset, EVALUATED, format_name).name or None
    if chosen is not None:
        say(f"{first}: the subset {chosen} is read (--subset takes another)")
    annotations = read_annotations(first, format=format_name, images=folder, subset=chosen)
    categories = categories_by_name(trained, annotations.categories, str(first))
    folder = folder or find_images(first, annotations, subset=chosen)
    return Targets(annotations.images, categories, folder, tuple(paths), has_ids=True)


def categories_by_name(
    trained: Sequence[Category], other: Sequence[Category], where: str
) -> tuple[Category, ...]:
    """Return the categories of ``other`` in the order of a checkpoint's, matched by name.

    Raises:
        ModelError: if they are not the same classes; close names are suggested.
    """
    known = {category.name: category for category in other}
    missing = [c.name for c in trained if c.name not in known]
    extra = [name for name in known if name not in {c.name for c in trained}]
    if not missing and not extra:
        return tuple(known[category.name] for category in trained)
    words = [
        *(f"the checkpoint's class '{name}' is not in it" for name in missing),
        *(f"the checkpoint does not know '{name}'" for name in extra),
    ]
    close = [(n, get_close_matches(n, extra, n=1)) for n in missing]
    typos = [f"is '{match[0]}' meant to be '{name}'?" for name, match in close if match]
    raise ModelError("; ".join(words), where=where, hint=" ".join(typos) or None)


def check_holds(out: Path, boxes: BoxKind, targets: Targets, *, proposals: bool) -> None:
    """Raise UsageError for what the format of a file of predictions cannot hold.

    Args:
        out: the file; its ending names the format.
        boxes: the kind that is detected.
        targets: what is predicted on.
        proposals: class-agnostic proposals are written.
    """
    if out.suffix != ".zip":
        return
    if proposals:
        raise UsageError("proposals have no class: DOTA's format cannot hold them", where=out)
    check_task1(out, boxes == "oriented", targets.categories, targets.images)


def write_found(
    out: Path, found: Detections, targets: Targets, *, proposals: bool = False
) -> Path | None:
    """Write predictions in the format that the file's name says.

    Returns:
        the file beside it that says which image has which id, as annotations without boxes; None
        if ``targets`` have ids of their own or the format names the images. One of earlier
        predictions is removed then, unless it is what was predicted on.
    """
    if out.suffix == ".zip":
        write_task1(out, found, targets.categories, targets.images)
    else:
        write_predictions(out, found, None if proposals else targets.categories)
    ids = image_ids_file(out)
    if not targets.has_ids and out.suffix != ".zip":
        write(ids, _without_objects(targets))
        return ids
    if not is_among(ids, targets.read):
        ids.unlink(missing_ok=True)
    return None


def _without_objects(targets: Targets) -> Annotations:
    none = np.zeros(0, np.int64)
    return Annotations(
        targets.images, targets.categories, none, none, none,
        np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.bool_),
    )  # fmt: skip
