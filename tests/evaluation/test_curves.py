import numpy as np
import pytest

from sodkit.data.records import Annotations, Category, Detections, ImageRecord
from sodkit.evaluation import curves
from sodkit.evaluation.evaluate import evaluate
from sodkit.evaluation.protocol import SODA_D


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
