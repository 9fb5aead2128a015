"""The subsets of a data set's root folder, YOLO YAML or ``obj.data``; choosing one of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sodkit.data.formats.assemble import Collected
from sodkit.data.formats.folders import child, entries, is_file, is_folder
from sodkit.data.records import Category
from sodkit.errors import DataError, UsageError

TRAINED = ("train",)
VALIDATED = ("val",)
EVALUATED = ("val", "test", "train")
"""Subsets that a command takes if none is named, likeliest first."""

_NAME = re.compile(r"(train|val|test|dev|trainval|minival)(?:ing|id|idation)?[-_]?(?:set)?(\d{4})?")
_AFFIXES = {"instances", "annotations", "annotation", "coco", "labels", "gt"}
_BASES = ("rawData", "", "divData")
"""Folders below a root, likeliest first: SODA's originals come before its patches."""
_SPOTS = ("Annotations", "annfiles", "", "labelTxt", "labels")
"""Folders with a file or folder for each subset."""
_ORDER = ("train", "trainval", "val", "minival", "dev", "test")


@dataclass(frozen=True, slots=True)
class Subset:
    """A subset of a data set.

    Attributes:
        name: as it is called there, "" of a source without subsets.
        path: where its annotations are.
        key: its name in ``path``, if that holds several subsets (a YOLO YAML).
        root: the folder or YAML that was asked, None of a source without subsets.
    """

    name: str
    path: Path
    key: str | None = None
    root: Path | None = None


def kind_of(name: str) -> str | None:
    """Return train, val, test ... for a subset's name (``valid``, ``train2017``), else None."""
    match = _NAME.fullmatch(name.casefold())
    return None if match is None else match[1]


def find_subsets(root: Path) -> list[Subset]:
    """Return the subsets below a root folder, or of a YAML; none if it is not such a root.

    Understood are the subsets of a YOLO YAML or ``obj.data`` whose images are there, SODA-D and
    SODA-A as downloaded (``rawData``, their patches in ``divData``), and folders or files named by
    subset, also as COCO's ``instances_train2017.json``.
    """
    from sodkit.data.formats import yolo_yaml

    named = root.suffix.lower() in yolo_yaml.YAML_SUFFIXES and is_file(root)
    yaml = root if named else yolo_yaml.find_yaml(root) if is_folder(root) else None
    if yaml is not None:
        data = yolo_yaml.read_yaml(yaml)
        there = yolo_yaml.subsets_there(data)
        known = [Subset(key, yaml, key, root) for key in data.subsets if there.get(key)]
        if known:
            return known
    for base in _BASES if is_folder(root) else ():
        for spot in _SPOTS:
            found = _named_in(child(root / base, spot) if spot else root / base)
            if found:
                return [replace(item, root=root) for item in found]
    return []


def _named_in(folder: Path) -> list[Subset]:
    """Return the subsets that are files, else folders, right in a folder."""
    from sodkit.data.formats.recognise import is_source, place_of

    if not folder.is_dir():
        return []
    items = entries(folder)
    files = {
        name: item
        for item in items
        if item.suffix.lower() == ".json" and (name := _name_in(item.stem)) and is_source(item)
    }
    found = [Subset(name, path) for name, path in files.items()]
    if not found:
        folders = [item for item in items if kind_of(item.name) and item.is_dir()]
        places = [(item.name, place_of(item, loose=True)) for item in folders]
        found = [Subset(name, place[1]) for name, place in places if place is not None]
    return sorted(found, key=lambda item: (_ORDER.index(kind_of(item.name) or "test"), item.name))


def _name_in(stem: str) -> str | None:
    """Return the subset's name in that of a file: ``instances_train2017`` is ``train2017``."""
    tokens = [token for token in re.split(r"[._]", stem) if token.casefold() not in _AFFIXES]
    return tokens[0] if len(tokens) == 1 and kind_of(tokens[0]) else None


def pick(found: Sequence[Subset], wanted: str, where: Path | str = "--subset") -> Subset:
    """Return the subset of a name, or the only one of its kind: ``val`` is ``valid``, too.

    Raises:
        UsageError: if it is not there, or there are several of the kind.
    """
    exact = [item for item in found if item.name == wanted]
    alike = [item for item in found if kind_of(item.name) == (kind_of(wanted) or wanted)]
    chosen = exact or alike
    if len(chosen) != 1:
        names = ", ".join(item.name for item in chosen or found) or "none"
        several = "there are several subsets" if chosen else "there is no subset"
        raise UsageError(f"{several} {wanted!r}", where=where, hint=f"found: {names}")
    return chosen[0]


def choose_subset(
    path: Path, wanted: str | None, likeliest: Sequence[str], format: str | None = None
) -> Subset:
    """Return the subset of a source to read; without subsets, the source itself.

    Args:
        path: a source or root of annotations.
        wanted: the subset that was asked for.
        likeliest: kinds that are taken if none is.
        format: of the annotations, if it is stated: then a folder is read as it stands.

    Raises:
        UsageError: the subset that is wanted is not there.
        DataError: none of the likeliest is there.
    """
    from sodkit.data.formats.recognise import is_plain

    found = [] if wanted is None and is_plain(path, format) else find_subsets(path)
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
    names = ", ".join(item.name for item in found)
    raise DataError(
        f"has no subset {likeliest[0]!r} (has: {names})",
        where=path,
        hint="give the path of the annotations that are meant",
    )


def _names_same(found: Sequence[Subset], kind: str) -> bool:
    """Return whether a YAML has the images of its only subset as those of another kind, too."""
    from sodkit.data.formats import yolo_yaml

    if len(found) > 1 or found[0].key is None:
        return False
    named = yolo_yaml.read_yaml(found[0].path).subsets
    return any(
        kind_of(key) == kind and paths == named[found[0].key] for key, paths in named.items()
    )


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
