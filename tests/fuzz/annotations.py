"""The readers of annotations: COCO, SODA-A, DOTA, YOLO, Pascal VOC, official releases."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from sodkit import json_columns
from sodkit.data.checking.dataset_check import check_dataset
from sodkit.data.checking.oddities import oddities
from sodkit.data.formats import choose_subset, coco_write, find_images, read_annotations
from sodkit.data.formats.conversion import convert
from sodkit.data.formats.subsets import TRAINED
from sodkit.data.images.listing import list_images
from sodkit.data.records import Annotations
from sodkit.errors import SodkitError

from . import made
from .reader import Files, Reader
from .released import releases

logging.getLogger("sodkit").addHandler(logging.NullHandler())
"""Notes on how a source is read are meant; without a handler Python prints them."""


def _read(path: Path) -> Annotations:
    """Read as ``split`` and ``train`` do, after a check, which goes on where reading stops."""
    report = check_dataset(path, look_at_images=False)
    json.dumps(report.as_dict(), allow_nan=False)
    subset = choose_subset(path, None, TRAINED).name or None
    own = read_annotations(path, subset=subset)
    oddities(own)
    find_images(path, own, subset=subset)
    return own


def _folder(folder: Path) -> Annotations:
    return _read(folder / "x")


def _file(folder: Path) -> Annotations:
    return _read(folder / "ann.json")


def _both(folder: Path) -> None:
    """Read COCO by the compiled scanner and with care: both must say the same."""
    results: list[Annotations | str] = []
    for large in (0, 1 << 40):
        with patch.object(json_columns, "LARGE", large):
            try:
                results.append(read_annotations(folder / "ann.json"))
            except SodkitError as error:
                results.append(str(error))
    fast, careful = results
    if isinstance(fast, str) or isinstance(careful, str):
        assert fast == careful, f"{fast} != {careful}"
        raise SodkitError(str(fast))
    for name in ("ids", "image_index", "labels", "xywh", "area", "ignore", "obb", "flags"):
        a, b = getattr(fast, name), getattr(careful, name)
        assert (a is None) == (b is None), name
        assert a is None or np.array_equal(a, b, equal_nan=True), name


def _coco(change: Callable[[dict[str, Any]], object] = lambda item: None, **of: Any) -> Files:
    """Return a COCO file, every annotation changed."""
    own = of.get("own") or made.horizontal()
    files = made.written(lambda folder: coco_write.write(folder / "ann.json", own))
    content = json.loads(files["ann.json"])
    for item in content["annotations"]:
        change(item)
    return {"ann.json": json.dumps(content).encode()}


def _upright() -> tuple[Files, ...]:
    return (
        _coco(),
        _coco(lambda item: item.update(iscrowd=1)),
        _coco(lambda item: [item.pop(key) for key in ("id", "area", "ignore")]),
        _coco(own=made.patches()),
    )


def _turned() -> tuple[Files, ...]:
    own = made.oriented()
    return (
        _coco(own=own),
        _coco(lambda item: item.pop("poly"), own=own),
        _coco(lambda item: (item.pop("obb"), item.pop("bbox")), own=own),
        _coco(lambda item: item["poly"].extend([3, 3, 4, 4]), own=own),
    )


def _mixed() -> tuple[Files, ...]:
    return (*_upright(), *_turned())


def _converted(format: str) -> tuple[dict[str, bytes], ...]:
    """Return folders of a format, upright and oriented, without images."""
    both = (made.horizontal(), made.oriented())
    return tuple(
        made.written(lambda folder, own=own: convert(own, format, folder / "x")) for own in both
    )


def _with_images(format: str, images: str) -> Callable[[], tuple[Files, ...]]:
    """Return what makes folders of label files with their images."""

    def make() -> tuple[Files, ...]:
        return tuple({**files, **made.pictures(images)} for files in _converted(format))

    return make


def _listed() -> tuple[Files, ...]:
    """Return YOLO folders whose YAML names a list of images."""
    valid = []
    for files in _with_images("yolo", "x/images")():
        text = files["x/data.yaml"].decode().replace("train: images", "train: train.txt")
        names = b"./images/a.png\nimages/b.png\n"
        valid.append({**files, "x/data.yaml": text.encode(), "x/train.txt": names})
    return tuple(valid)


def _bare_voc() -> tuple[Files, ...]:
    """Return VOC folders that state neither names nor sizes."""
    valid = []
    for files in _with_images("voc", "x/JPEGImages")():
        bare = dict(files)
        for name in ("x/Annotations/a.xml", "x/Annotations/b.xml"):
            rows = files[name].decode().splitlines()
            bare[name] = "\n".join(row for row in rows if "<size>" not in row).encode()
        del bare["x/classes.txt"]
        valid.append(bare)
    return tuple(valid)


def _soda() -> tuple[Files, ...]:
    """Return SODA-A folders: as we write them, as patches, and without the images' names."""
    own = _converted("soda-a")[1]
    cut = made.written(lambda folder: convert(made.patches(), "soda-a", folder / "x"))
    bare = {}
    for name, data in own.items():
        content = json.loads(data)
        for key in ("images", "categories"):
            del content[key]
        bare[name] = json.dumps(content).encode()
    return own, cut, {**bare, **made.pictures("x/images")}


