"""The subsets of a data set's root folder, YOLO YAML or ``obj.data``; choosing one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sodkit.data.formats.assemble import Collected
from sodkit.data.formats.folders import (
    IMAGE_FOLDERS,
    LABEL_FOLDERS,
    child,
    entries,
    files_below,
    is_file,
    is_folder,
)
from sodkit.data.formats.source import EmptySubset, Oddity, Report, read_lines
from sodkit.data.formats.subset_names import by_subset, kind_of, names_subset
from sodkit.data.records import Category
from sodkit.errors import DataError, UsageError
from sodkit.files import StrPath

TRAINED = ("train",)
VALIDATED = ("val",)
EVALUATED = ("val", "test", "train")
"""Subsets that a command takes if none is named, likeliest first."""

_BASES = ("rawData", "", "divData")
"""Folders below a root, likeliest first: SODA's originals come before its patches."""
_SPOTS = ("Annotations", "annfiles", "", "labelTxt", "labels")
"""Folders with a file or folder for each subset."""
_IMAGE_SETS = ("ImageSets/Main", "ImageSets", "Main")
_LISTED_BASES = ("", "FullDataSet")
"""Folders of annotations below a root with lists of images, HRSC2016's too."""
_ORDER = ("train", "trainval", "val", "minival", "dev", "test")


@dataclass(frozen=True, slots=True)
class Subset:
    """A subset of a data set.

    Attributes:
        name: as it is called there, "" of a source without subsets.
        path: where its annotations are.
        key: its name in ``path``, if that holds several subsets (a YOLO YAML, lists of VOC's).
        root: the folder or YAML that was asked, None of a source without subsets.
    """

    name: str
    path: Path
    key: str | None = None
    root: Path | None = None

    @property
    def is_yaml(self) -> bool:
        """Whether it is one of a YAML, which has one list of classes for all."""
        return self.key is not None and is_file(self.path)


def find_subsets(root: StrPath) -> list[Subset]:
    """Return the subsets below a root folder, or of a YAML; none if it is not such a root.

    Understood are the subsets of a YOLO YAML or ``obj.data`` whose images are there, SODA-D and
    SODA-A as downloaded (``rawData``, their patches in ``divData``), Pascal VOC's lists in
    ``ImageSets/Main``, and folders or files named by subset, also as COCO's
    ``instances_train2017.json`` and AI-TOD's ``aitod_train_v1.json``.
    """
    root = Path(root)
    from sodkit.data.formats import yolo_yaml

    named = root.suffix.lower() in yolo_yaml.YAML_SUFFIXES and is_file(root)
    folder = unwrapped(root)
    yaml = root if named else yolo_yaml.find_yaml(folder) if is_folder(root) else None
    if yaml is not None:
        data = yolo_yaml.read_yaml(yaml)
        there = yolo_yaml.subsets_there(data)
        known = [Subset(key, yaml, key, root) for key in data.subsets if there.get(key)]
        if known:
            return known
    if not is_folder(root):
        return []
    listed = _listed_in(folder)
    if listed:
        return [replace(item, root=root) for item in listed]
    for base in _BASES:
        for spot in _SPOTS:
            found = _named_in(child(folder / base, spot) if spot else folder / base)
            if found:
                return [replace(item, root=root) for item in found]
    return []


def empty_subsets(found: Sequence[Subset]) -> list[tuple[str, Path]]:
    """Return name and folder of the subsets beside those found that hold no annotations."""
    there = {item.path for item in found}
    if not there or any(item.key is not None for item in found):
        return []
    places = {item.parent for item in there if kind_of(item.name)}
    places |= {item.parent.parent for item in there if kind_of(item.parent.name)}
    folders = [item for place in sorted(places) for item in entries(place) if _is_subset(item)]
    return [
        (item.name, _first_folder(item))
        for item in folders
        if not any(path == item or path.is_relative_to(item) for path in there)
    ]


