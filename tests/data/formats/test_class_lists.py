"""Class names from the files that tools write beside labels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sodkit.data.formats import read_annotations
from sodkit.data.formats.class_lists import classes_named, listed_classes, read_class_list
from sodkit.errors import DataError

BOX = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
XML = (
    "<annotation><filename>a.jpg</filename><size><width>40</width><height>30</height></size>"
    f"<object><name>person</name>{BOX}</object></annotation>"
)
LABEL_MAP = (
    "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncar:184,61,245::\nperson:255,0,0:head:\n"
)


def test_cvat_voc(tmp_path: Path) -> None:
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations" / "a.xml").write_text(XML)
    (tmp_path / "labelmap.txt").write_text(LABEL_MAP)
    own = read_annotations(tmp_path)
    assert [(item.id, item.name) for item in own.categories] == [(0, "car"), (1, "person")]
    assert own.labels.tolist() == [1]


@pytest.mark.parametrize(
    "name",
    ["classes.txt", "Labels.txt", "predefined_classes.txt", "class_names.txt", "obj.names",
     "_darknet.labels"],
)  # fmt: skip
def test_one_name_a_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\xef\xbb\xbfcar\r\nsmall van\r\n\r\n")
    assert listed_classes(tmp_path) == ("car", "small van")


def test_numbers_are_never_shifted(tmp_path: Path) -> None:
    """A class that is left out would give all later ones the name of another."""
    path = tmp_path / "classes.txt"
    path.write_text("car\n\nperson\n")
    with pytest.raises(DataError, match="an empty line between class names"):
        read_class_list(path)
    path.unlink()
    notes = tmp_path / "notes.json"
    names = ["car", "ignore", "person"]
    items = [{"id": number, "name": name} for number, name in enumerate(names)]
    notes.write_text(json.dumps({"categories": items}))
    assert listed_classes(tmp_path) == ("car", "ignore", "person")
    notes.write_text(json.dumps({"categories": [items[0], items[2]]}))
    with pytest.raises(DataError, match="leave one out"):
        listed_classes(tmp_path)
    notes.write_text(json.dumps({"categories": ["car"]}))
    with pytest.raises(DataError, match=r"expected an object \{...\}, found the text 'car'"):
        listed_classes(tmp_path)


def test_classes_of_an_option(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    with pytest.raises(DataError, match="no such file"):
        classes_named(str(path))
    path.write_text("car\nlarge vehicle\n")
    assert classes_named(str(path)) == ("car", "large vehicle")
    assert classes_named("car, bus,") == ("car", "bus")
