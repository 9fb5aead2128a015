"""Contact sheets: which boxes, in which order, and how they are drawn."""

import cv2
import numpy as np
import pytest

from sodkit.data.images.decoding import write_image
from sodkit.data.records import Annotations, Category, Detections, ImageRecord
from sodkit.errors import DataError, UsageError
from sodkit.viz.contact_sheet import SIDE, write_sheet
from sodkit.viz.content import Style
from sodkit.viz.palette import class_colour
from sodkit.viz.text import line_height

TILE = SIDE + line_height(12)
GREYS = (60, 120)
SIDES = ((0, 0, 24.0), (1, 0, 10.0), (0, 0, 16.0), (1, 1, 5.0))
"""Objects: image, label, side in px."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sheet")
    images = tuple(ImageRecord(k + 1, f"{k}.png", 300, 200) for k in range(2))
    for image, grey in zip(images, GREYS, strict=True):
        write_image(folder / image.file_name, np.full((200, 300, 3), grey, np.uint8))
    index, labels, sides = (np.array(column) for column in zip(*SIDES, strict=True))
    xywh = np.stack([60.0 * np.arange(4) + 20, np.full(4, 80.0), sides, sides], axis=1)
    categories = (Category(1, "人 <b>"), Category(2, "car"))
    return folder, Annotations(
        images, categories, np.arange(4), index, labels, xywh, sides**2, np.zeros(4, bool)
    )


def tiles(path, count):
    picture = cv2.imread(str(path))[:, :, ::-1]
    return [picture[:TILE, SIDE * k : SIDE * (k + 1)][-SIDE:] for k in range(count)]


def coloured(tile, label=0):
    return (np.abs(tile.astype(int) - class_colour(label)).sum(axis=2) < 90).sum()


def test_the_smallest_is_first(data, tmp_path):
    folder, annotations = data
    calls = []
    sheet = write_sheet(
        annotations, folder, tmp_path / "out", name="人 <b>", progress=lambda *a: calls.append(a)
    )
    assert (sheet.shown, sheet.total) == (3, 3)
    assert calls == [(1, 2), (2, 2)]
    shown = tiles(sheet.path, 3)
    assert [int(tile[5, 5, 0]) for tile in shown] == [GREYS[1], GREYS[0], GREYS[0]]
    assert all(coloured(tile) > 50 for tile in shown)
    assert not any(coloured(tile, 1) for tile in shown)


def test_found_false_and_missed_are_told_apart(data, tmp_path):
    folder, annotations = data
    xywh = np.concatenate([annotations.xywh[:1], [[200.0, 20, 7, 7]]])
    found = Detections(np.array([1, 1]), np.zeros(2, int), np.array([0.9, 0.8]), xywh)
    given = {"name": "人 <b>", "detections": found}
    sheet = write_sheet(annotations, folder, tmp_path / "a", **given)
    false, missed, _, right = (coloured(tile) for tile in tiles(sheet.path, 4))
    assert sheet.shown == 4
    assert right > 1.3 * max(false, missed)  # a closed line; dashes and corners have less
    for only, count in (("missed", 2), ("false", 1)):
        sheet = write_sheet(annotations, folder, tmp_path / only, style=Style(only=only), **given)
        assert sheet.total == count
    sheet = write_sheet(annotations, folder, tmp_path / "b", style=Style(1.0), **given)
    assert sheet.total == 3


def test_predictions_alone_and_no_box(data, tmp_path):
    folder, annotations = data
    bare = annotations.take(np.zeros(4, bool))
    found = Detections(np.array([2]), np.array([1]), np.array([0.9]), annotations.xywh[:1])
    assert write_sheet(bare, folder, tmp_path / "a", name="car", detections=found).shown == 1
    assert write_sheet(bare, folder, tmp_path / "b", name="car").shown == 0
    assert cv2.imread(str(tmp_path / "b" / "sheet.png")) is not None


def test_bad_input_leaves_nothing(data, tmp_path):
    folder, annotations = data
    out = tmp_path / "out"
    with pytest.raises(UsageError, match=r"no class 'cat'.*\n.*car"):
        write_sheet(annotations, folder, out, name="cat")
    for style in (Style(only="missed"), Style(zoom=1), Style(score=2)):
        with pytest.raises(UsageError):
            write_sheet(annotations, folder, out, name="car", style=style)
    with pytest.raises(DataError, match="not found"):
        write_sheet(annotations, tmp_path, out, name="car")
    assert not out.exists()
