"""The numbers of Figure 1: who is counted, in which class, at which scale."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from sodkit.analysis.anchor_study import (
    analyze_anchors,
    quality_as_dict,
    write_quality_csv,
)
from sodkit.config import load_recipe
from sodkit.data.records import Annotations, Category, ImageRecord
from sodkit.errors import DataError, UsageError
from sodkit.settings import Input, Recipe
from sodkit.settings.proposers import Crpn, Threshold
from sodkit.settings.two_stage import Cfinet
from sodkit.synthetic import make_scene

PLAIN = Recipe(name="plain", input=Input(scale=1.0))


def records(xywh, ignore=None):
    xywh = np.asarray(xywh, float)
    count = len(xywh)
    return Annotations(
        images=(ImageRecord(1, "a.jpg", 200, 200),),
        categories=(Category(1, "thing"),),
        ids=np.arange(count),
        image_index=np.zeros(count, np.int64),
        labels=np.zeros(count, np.int64),
        xywh=xywh,
        area=xywh[:, 2] * xywh[:, 3],
        ignore=np.zeros(count, bool) if ignore is None else np.array(ignore),
    )


def test_size_classes_include_their_upper_bound():
    sides = [[10, 10, 12, 12], [10, 10, 20, 20], [10, 10, 32, 32], [10, 10, 40, 50], [9, 9, 40, 51]]
    quality = analyze_anchors(records(sides), PLAIN)
    assert quality.size.tolist() == [0, 1, 2, 3]
    assert quality.larger == 1


def test_objects_that_coincide_with_anchors():
    quality = analyze_anchors(records([[36, 36, 8, 8], [32, 32, 16, 16]]), PLAIN)
    assert quality.iou.tolist() == [1, 1]
    assert quality.positives["IoU 0.7"].tolist() == [1, 1]
    by_name = {row.name: row for row in quality.summary()}
    assert by_name["eS"].objects == 1
    assert by_name["rS"].shares == {0.3: 1.0, 0.5: 1.0, 0.7: 1.0}
    assert by_name["N"].mean_iou is None
    assert by_name["all"].objects == 2


def test_the_recipe_resizes():
    boxes = records([[24, 24, 16 / 1.5, 16 / 1.5]])
    resized = Recipe(name="r", input=Input(scale=1.5))
    # 24 * 1.5 = 36: an anchor of stride 8 spans 32..48, so 36..52 overlaps it by 12 of 16 a side
    overlap = 12 * 12
    assert analyze_anchors(boxes, resized).iou[0] == pytest.approx(overlap / (2 * 256 - overlap))


def test_thresholds_follow_the_size_before_resizing():
    """A 24 px object has T = .35 whatever the scale: its positives are those at IoU .35."""
    boxes = records([[50, 50, 24, 24]])
    for scale in (1.0, 1.5):
        recipe = Recipe(name="r", input=Input(scale=scale))
        quality = analyze_anchors(boxes, recipe)
        assert quality.positives["IoU 0.4"][0] <= quality.positives["dynamic (paper)"][0]
        assert quality.positives["dynamic (paper)"][0] <= quality.positives["IoU 0.2"][0]
    fixed = Recipe(name="f", model=Cfinet(crpn=Crpn(assignment=Threshold(base=0.4, gamma=0.0))))
    own = analyze_anchors(boxes, fixed).positives
    assert own["dynamic (recipe)"].tolist() == own["IoU 0.4"].tolist()


def test_ignored_and_large_objects_are_left_out_and_counted():
    boxes = records([[10, 10, 8, 8], [50, 50, 9, 9], [80, 80, 50, 50]], [False, True, False])
    quality = analyze_anchors(boxes, PLAIN)
    assert len(quality.iou) == 1
    assert (quality.larger, quality.ignored) == (1, 1)


def test_oriented_objects_count_by_their_enclosing_boxes():
    _, annotations = make_scene(1, 500, 400, "oriented")
    flat = replace(annotations, obb=None, polygons=None)
    assert np.array_equal(analyze_anchors(annotations, PLAIN).iou, analyze_anchors(flat, PLAIN).iou)


def test_nothing_to_analyse_is_an_error():
    with pytest.raises(DataError, match="no objects"):
        analyze_anchors(records([[10, 10, 8, 8]], [True]), PLAIN)


def test_small_objects_fare_no_better_than_large_ones_at_high_iou():
    """The paper's point on square objects: under IoU .7 hardly any anchor is positive."""
    rng = np.random.default_rng(0)
    sides = rng.uniform(4, 12, 400)
    low = rng.uniform(20, 150, (400, 2))
    boxes = records(np.column_stack([low, sides, sides * rng.uniform(0.5, 2, 400)]))
    row = analyze_anchors(boxes, Recipe(name="r")).summary()[0]
    assert row.shares[0.7] < 0.3
    assert row.positives["IoU 0.7"] < 0.5 < 2 < row.positives["dynamic (paper)"]


def test_json_and_csv_carry_the_summary(tmp_path):
    quality = analyze_anchors(records([[36, 36, 8, 8], [33, 30, 14, 20]]), PLAIN)
    data = json.loads(json.dumps(quality_as_dict(quality), allow_nan=False))
    assert data["sizes"]["eS"]["share_above"] == {"0.3": 1.0, "0.5": 1.0, "0.7": 1.0}
    assert data["sizes"]["N"]["mean_best_iou"] is None
    write_quality_csv(quality, tmp_path / "q.csv")
    with (tmp_path / "q.csv").open() as stream:
        rows = {row["size"]: row for row in csv.DictReader(stream)}
    assert list(rows) == ["eS", "rS", "gS", "N", "all"]
    assert rows["N"]["mean_best_iou"] == ""
    for name, row in rows.items():
        mean = data["sizes"][name]["mean_best_iou"]
        assert mean is None or float(row["mean_best_iou"]) == pytest.approx(mean, rel=1e-5)
        for system, values in data["sizes"][name]["systems"].items():
            cells = [row[f"{what} {system}"] for what in ("positives", "without")]
            assert [float(cell) if cell else None for cell in cells] == [
                value if value is None else pytest.approx(value, rel=1e-5)
                for value in values.values()
            ]
        positives = data["sizes"][name]["mean_positives"]["dynamic (paper)"]
        assert positives is None or float(row["positives dynamic (paper)"]) == pytest.approx(
            positives, rel=1e-5
        )


def test_a_detector_without_anchors_is_named():
    with pytest.raises(UsageError, match="fcos has no anchors"):
        analyze_anchors(records([[10, 10, 12, 12]]), load_recipe("fcos-r50-soda-d"))


def test_the_anchors_of_atss():
    """The smallest of them is 16 px wide: over an object of 16 px at a location its IoU is 1."""
    recipe = load_recipe("atss-r50-soda-d", ["input.scale=1.0"])
    quality = analyze_anchors(records([[8, 16, 16, 16], [10, 10, 8, 8]]), recipe)
    np.testing.assert_allclose(quality.iou, [1.0, 64 / 256])
