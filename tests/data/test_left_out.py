import csv
import json
from pathlib import Path

import numpy as np
import pytest

from sodkit.data.formats import read_annotations
from sodkit.data.images.decoding import write_image
from sodkit.data.left_out import LEFT_OUT, LeftOut
from sodkit.errors import DataError

BOXES = ([1, 2, 9, 9], [1, 4, 0, 16], [200, 20, 10, 10], [3, 3, 5, -1])


@pytest.fixture
def ann(tmp_path: Path) -> Path:
    """Two images, one of them broken; four boxes, three of them bad."""
    content = {
        "images": [{"id": k, "file_name": f"{k}.png", "width": 30, "height": 20} for k in (1, 2)],
        "categories": [{"id": 1, "name": "car"}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": box} for box in BOXES],
    }
    write_image(tmp_path / "1.png", np.zeros((20, 30, 3), np.uint8))
    (tmp_path / "2.png").write_bytes(b"no image")
    (tmp_path / "ann.json").write_text(json.dumps(content))
    return tmp_path / "ann.json"


# DNTR#4 (AI-TOD: width 0), xview-yolov3#17 (outside)
def test_bad_boxes_are_left_out_and_listed(ann: Path) -> None:
    left = LeftOut(bad=True)
    own = read_annotations(ann, report=left.report)
    assert own.xywh.tolist() == [list(BOXES[0])]
    own = left.readable(own, ann.parent)
    assert [image.file_name for image in own.images] == ["1.png"]
    left.write(ann.parent / LEFT_OUT)
    rows = list(csv.DictReader((ann.parent / LEFT_OUT).read_text().splitlines()))
    assert [row["where"].split()[-1] for row in rows[:3]] == ["2)", "4)", "3)"]
    assert rows[3]["where"] == str(ann.parent / "2.png")
    sentences = left.sentences(ann.parent / LEFT_OUT)
    assert len(sentences) == 5
    assert sentences[0].startswith("left out: 4")


def test_without_the_wish_an_error_names_the_option(ann: Path) -> None:
    left = LeftOut(bad=False)
    with pytest.raises(DataError) as caught:
        read_annotations(ann, report=left.report)
    assert "--skip-bad" in (caught.value.hint or "")
    left.write(ann.parent / LEFT_OUT)
    assert not (ann.parent / LEFT_OUT).exists()


def test_what_is_no_single_bad_row_stays_an_error(ann: Path) -> None:
    ann.write_text(ann.read_text().replace('"category_id": 1', '"category_id": 5'))
    with pytest.raises(DataError, match="unknown category"):
        read_annotations(ann, report=LeftOut(bad=True).report)


def test_no_image_that_can_be_read(ann: Path) -> None:
    left = LeftOut(bad=True)
    own = read_annotations(ann, report=left.report)
    (ann.parent / "1.png").unlink()
    with pytest.raises(DataError, match="none of the 2 images"):
        left.readable(own, ann.parent)


@pytest.mark.parametrize("content", [b"no image", None])
def test_an_image_whose_size_is_neither_stated_nor_read(ann: Path, content: bytes | None) -> None:
    ann.write_text(ann.read_text().replace(', "width": 30, "height": 20', ""))
    (ann.parent / "2.png").unlink()
    if content is not None:
        (ann.parent / "2.png").write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_annotations(ann, report=LeftOut(bad=False).report)
    assert "--skip-bad" in (caught.value.hint or "")
    left = LeftOut(bad=True)
    own = read_annotations(ann, report=left.report)
    assert [(image.id, image.width, image.height) for image in own.images] == [(1, 30, 20)]
    assert "2.png" in str(left.errors[0])