def _otherwise() -> tuple[Files, ...]:
    """Return COCO files with boxes where other tools have them."""
    turned = [[2, 2, 8, 4, 7, 7, 1, 5]]
    runs = {"size": [12, 16], "counts": [30, 4, 8, 4, 146]}
    return (
        _coco(lambda item: (item.pop("bbox"), item.update(segmentation=turned))),
        _coco(lambda item: (item.pop("bbox"), item.update(segmentation=runs))),
        _coco(lambda item: item.update(segmentation=turned)),
        _coco(lambda item: item.update(attributes={"rotation": 45.0})),
        _coco(lambda item: item.update(category_id=float(item["category_id"]), area=1)),
    )


def _released(*names: str) -> Callable[[], tuple[Files, ...]]:
    return lambda: tuple(files for name, files in releases().items() if name in names)


def _first(folder: Path) -> Annotations:
    """Read the only file right in the folder."""
    return _read(next(path for path in (folder / "x").iterdir() if path.is_file()))


def _names() -> tuple[Files, ...]:
    pictures = made.pictures()
    return (
        {"names.txt": b"images/a.png\nimages/b.png", **pictures},
        {"names.txt": b"images\n./images/../images/a.png", **pictures},
    )


def _list(folder: Path) -> None:
    text = (folder / "names.txt").read_bytes().decode("utf-8", "surrogateescape")
    names = [name for name in text.split("\n") if not name.startswith("/")]
    list_images([Path(name) for name in names])


_LABELS = ("*.txt", "*.yaml", "*.xml", "*.json")

READERS = (
    Reader("coco", _upright, _file),
    Reader("coco-oriented", _turned, _file),
    Reader("coco-compiled", _mixed, _both, share=50),
    Reader("soda-a", _soda, _folder, _LABELS, share=25),
    Reader("dota", _with_images("dota", "x/labelTxt"), _folder, _LABELS, share=50),
    Reader("yolo", _with_images("yolo", "x/images"), _folder, _LABELS, share=25),
    Reader("yolo-list", _listed, _folder, _LABELS, share=25),
    Reader("voc", _with_images("voc", "x/Annotations"), _folder, _LABELS, share=50),
    Reader("voc-bare", _bare_voc, _folder, _LABELS, share=25),
    Reader("coco-others", _otherwise, _file),
    Reader("release-text", _released("visdrone", "kitti"), _folder, _LABELS, share=25),
    Reader("release-json", _released("bdd100k", "xview"), _first, ("*.*json",), share=25),
    Reader("release-xml", _released("fair1m", "dior-r", "hrsc2016"), _folder, _LABELS, share=50),
    Reader("names", _names, _list, ("names.txt",), share=50),
)
