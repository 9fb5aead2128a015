"""Annotations as a user names them, and the one way in which commands read them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sodkit.data.formats import find_images, read_annotations
from sodkit.data.formats.folders import is_file
from sodkit.data.formats.reading import AS_STATED, Reading
from sodkit.data.formats.subsets import EVALUATED, choose_subset
from sodkit.data.left_out import LeftOut
from sodkit.data.naming import class_names
from sodkit.data.records import Annotations
from sodkit.data.restriction import chosen_labels, only_labels

Say = Callable[[str], None]
"""Called with a sentence for people."""


@dataclass(frozen=True, slots=True)
class Source:
    """Annotations as a user names them.

    Attributes:
        path: a file or folder.
        format: of the annotations, None: recognised.
        images: where file names start, None: found.
        subset: of a root folder or YAML, None: it holds only one.
        reading: what the user decides where the source can mean two things.
        classes: only these, names with commas between, even if they sound like ignore regions;
            None: all.
    """

    path: Path
    format: str | None = None
    images: Path | None = None
    subset: str | None = None
    reading: Reading = AS_STATED
    classes: str | None = None

    def folder(self, annotations: Annotations) -> Path:
        """Return where the file names of what was read start."""
        return self.images or find_images(self.path, annotations, subset=self.subset)

    def whole_folder(self, annotations: Annotations) -> Path | None:
        """Return where the file names of what was read start; None if an image is not there."""
        folder = self.folder(annotations)
        there = (is_file(folder / image.file_name) for image in annotations.images)
        return folder if all(there) else None


def of_one_subset(
    source: Source, say: Say, likeliest: Sequence[str] = EVALUATED, option: str = "--subset"
) -> Source:
    """Return a source with the subset to read: the one it names, else the likeliest that is there.

    Args:
        source: as the user names it.
        say: called with the subset, if there are several.
        likeliest: kinds in the order they are looked for.
        option: takes another subset; empty: none does.

    Raises:
        UsageError: the subset that it names is not there.
        DataError: none of the likeliest is there.
    """
    name = choose_subset(source.path, source.subset, likeliest).name or None
    if name is not None:
        other = f" ({option} takes another)" if option else ""
        say(f"{source.path}: the subset {name} is read{other}")
    return replace(source, subset=name)


def open_source(
    source: Source,
    left: LeftOut,
    say: Say,
    *,
    all_classes: bool = False,
    all_images: bool = False,
) -> Annotations:
    """Read a source of one subset.

    Args:
        source: what and how.
        left: collects what is left out, if it may be.
        say: called with how it was read where a user may expect otherwise.
        all_classes: do not restrict to ``source.classes``: predictions may name the others.
        all_images: keep those that are not there, for a report that counts their objects.

    Raises:
        DataError, UsageError: as ``read_annotations``; a class of ``classes`` that is not there.
    """
    reading = source.reading
    if source.classes is not None:
        reading = replace(reading, classes=class_names(source.classes))
    own = read_annotations(
        source.path, format=source.format, images=source.images, report=left.report,
        reading=reading, subset=source.subset,
    )  # fmt: skip
    for note in own.notes:
        say(f"{source.path}: {note.what}")
    if not all_images:
        own = left.without_missing(own)
    if source.classes is None or all_classes:
        return own
    labels = chosen_labels(source.classes, own.categories, str(source.path), say)
    return only_labels(own, labels, len(own.categories))