def _is_subset(item: Path) -> bool:
    names = {name.casefold() for name in IMAGE_FOLDERS}
    return kind_of(item.name) is not None and item.name.casefold() not in names and item.is_dir()


def _first_folder(folder: Path) -> Path:
    """Return the folder of labels in a subset's folder, itself if it has none."""
    return next((path for name in LABEL_FOLDERS if (path := child(folder, name)).is_dir()), folder)


def note_empty(found: Sequence[Subset], report: Report) -> None:
    """Report the subsets beside those found whose folder holds no annotations."""
    for name, folder in empty_subsets(found):
        is_label = folder.name in LABEL_FOLDERS or folder.parent.name in LABEL_FOLDERS
        kind = EmptySubset if is_label else Oddity
        report(_no_labels(name, folder, kind), "no-annotations")
    first = found[0]
    lists = {} if first.root is None or first.is_yaml else image_sets(unwrapped(first.root))
    for name in lists.keys() - {item.name for item in found}:
        what = f"none of the images of the subset {name!r} has annotations"
        hint = "the other subsets are read without it"
        report(Oddity(what, where=lists[name], hint=hint), "no-annotations")


def _no_labels(name: str, folder: Path, kind: type[DataError]) -> DataError:
    return kind(
        f"the subset {name!r} has no annotations: there are none in this folder",
        where=folder,
        hint="put its annotations there; the other subsets are read without it",
    )


def unwrapped(root: Path) -> Path:
    """Return the only folder in a folder that holds nothing else: archives are so unpacked.

    A folder of labels or images, or without folders, is no such one.
    """
    known = {name.casefold() for name in (*LABEL_FOLDERS, *IMAGE_FOLDERS, *_BASES)} - {"data"}
    while is_folder(root):
        inner = [item for item in entries(root) if not item.name.lower().startswith("readme")]
        if len(inner) != 1 or inner[0].name.casefold() in known or kind_of(inner[0].name):
            break
        if not is_folder(inner[0]) or not any(item.is_dir() for item in entries(inner[0])):
            break
        root = inner[0]
    return root


def image_sets(root: Path) -> dict[str, Path]:
    """Return Pascal VOC's lists of images by subset; ``trainval`` only without ``train``."""
    for name in _IMAGE_SETS:
        files = files_below(root / name, (".txt",), below=False)
        found = {file.stem: file for file in files if names_subset(file.stem)}
        if found:
            if "train" in found:
                found.pop("trainval", None)
            return found
    return {}


def _listed_in(root: Path) -> list[Subset]:
    """Return the subsets that lists of images make of Pascal VOC's annotations."""
    from sodkit.data.formats.recognise import place_of

    lists = image_sets(root)
    places = (place_of(root / base) for base in _LISTED_BASES if lists)
    place = next((found[1] for found in places if found and found[0] == "voc"), None)
    if place is None:
        return []
    stems = {file.stem for file in files_below(place, (".xml",))}
    found = [name for name, file in lists.items() if not stems.isdisjoint(read_stems(file))]
    return sorted((Subset(name, place, name) for name in found), key=_order)


def read_stems(path: Path) -> frozenset[str]:
    """Return the names that a list of images has, the first of each line."""
    lines = (line.split() for line in read_lines(path))
    return frozenset(tokens[0] for tokens in lines if tokens)


def _order(item: Subset) -> tuple[int, str]:
    return _ORDER.index(kind_of(item.name) or "test"), item.name


def _named_in(folder: Path) -> list[Subset]:
    """Return the subsets that are files, else folders, right in a folder."""
    from sodkit.data.formats.recognise import is_of_one_image, is_source, place_of

    if not folder.is_dir():
        return []
    items = entries(folder)
    files = [item for item in items if item.suffix.lower() == ".json" and is_source(item)]
    named = by_subset(files).items()
    found = [Subset(name, path) for name, path in named if not is_of_one_image(path)]
    if not found:
        folders = [item for item in items if _is_subset(item)]
        places = [(item.name, place_of(item, loose=True)) for item in folders]
        found = [Subset(name, place[1]) for name, place in places if place is not None]
    return sorted(found, key=_order)


