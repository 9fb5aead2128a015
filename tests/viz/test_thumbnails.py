"""Pictures of the worst images: what is marked, and which part is shown close up."""

import base64

import cv2
import numpy as np
import pytest

from sodkit.data.images.decoding import write_image
from sodkit.data.records import Annotations, Category, Detections, ImageRecord
from sodkit.errors import DataError
from sodkit.evaluation.evaluate import evaluate
from sodkit.evaluation.protocol import SODA_D
from sodkit.evaluation.study import study
from sodkit.viz.thumbnails import CLOSE_UP, OVERVIEW, Marks, marks, thumbnails, worst_window

SIZE = (1200, 600)


def boxes(*places):
    corners = np.array([[0, 0], [20, 0], [20, 20], [0, 20]], float)
    return np.array([corners + place for place in places]).reshape(-1, 4, 2)


@pytest.fixture
def case(tmp_path):
    """Found, missed, found below the score, false alarm; a second image without errors."""
    write_image(tmp_path / "a.png", np.full((SIZE[1], SIZE[0], 3), 128, np.uint8))
    xywh = np.array([[100.0, 100, 20, 20], [300, 100, 20, 20], [500, 100, 20, 20]])
    annotations = Annotations(
        images=(ImageRecord(5, "b.png", 10, 10), ImageRecord(3, "a.png", *SIZE)),
        categories=(Category(1, "car"),),
        ids=np.arange(3),
        image_index=np.full(3, 1),
        labels=np.zeros(3, np.int64),
        xywh=xywh,
        area=np.full(3, 400.0),
        ignore=np.zeros(3, bool),
    )
    found = np.array([[100.0, 100, 20, 20], [500, 100, 20, 20], [900, 400, 20, 20]])
    detections = Detections(np.full(3, 3), np.zeros(3, np.int64), np.array([0.9, 0.1, 0.8]), found)
    evaluation = evaluate(annotations, detections, SODA_D)
    look = study(evaluation, annotations, detections, score=0.5, resamples=0)
    return tmp_path, annotations, detections, look


def test_marks(case):
    _, annotations, detections, look = case
    drawn = marks(annotations, detections, look, 1)
    assert np.array_equal(drawn.found, boxes((100, 100)))
    assert np.array_equal(drawn.missed, boxes((300, 100), (500, 100)))
    assert np.array_equal(drawn.false, boxes((900, 400)))
    assert drawn.missed_names == ("car", "car")
    assert drawn.false_names == ("car 0.80",)
    nothing = marks(annotations, detections, look, 0)
    assert len(nothing.found) + len(nothing.missed) + len(nothing.false) == 0


def test_thumbnails_show_the_image_and_the_errors(case):
    folder, annotations, detections, look = case
    ((overview, close),) = thumbnails(annotations, detections, look, folder)
    assert (overview.width, overview.height) == (OVERVIEW, OVERVIEW // 2)
    assert (close.width, close.height) == (CLOSE_UP, CLOSE_UP)
    assert overview.text == "a.png"
    head, content = overview.source.split(",")
    assert head == "data:image/jpeg;base64"
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert picture.shape == (OVERVIEW // 2, OVERVIEW, 3)
    scale = OVERVIEW / SIZE[0]

    def colour_around(x, y):
        left, top = int(x * scale), int(y * scale)
        part = picture[top - 6 : top + 22, left - 6 : left + 22].reshape(-1, 3).astype(int)
        return part[np.argmax(part.max(axis=1) - part.min(axis=1))]

    red, green, blue = colour_around(100, 100)
    assert green > red
    assert green > blue  # found
    red, green, blue = colour_around(300, 100)
    assert red > 1.5 * green  # missed
    red, green, blue = colour_around(900, 400)
    assert min(red, green) > 1.5 * blue  # a false alarm
    red, green, blue = colour_around(700, 300)
    assert abs(red - green) < 9  # nothing there


def test_few_errors_are_named_in_the_window(case, monkeypatch):
    named = thumbnails(case[1], case[2], case[3], case[0])[0][1].source
    assert thumbnails(case[1], case[2], case[3], case[0])[0][1].source == named
    monkeypatch.setattr("sodkit.viz.thumbnails.NAMED", 0)
    assert thumbnails(case[1], case[2], case[3], case[0])[0][1].source != named


def test_missing_image(case):
    folder, annotations, detections, look = case
    (folder / "a.png").unlink()
    with pytest.raises(DataError, match="image not found"):
        thumbnails(annotations, detections, look, folder)


def test_the_window_holds_the_most_errors():
    crowd = boxes((800, 300), (830, 300), (850, 330))
    drawn = Marks(boxes(), boxes((50, 50)), crowd)
    left, top, side = worst_window(drawn, SIZE)
    assert side == 160
    assert left <= 800 <= 870 <= left + side
    assert top <= 300 <= 350 <= top + side


def test_the_window_stays_in_the_image():
    drawn = Marks(boxes(), boxes((1195, 590)), boxes())
    assert worst_window(drawn, SIZE) == (1040, 440, 160)
    assert worst_window(Marks(boxes(), boxes((3, 3)), boxes()), (90, 40)) == (0, 0, 40)
