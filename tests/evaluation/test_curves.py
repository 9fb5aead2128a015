from dataclasses import replace

import numpy as np
import pytest

from sodkit.data.records import Annotations, Category, Detections, ImageRecord
from sodkit.evaluation import curves
from sodkit.evaluation.evaluate import evaluate
from sodkit.evaluation.protocol import SODA_D, customise


def test_hundreds_of_hits_count_the_same_as_machine_code_and_as_python(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sums of the small integers of arrays must not stay that small where Python adds them."""
    place = np.arange(400)
    xywh = np.column_stack([place % 20 * 20.0, place // 20 * 20.0, np.full((400, 2), 10.0)])
    annotations = Annotations(
        (ImageRecord(0, "a.jpg", 400, 400),),
        (Category(1, "thing"),),
        ids=place,
        image_index=np.zeros(400, np.int64),
        labels=np.zeros(400, np.int64),
        xywh=xywh,
        area=np.full(400, 100.0),
        ignore=np.zeros(400, np.bool_),
    )
    found = xywh.copy()
    found[::10, :2] += 10  # beside its object
    zeros = np.zeros(400, np.int64)
    detections = Detections(zeros, zeros, np.linspace(1, 0.5, 400), found)
    before = evaluate(annotations, detections, SODA_D)
    assert before.metrics["AR@300"] == pytest.approx(270 / 400)
    monkeypatch.setattr(curves, "_draw_class", curves._draw_class.function)
    after = evaluate(annotations, detections, SODA_D)
    np.testing.assert_array_equal(after.curves.precision, before.curves.precision)
    assert after.metrics == before.metrics


def test_precision_and_score_at_each_recall_point() -> None:
    """Four objects; right, wrong, right: recall ends at one half."""
    zeros = np.zeros(4, np.int64)
    xywh = np.array([[0.0, 0, 10, 10], [30, 0, 10, 10], [60, 0, 10, 10], [90, 0, 10, 10]])
    annotations = Annotations(
        (ImageRecord(0, "a.jpg", 100, 100),), (Category(1, "thing"), Category(2, "none")),
        np.arange(4), zeros, zeros, xywh, np.full(4, 100.0), np.zeros(4, np.bool_),
    )  # fmt: skip
    found = np.array([[0.0, 0, 10, 10], [30, 50, 10, 10], [60, 0, 10, 10]])
    detections = Detections(zeros[:3], zeros[:3], np.array([0.9, 0.8, 0.7]), found)
    points = replace(SODA_D, recalls=(0.0, 0.25, 0.26, 0.5, 0.51, 1.0))
    got = evaluate(annotations, detections, points).curves
    tiny = [area.name for area in SODA_D.areas].index("eS")
    for a in (0, tiny):
        assert got.precision[0, :, 0, a, 0].tolist() == pytest.approx([1, 1, 2 / 3, 2 / 3, 0, 0])
        assert got.score[0, :, 0, a, 0].tolist() == [0.9, 0.9, 0.7, 0.7, 0, 0]
        assert got.recall[:, 0, a, :].tolist() == [[0.5] * 3] * 10
    assert np.isnan(got.precision[:, :, 1]).all()  # a class without objects
    assert np.isnan(got.score[:, :, 0, 2]).all()  # a range without objects
    assert np.isnan(got.recall[:, 1]).all()


@pytest.mark.parametrize("limits", [(1, 2, 3), (2, 5, 9), (3, 4, 5), (9, 10, 11)])
def test_limits_beyond_the_longest_group_change_nothing(limits: tuple[int, ...]) -> None:
    zeros = np.zeros(5, np.int64)
    xywh = np.column_stack([np.arange(5) * 20.0, np.zeros(5), np.full((5, 2), 10.0)])
    annotations = Annotations(
        (ImageRecord(0, "a.jpg", 100, 100),), (Category(1, "thing"),),
        np.arange(5), zeros, zeros, xywh, np.full(5, 100.0), np.zeros(5, np.bool_),
    )  # fmt: skip
    detections = Detections(zeros[:4], zeros[:4], np.linspace(0.9, 0.6, 4), xywh[:4])
    got = evaluate(annotations, detections, customise(SODA_D, "few", max_dets=limits)).curves
    reached = [min(limit, 4) / 5 for limit in limits]
    assert got.recall[0, 0, 0].tolist() == reached
    for m, recall in enumerate(reached):
        defined = np.array(SODA_D.recalls) <= recall
        np.testing.assert_allclose(got.precision[0, :, 0, 0, m], np.where(defined, 1, 0))
        assert got.score[0, 0, 0, 0, m] == 0.9
