from dataclasses import replace

import numpy as np
import pytest

from sodkit.data.records import CROWD, IGNORED, Annotations, Category, Detections, ImageRecord
from sodkit.evaluation.doubts import doubts
from sodkit.evaluation.protocol import COCO, SODA_D


def annotations(*flags: int) -> Annotations:
    count = len(flags)
    bits = np.array(flags, np.uint8)
    return Annotations(
        (ImageRecord(5, "a.png", 100, 60), ImageRecord(2, "b.png", 50, 60)), (Category(1, "car"),),
        np.arange(count), np.zeros(count, np.int64), np.zeros(count, np.int64),
        np.tile([1.0, 1, 9, 9], (count, 1)), np.full(count, 81.0), bits != 0, flags=bits,
    )  # fmt: skip


def detections(*boxes: tuple[float, ...]) -> Detections:
    zeros = np.zeros(len(boxes), np.int64)
    return Detections(zeros + 5, zeros, zeros + 0.5, np.array(boxes, np.float64).reshape(-1, 4))


def test_nothing_is_odd() -> None:
    found = detections((10, 10, 9, 9), (90, 50, 12, 12), (5, 5, 9, 9))
    assert doubts(annotations(0, 0), found, SODA_D, 2) == []
    assert doubts(annotations(), detections(), SODA_D, 2) == []


def test_images_without_prediction() -> None:
    (sentence,) = doubts(annotations(0), detections((10, 10, 9, 9)), SODA_D, 1)
    assert sentence.startswith("1 of 2 images have no prediction")
    assert "--only-predicted" in sentence


# mmtracking#675: ignore regions as iscrowd
@pytest.mark.parametrize(
    ("protocol", "heeded", "option"), [(SODA_D, IGNORED, "coco"), (COCO, CROWD, "soda-d")]
)
def test_flags_that_the_protocol_does_not_heed(protocol: object, heeded: int, option: str) -> None:
    assert protocol in (SODA_D, COCO)
    own = SODA_D if protocol is SODA_D else COCO
    other = CROWD if heeded == IGNORED else IGNORED
    truth = annotations(0, int(heeded), int(other), int(other), int(CROWD | IGNORED))
    (sentence,) = doubts(truth, detections(), own, 2)
    assert sentence.startswith("2 of 5 objects")
    assert f"--protocol {option}" in sentence


# armory#1491: corners where sizes are meant
def test_corners_for_sizes() -> None:
    (sentence,) = doubts(annotations(0), detections((50, 20, 62, 29), (10, 5, 20, 12)), SODA_D, 2)
    assert "1 of 2 predictions reach out" in sentence
    assert "x1, y1, x2, y2" in sentence


def test_outside_by_more_than_half() -> None:
    found = detections((10, 10, 9, 9), (96, 10, 9, 9), (-50, 0, 9, 9))
    (sentence,) = doubts(annotations(0), found, SODA_D, 2)
    assert sentence.startswith("2 of 3 predictions lie outside")
    smaller = replace(found, image_ids=np.array([5, 2, 2]), xywh=np.tile([60.0, 9, 9, 9], (3, 1)))
    (sentence,) = doubts(annotations(0), smaller, SODA_D, 2)
    assert sentence.startswith("2 of 3")


def test_shares_for_px() -> None:
    (sentence,) = doubts(annotations(0), detections((0.2, 0.3, 0.05, 0.05)), SODA_D, 2)
    assert "shares" in sentence
