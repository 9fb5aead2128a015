"""Pascal VOC's XML: what is broken in it is said in plain words, and its encodings are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from sodkit.data.formats import read_annotations
from sodkit.errors import DataError

BOX = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"


def annotation(name: str) -> str:
    size = "<size><width>40</width><height>30</height></size>"
    item = f"<object><name>{name}</name>{BOX}</object>"
    return f"<annotation><filename>a.jpg</filename>{size}{item}</annotation>"


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "the file is empty, or ends too early"),
        (b"<annotation><size", "ends inside an element"),
        (b"<annotation></size>", "the end of an element that is not open"),
        (b"<annotation/>x", "text after the end of the outermost element"),
        (annotation("R&D").encode(), "& is written &amp;"),
        (annotation("R&D;").encode(), "an & that is not written &amp;"),
        (b"1 2 3", "does not begin with an element"),
        (annotation("\u00e9").encode("latin1"), "text is UTF-8 unless the first line states"),
        (b'<?xml version="1.0" encoding="zlib"?><annotation/>', "encoding that is not known"),
    ],
)
def test_broken_xml(tmp_path: Path, data: bytes, what: str) -> None:
    (tmp_path / "a.xml").write_bytes(data)
    with pytest.raises(DataError, match=what) as caught:
        read_annotations(tmp_path)
    assert str(caught.value.where).startswith(str(tmp_path / "a.xml"))


@pytest.mark.parametrize("encoding", ["gbk", "GB2312", "utf-16", "iso-8859-1", "windows-1252"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    name = "\u8239" if encoding.lower().startswith("gb") else "caf\u00e9"
    head = f'<?xml version="1.0" encoding="{encoding}"?>\n'
    (tmp_path / "a.xml").write_bytes((head + annotation(name)).encode(encoding))
    assert [item.name for item in read_annotations(tmp_path).categories] == [name]
