"""Charts against the score: what is drawn where, and what is left out."""

import re

import numpy as np

from sodkit.evaluation.calibration import Bin, Calibration
from sodkit.evaluation.score_curves import SCORES, BestScore, ScoreCurve, ScoreCurves
from sodkit.viz.score_charts import calibration_chart, score_chart, score_rows

HALF = (SCORES <= 0.5).astype(np.int64)
FOUND = ScoreCurve(4, 2 * HALF, 2 * HALF, BestScore(0.5, 0.5, 0.5, 0.5))
NOTHING = ScoreCurve(3, 0 * HALF, HALF, None)
ABSENT = ScoreCurve(0, 0 * HALF, HALF, None)


def lines_of(chart):
    """Return the points of each named line of a chart."""
    found = re.findall(r'd="([^"]*)"><title>([^<]*)</title>', chart)
    numbers = {name: re.findall(r"-?[\d.]+", path) for path, name in found}
    return {name: np.array(one, float).reshape(-1, 2) for name, one in numbers.items()}


def test_lines_end_where_there_is_no_detection():
    chart = score_chart(FOUND)
    lines = lines_of(chart)
    left, right, top, bottom = 58, 352, 10, 258
    assert np.allclose(lines["precision"][-1], [(left + right) / 2, (top + bottom) / 2], atol=0.1)
    assert np.allclose(lines["recall"][-1], [right, bottom], atol=0.1)
    assert set(lines) == {"F1", "precision", "recall"}
    [dot] = re.findall(r'<circle[^>]*cx="([\d.]+)" cy="([\d.]+)"', chart)
    assert np.allclose(np.array(dot, float), [(left + right) / 2, (top + bottom) / 2], atol=0.1)


def test_rows_of_chosen_classes():
    classes = {"a": FOUND, "<b>": NOTHING, "c": ABSENT}
    curves = ScoreCurves(FOUND, classes)
    rows = score_rows(curves, [0, 1, 2])
    assert [(one.name, one.objects, one.best) for one in rows] == [
        ("a", 4, FOUND.best), ("<b>", 3, None), ("c", 0, None),
    ]  # fmt: skip
    assert 'class="mark-line" d="M60.0 1V47"' in rows[0].chart
    assert "mark-line" not in rows[1].chart
    assert "&lt;b&gt;" in rows[1].chart
    assert rows[2].chart == ""
    assert [one.name for one in score_rows(curves, [2])] == ["c"]


def test_calibration_shows_bins_with_detections():
    empty = Bin(0.0, 0.5, 0, None, None)
    full = [Bin(0.5, 0.75, 4, 0.6, 0.5), Bin(0.75, 1.0, 4, 0.8, 1.0)]
    lines = lines_of(calibration_chart(Calibration((empty, *full), 0.15)))
    assert len(lines["share that is right"]) == 2
    assert len(lines["calibrated"]) == 2
    none = lines_of(calibration_chart(Calibration((empty,), None)))
    assert set(none) == {"calibrated"}
