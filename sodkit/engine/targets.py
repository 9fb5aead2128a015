"""What to predict on, from the paths that a user names; and the files of what was found."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from sodkit.data.formats import is_annotations
from sodkit.data.formats.coco_write import write
from sodkit.data.images.georeference import georeference
from sodkit.data.images.listing import list_images
from sodkit.data.images.video import Frame
from sodkit.data.left_out import LeftOut
from sodkit.data.naming import find_class, listed
from sodkit.data.opening import Source, of_one_subset, open_source
from sodkit.data.predictions.dota_zip import check_task1, write_task1
from sodkit.data.predictions.geo_features import GeoPlan, System
from sodkit.data.predictions.output_path import image_ids_file, is_among
from sodkit.data.predictions.writing import write_parts
from sodkit.data.records import Annotations, BoxKind, Category, Detections, ImageRecord
from sodkit.data.restriction import chosen_labels, only_labels
from sodkit.errors import ModelError, UsageError
from sodkit.files import StrPath


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """Images to predict on.

    Attributes:
        images: records of the images.
        categories: of the data set, in the order of the detector's classes.
        folder: where the images' file names start.
        read: the paths that were named.
        has_ids: an annotation file gives the images' ids; else they count from 1.
        labels: the detector's class indices, one for each of ``categories``; None: all of them.
        frames: of the images that are frames of a video, by id: which.
    """

    images: tuple[ImageRecord, ...]
    categories: tuple[Category, ...]
    folder: Path
    read: tuple[Path, ...]
    has_ids: bool
    labels: tuple[int, ...] | None = None
    frames: Mapping[int, Frame] = field(default_factory=dict)

    def __repr__(self) -> str:
        return (
            f"<Targets: {len(self.images)} images, {len(self.categories)} classes, {self.folder}>"
        )

    def chosen(self, found: Detections, classes: int) -> Detections:
        """Return the detections of a detector of so many classes that are of ``categories``."""
        return found if self.labels is None else only_labels(found, self.labels, classes)

    def without(self, bad: Collection[int]) -> Targets:
        """Return the same without the images of these ids: they could not be read."""
        return replace(self, images=tuple(one for one in self.images if one.id not in bad))


def find_targets(
    paths: Sequence[StrPath],
    trained: Sequence[Category],
    *,
    folder: StrPath | None = None,
    format_name: str | None = None,
    recursive: bool = False,
    classes: str | None = None,
    left: LeftOut | None = None,
    subset: str | None = None,
    bands: Sequence[int] | None = None,
    every: int = 1,
    say: Callable[[str], None] = lambda message: None,
) -> Targets:
    """Return the images that paths stand for.

    Args:
        paths: image files, folders of images and videos, or one file or folder of annotations.
        trained: the categories of a checkpoint; an annotation file has the same by name.
        folder: where the file names of annotations start; None: found.
        format_name: of the annotations; None: recognised.
        recursive: take the images in subfolders of folders, too.
        classes: names of the classes to predict, with commas between; None: all.
        left: collects images that cannot be read and boxes without size; None: they are errors.
        subset: of annotations that hold several; None: val, else test, else train.
        bands: of an image of many, those that are wanted.
        every: take each N-th frame of a video and each N-th image of a folder.
        say: called with a sentence about subfolders that are left out, the subset that is read, and
            classes that differ in case only.

    Raises:
        DataError: a path that is neither, or annotations that cannot be read.
        ModelError: annotations of other classes.
    """
    read = tuple(Path(path) for path in paths)
    first, labels = read[0], None
    if classes is not None:
        labels = tuple(chosen_labels(classes, trained, "the checkpoint", say))
        trained = [trained[label] for label in labels]
    left = left or LeftOut(bad=False)
    if len(read) > 1 or not (format_name or is_annotations(first)):
        listed = list_images(
            read, recursive=recursive, say=say, on_bad=left.image, bands=bands, every=every
        )
        count = len(listed.images)
        left.check_some_left(count, count + len(left.errors))
        return Targets(
            listed.images, tuple(trained), listed.folder, read,
            has_ids=False, labels=labels, frames=listed.frames,
        )  # fmt: skip
    images = None if folder is None else Path(folder)
    source = of_one_subset(Source(first, format_name, images, subset, classes=classes), say)
    annotations = open_source(source, left, say, all_classes=True)
    other = annotations.categories
    if classes is not None:
        other = tuple(other[label] for label in chosen_labels(classes, other, str(first)))
    categories = categories_by_name(trained, other, str(first), say)
    return Targets(
        annotations.images, categories, source.folder(annotations), read,
        has_ids=True, labels=labels,
    )  # fmt: skip


def categories_by_name(
    trained: Sequence[Category],
    other: Sequence[Category],
    where: str,
    say: Callable[[str], None] = lambda message: None,
) -> tuple[Category, ...]:
    """Return the categories of ``other`` in the order of a checkpoint's, matched by name.

    Args:
        trained: the checkpoint's.
        other: of a data set.
        where: the data set, for messages.
        say: called with a sentence about names that differ in case only.

    Raises:
        ModelError: if they are not the same classes; close names are suggested.
    """
    names = [category.name for category in other]
    found = {category.name: find_class(category.name, names) for category in trained}
    known = {name: label for name, label in found.items() if label is not None}
    missing = [name for name in found if name not in known]
    extra = [name for label, name in enumerate(names) if label not in known.values()]
    if missing or extra or len({*known.values()}) < len(known):
        raise _other_classes(missing, extra, list(known), where)
    for name, label in known.items():
        if names[label] != name:
            say(f"{where}: class '{names[label]}' is taken as the checkpoint's '{name}'")
    return tuple(other[known[category.name]] for category in trained)


def _other_classes(
    missing: Sequence[str], extra: Sequence[str], common: Sequence[str], where: str
) -> ModelError:
    words = []
    if missing:
        of, be = ("class", "is") if len(missing) == 1 else ("classes", "are")
        words.append(f"the checkpoint's {of} {_quoted(missing)} {be} not in it")
    if extra:
        words.append(f"the checkpoint does not know {_quoted(extra)}")
    close = [(n, get_close_matches(n, extra, n=1)) for n in missing]
    advice = [f"is '{match[0]}' meant to be '{name}'?" for name, match in close if match]
    if common:
        advice.append(f"--classes {','.join(common)} predicts the classes in common")
    return ModelError("; ".join(words), where=where, hint=" ".join(advice) or None)


def _quoted(names: Sequence[str]) -> str:
    return listed(f"'{name}'" for name in names)


def geo_plan(path: Path, system: System, targets: Targets) -> GeoPlan:
    """Return how detections are written as polygons on earth: before predicting.

    Args:
        path: ``.geojson`` or ``.gpkg``.
        system: ``wgs84``, or ``raster``: the images' own coordinate system.
        targets: what is predicted on.

    Raises:
        ImageError: an image that does not say where it lies.
        UsageError: images of different coordinate systems, or one that GeoJSON cannot name.
        MissingExtraError: the extra ``geo`` is not installed.
    """
    images = targets.images
    places = {image.id: georeference(targets.folder / image.file_name) for image in images}
    return GeoPlan(path, system, places)


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
    out: StrPath,
    found: Detections | Iterable[Detections],
    targets: Targets,
    *,
    proposals: bool = False,
) -> Path | None:
    """Write predictions in the format that the file's name says.

    The names of images and classes go into a file beside it, as annotations without boxes: so
    ``eval`` joins by name. It is not written where it is what was predicted on, or the format names
    images and classes.

    Args:
        out: the file.
        found: detections, or parts of them that can be gone through several times.
        targets: what was predicted on.
        proposals: they are class-agnostic.

    Returns:
        that file if ids were given to the images here, else None.
    """
    out = Path(out)
    parts = [found] if isinstance(found, Detections) else found
    if out.suffix == ".zip":
        write_task1(out, parts, targets.categories, targets.images)
        return None
    write_parts(out, parts, None if proposals else targets.categories)
    ids = image_ids_file(out)
    if is_among(ids, targets.read):
        return None
    write(ids, _without_objects(targets))
    return None if targets.has_ids else ids


def _without_objects(targets: Targets) -> Annotations:
    none = np.zeros(0, np.int64)
    return Annotations(
        targets.images, targets.categories, none, none, none,
        np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.bool_),
    )  # fmt: skip
