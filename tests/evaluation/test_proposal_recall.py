from dataclasses import replace

import numpy as np
import pytest
from cases import horizontal_case, pycocotools_tables

from sodkit.data.records import Annotations, Category, Detections, ImageRecord
from sodkit.errors import DataError
from sodkit.evaluation.proposal_recall import evaluate_proposals
from sodkit.evaluation.protocol import SODA_D, customise


def tiny() -> Annotations:
    xywh = np.array([[10.0, 10, 10, 10], [50, 50, 10, 10], [90, 10, 16, 16], [10, 90, 40, 40]])
    return Annotations(
        images=(ImageRecord(3, "a.jpg", 200, 200),),
        categories=(Category(1, "a"), Category(2, "b")),
        ids=np.arange(4),
        image_index=np.zeros(4, np.int64),
        labels=np.array([0, 1, 0, 1]),
        xywh=xywh,
        area=xywh[:, 2] * xywh[:, 3],
        ignore=np.array([False, False, False, False]),
    )


def proposals(boxes: list[list[float]]) -> Detections:
    count = len(boxes)
    scores = 1 - np.arange(count) / 100
    return Detections(
        np.full(count, 3), np.zeros(count, np.int64), scores, np.array(boxes, np.float64)
    )


def test_counts_good_proposals_an_object_gets() -> None:
    found = proposals([
        [10, 10, 10, 10],  # object 0, of class a
        [50, 50, 10, 10],  # object 1, of class b: classes play no part
        [11, 10, 10, 10],  # object 0 again
        [90, 10, 16, 8],  # IoU with object 2 is exactly .5: not above it
    ])  # fmt: skip
    result = evaluate_proposals(tiny(), found, SODA_D, limits=(1, 3, 100))
    assert result.objects == {"Small": 3, "eS": 2, "rS": 1, "gS": 0, "N": 1}
    assert result.good["eS"] == {1: 0.5, 3: 1.5, 100: 1.5}
    assert result.good["rS"] == {1: 0.0, 3: 0.0, 100: 0.0}
    assert result.good["gS"] == {1: None, 3: None, 100: None}
    assert result.recall["eS"] == {1: 0.5, 3: 1.0, 100: 1.0}
    assert result.metrics["AR_rS@100"] == pytest.approx(0.1)
    assert result.metrics["AR@1"] == pytest.approx(1 / 3)
    assert result.metrics["good_N@3"] == 0


def test_ignored_objects_count_nowhere() -> None:
    annotations = replace(tiny(), ignore=np.array([True, False, False, False]))
    result = evaluate_proposals(annotations, proposals([[10, 10, 10, 10]]), SODA_D)
    assert result.objects["eS"] == 1
    assert result.good["eS"][100] == 0


@pytest.mark.parametrize("seed", range(3))
def test_recall_equals_pycocotools_without_categories(seed: int) -> None:
    annotations, found = horizontal_case(seed, classes=6, images=6)
    # pycocotools lists objects by class, then in input order.
    order = np.argsort(annotations.labels, kind="stable")
    annotations = annotations.take(order)
    found = found.take(np.argsort(found.labels, kind="stable"))
    limits = (2, 5, 12)
    result = evaluate_proposals(annotations, found, SODA_D, limits)
    _, recall = pycocotools_tables(
        annotations, found, customise(SODA_D, "x", max_dets=limits), agnostic=True
    )
    for a, area in enumerate(SODA_D.areas):
        for m, limit in enumerate(limits):
            assert result.recall[area.name][limit] == pytest.approx(recall[:, 0, a, m].mean())


def test_rejects_oriented_objects_with_upright_proposals() -> None:
    annotations = replace(tiny(), obb=np.zeros((4, 5)))
    with pytest.raises(DataError, match="the annotations are oriented"):
        evaluate_proposals(annotations, proposals([[0, 0, 1, 1]]), SODA_D)


def test_a_good_overlap_must_be_measured() -> None:
    assert SODA_D.ious[0] == 0.5
    high = replace(SODA_D, ious=(0.6, 0.9), metrics=())
    with pytest.raises(ValueError, match=r"not be above 0\.5"):
        evaluate_proposals(tiny(), proposals([[0, 0, 1, 1]]), high)