def pick(found: Sequence[Subset], wanted: str, where: Path | str = "--subset") -> Subset:
    """Return the subset of a name, or the only one of its kind: ``val`` is ``valid``, too.

    Raises:
        DataError: its folder is there, and holds no annotations.
        UsageError: if it is not there, or there are several of the kind.
    """
    exact = [item for item in found if item.name == wanted]
    alike = [item for item in found if kind_of(item.name) == (kind_of(wanted) or wanted)]
    chosen = exact or alike
    if len(chosen) != 1:
        names = ", ".join(item.name for item in chosen or found) or "none"
        if not chosen:
            _refuse_empty(found, wanted)
        several = "there are several subsets" if chosen else "there is no subset"
        raise UsageError(f"{several} {wanted!r}", where=where, hint=f"found: {names}")
    return chosen[0]


def _refuse_empty(found: Sequence[Subset], wanted: str) -> None:
    """Raise DataError if the folder of a subset is there, and holds no annotations."""
    for name, folder in empty_subsets(found):
        if name == wanted or kind_of(name) == (kind_of(wanted) or wanted):
            raise _no_labels(name, folder, DataError)


def choose_subset(path: Path, wanted: str | None, likeliest: Sequence[str]) -> Subset:
    """Return the subset of a source to read; without subsets, the source itself.

    Args:
        path: a source or root of annotations.
        wanted: the subset that was asked for.
        likeliest: kinds that are taken if none is.

    Raises:
        UsageError: the subset that is wanted is not there.
        DataError: none of the likeliest is there.
    """
    from sodkit.data.formats.recognise import is_plain

    found = [] if wanted is None and is_plain(path) else find_subsets(path)
    if wanted is not None:
        return pick(found, wanted)
    if not found:
        return Subset("", path)
    for kind in likeliest:
        alike = [item for item in found if kind_of(item.name) == kind]
        if alike:
            return pick(alike, alike[0].name if len(alike) == 1 else kind)
        if _names_same(found, kind):
            return found[0]
    for kind in likeliest:
        _refuse_empty(found, kind)
    names = ", ".join(item.name for item in found)
    raise DataError(
        f"has no subset {likeliest[0]!r} (has: {names})",
        where=path,
        hint="give the path of the annotations that are meant",
    )


def _names_same(found: Sequence[Subset], kind: str) -> bool:
    """Return whether a YAML has the images of its only subset as those of another kind, too."""
    from sodkit.data.formats import yolo_yaml

    if len(found) > 1 or not found[0].is_yaml:
        return False
    named = yolo_yaml.read_yaml(found[0].path).subsets
    own = named[found[0].name]
    return any(kind_of(key) == kind and paths == own for key, paths in named.items())


def join_classes(lists: Sequence[Sequence[Category]]) -> list[Category]:
    """Return the classes of all subsets by name, in the order of the first that has each.

    Ids are those of the first, too; an id that is taken becomes the next free one.
    """
    joined: dict[str, Category] = {}
    for item in (item for known in lists for item in sorted(known, key=lambda item: item.id)):
        taken = {other.id for other in joined.values()}
        number = item.id if item.id not in taken else max(taken) + 1
        joined.setdefault(item.name, Category(number, item.name))
    return list(joined.values())


def with_classes(own: Collected, classes: Sequence[Category]) -> Collected:
    """Return what was collected with a list of classes that has all of its names."""
    if list(own.categories) == list(classes):
        return own
    ids = {item.name: item.id for item in classes}
    moved = own.category_ids.copy()
    for item in own.categories:
        moved[own.category_ids == item.id] = ids[item.name]
    unknown = ~np.isin(own.category_ids, [item.id for item in own.categories])
    moved[unknown] = -1 - np.abs(own.category_ids[unknown])
    return replace(own, categories=list(classes), category_ids=moved)
