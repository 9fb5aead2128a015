import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import (
    as_coco,
    horizontal_case,
    hotcoco_tables,
    oriented_case,
    pycocotools_tables,
)

from sodkit.data.records import Annotations, Category, Detections, ImageRecord
from sodkit.errors import DataError
from sodkit.evaluation.evaluate import Evaluation, evaluate
from sodkit.evaluation.protocol import COCO, SODA_A, SODA_D, Protocol, customise
from sodkit.geometry.rotated import obb_to_xywh

GOLDEN = Path(__file__).parents[1] / "golden" / "eval"
RENAMED = {"AP_50": "AP50", "AP_75": "AP75", "AP_Normal": "AP_N", "AR_Normal": "AR_N"}


def golden(name: str) -> Any:
    with gzip.open(GOLDEN / f"{name}.json.gz") as stream:
        return json.load(stream)


def horizontal(case: Any) -> tuple[Annotations, Detections]:
    truth, found = case["gt"], case["dets"]
    categories = tuple(Category(one["id"], one["name"]) for one in truth["categories"])
    label = {category.id: k for k, category in enumerate(categories)}
    images = tuple(
        ImageRecord(one["id"], one["file_name"], one["width"], one["height"])
        for one in truth["images"]
    )
    index = {image.id: i for i, image in enumerate(images)}
    rows = truth["annotations"]
    annotations = Annotations(
        images,
        categories,
        ids=np.array([row["id"] for row in rows]),
        image_index=np.array([index[row["image_id"]] for row in rows]),
        labels=np.array([label[row["category_id"]] for row in rows]),
        xywh=np.array([row["bbox"] for row in rows]),
        area=np.array([row["area"] for row in rows]),
        ignore=np.array([bool(row["ignore"]) for row in rows]),
    )
    detections = Detections(
        image_ids=np.array([row["image_id"] for row in found]),
        labels=np.array([label[row["category_id"]] for row in found]),
        scores=np.array([row["score"] for row in found]),
        xywh=np.array([row["bbox"] for row in found]),
    )
    return annotations, detections


def oriented(case: Any) -> tuple[Annotations, Detections]:
    images = case["images"]

    def column(key: str, width: int) -> Any:
        rows = [np.array(one[key], np.float32).reshape(-1, width) for one in images]
        return np.concatenate(rows).astype(np.float64)

    def labels(key: str) -> Any:
        return np.concatenate([np.array(one[key], np.int64) for one in images])

    truth, found = column("gt_xywha", 5), column("det_xywha", 5)
    number = np.arange(len(images))
    annotations = Annotations(
        tuple(ImageRecord(int(i), f"{i}.jpg", 5000, 5000) for i in number),
        tuple(Category(k, str(k)) for k in range(9)),
        ids=np.arange(len(truth)),
        image_index=np.repeat(number, [len(one["gt_labels"]) for one in images]),
        labels=labels("gt_labels"),
        xywh=obb_to_xywh(truth),
        area=truth[:, 2] * truth[:, 3],
        ignore=np.zeros(len(truth), np.bool_),
        obb=truth,
    )
    detections = Detections(
        image_ids=np.repeat(number, [len(one["det_labels"]) for one in images]),
        labels=labels("det_labels"),
        scores=column("det_scores", 1)[:, 0],
        xywh=obb_to_xywh(found),
        obb=found,
    )
    return annotations, detections


def assert_equals_release(result: Evaluation, official: Any, skip: tuple[str, ...] = ()) -> None:
    for name, value in official["stats"].items():
        ours = RENAMED.get(name, name)
        if ours not in result.metrics:  # AR_eS@1000 -> AR_eS
            ours = RENAMED.get(name.split("@")[0], name.split("@")[0])
        if ours in skip:
            continue
        measured = result.metrics[ours]
        assert (-1 if measured is None else measured) == pytest.approx(value, abs=1e-9), name
    kept = [a for a, area in enumerate(result.protocol.areas) if f"AP_{area.name}" not in skip]
    precision = np.nan_to_num(result.curves.precision.mean(axis=1), nan=-1)
    recall = np.nan_to_num(result.curves.recall, nan=-1)
    for ours, key in ((precision, "ap_TKAM"), (recall, "recall_TKAM")):
        theirs = np.array(official[key])
        np.testing.assert_allclose(ours[:, :, kept], theirs[:, :, kept], rtol=0, atol=1e-9)


def assert_same_tables(result: Evaluation, precision: Any, recall: Any) -> None:
    np.testing.assert_allclose(result.curves.precision, precision, rtol=0, atol=1e-9)
    np.testing.assert_allclose(result.curves.recall, recall, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["d_tiny", "d_small", "d_dense"])
def test_equals_the_release_on_soda_d(name: str) -> None:
    case = golden(name)
    assert_equals_release(evaluate(*horizontal(case), SODA_D), case["official"])


@pytest.mark.parametrize("name", ["a_tiny", "a_small"])
def test_equals_the_release_on_soda_a(name: str) -> None:
    case = golden(name)
    assert_equals_release(evaluate(*oriented(case), SODA_A), case["official"])


def test_an_object_with_id_0_is_no_special_case() -> None:
    case = golden("d_gtid0")
    annotations, detections = horizontal(case)
    assert annotations.ids.min() == 0
    result = evaluate(annotations, detections, SODA_D)
    # The release never finds object 0, which is of size N.
    assert_equals_release(result, case["official"], skip=("AP_N", "AR_N"))
    assert result.metrics["AR_N"] != pytest.approx(case["official"]["stats"]["AR_Normal@1000"])
    assert as_coco(annotations, crowd=False)["annotations"][0]["id"] == 1
    assert_same_tables(result, *pycocotools_tables(annotations, detections, SODA_D))


@pytest.mark.parametrize("base", [SODA_D, COCO], ids=lambda one: one.name)
@pytest.mark.parametrize("seed", range(10))
def test_equals_pycocotools_on_generated_cases(seed: int, base: Protocol) -> None:
    """2 x 10 runs of 105 classes: 2100 cases, a third each with ties, ignored, too many."""
    annotations, detections = horizontal_case(seed, classes=105)
    protocol = customise(base, "fuzz", max_dets=(1, 3, 12))
    result = evaluate(annotations, detections, protocol)
    assert result.counts.beyond > 0
    assert result.counts.ignored > 0
    assert_same_tables(result, *pycocotools_tables(annotations, detections, protocol))


@pytest.mark.parametrize("seed", range(20))
def test_equals_hotcoco_on_generated_oriented_cases(seed: int) -> None:
    """20 runs of 105 classes: 2100 cases."""
    annotations, detections = oriented_case(seed, classes=105)
    protocol = customise(SODA_A, "fuzz", max_dets=(1, 3, 12))
    result = evaluate(annotations, detections, protocol)
    assert np.nanmax(result.curves.recall) == 1
    assert_same_tables(result, *hotcoco_tables(annotations, detections, protocol))


def test_of_equal_ious_the_later_object_is_taken() -> None:
    """The first detection lies midway: should it take the first object, both would be right."""
    annotations = Annotations(
        (ImageRecord(1, "a.jpg", 20, 20),),
        (Category(1, "thing"),),
        ids=np.array([1, 2]),
        image_index=np.zeros(2, np.int64),
        labels=np.zeros(2, np.int64),
        xywh=np.array([[2.0, 0, 4, 4], [0, 0, 4, 4]]),
        area=np.full(2, 16.0),
        ignore=np.zeros(2, np.bool_),
    )
    detections = Detections(
        np.ones(2, np.int64), np.zeros(2, np.int64), np.array([0.9, 0.8]),
        np.array([[1.0, 0, 4, 4], [0, 0, 4, 4]]),
    )  # fmt: skip
    result = evaluate(annotations, detections, COCO)
    assert result.metrics["AP50"] == pytest.approx(51 / 101)
    assert_same_tables(result, *pycocotools_tables(annotations, detections, COCO))


def test_coco_has_the_twelve_numbers_of_pycocotools() -> None:
    case = golden("d_dense")
    annotations, detections = horizontal(case)
    result = evaluate(annotations, detections, COCO)
    precision, recall = pycocotools_tables(annotations, detections, COCO)
    expected = {
        "AP": precision[:, :, :, 0, 2],
        "AP50": precision[0, :, :, 0, 2],
        "AP75": precision[5, :, :, 0, 2],
        "AP_small": precision[:, :, :, 1, 2],
        "AP_medium": precision[:, :, :, 2, 2],
        "AP_large": precision[:, :, :, 3, 2],
        "AR@1": recall[:, :, 0, 0],
        "AR@10": recall[:, :, 0, 1],
        "AR@100": recall[:, :, 0, 2],
        "AR_small": recall[:, :, 1, 2],
        "AR_medium": recall[:, :, 2, 2],
        "AR_large": recall[:, :, 3, 2],
    }
    assert list(result.metrics) == list(expected)
    for name, values in expected.items():
        defined = values[~np.isnan(values)]
        mean = result.metrics[name]
        if not len(defined):
            assert mean is None
        else:
            assert mean == pytest.approx(defined.mean(), abs=1e-12)


def test_metrics_are_named_as_promised() -> None:
    names = "AP AP50 AP75 AP_eS AP_rS AP_gS AP_N AR@100 AR@300 AR@1000 AR_eS AR_rS AR_gS AR_N"
    assert [metric.name for metric in SODA_D.metrics] == names.split()
    names = "AP AP50 AP75 AP_eS AP_rS AP_gS AP_N AR@20000 AR_eS AR_rS AR_gS AR_N"
    assert [metric.name for metric in SODA_A.metrics] == names.split()


def test_does_not_depend_on_the_order_of_images_or_classes_in_the_input() -> None:
    annotations, detections = horizontal_case(3, classes=20)
    # Without equal scores inside a group, whose order is the input's.
    rng = np.random.default_rng(0)
    detections = replace(detections, scores=rng.permutation(len(detections)) / len(detections))
    first = evaluate(annotations, detections, SODA_D)
    shuffled = detections.take(rng.permutation(len(detections)))
    by_image = np.argsort(-annotations.image_index, kind="stable")
    again = evaluate(annotations.take(by_image), shuffled, SODA_D)
    np.testing.assert_array_equal(first.curves.precision, again.curves.precision)
    assert first.metrics == again.metrics


def test_per_class_means_make_the_mean() -> None:
    annotations, detections = horizontal(golden("d_small"))
    result = evaluate(annotations, detections, SODA_D)
    for name in ("AP", "AP_rS", "AR@1000"):
        values = [metrics[name] for metrics in result.per_class.values()]
        known = [value for value in values if value is not None]
        assert result.metrics[name] == pytest.approx(np.mean(known), abs=1e-12)
    assert result.per_class["bicycle"]["AP"] is None  # it has no object


def test_no_detections_is_zero_and_no_objects_undefined() -> None:
    annotations, _ = horizontal(golden("d_tiny"))
    result = evaluate(annotations, Detections.empty(), SODA_D)
    assert result.metrics["AP"] == 0
    assert result.metrics["AR@100"] == 0
    nothing = annotations.take(np.zeros(0, np.int64))
    result = evaluate(nothing, Detections.empty(), SODA_D)
    assert set(result.metrics.values()) == {None}


def test_reports_progress() -> None:
    annotations, detections = horizontal(golden("d_tiny"))
    seen: list[tuple[int, int]] = []
    evaluate(annotations, detections, SODA_D, progress=lambda a, b: seen.append((a, b)))
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1] == len(annotations.images) * len(annotations.categories)


def test_regions_are_dropped_and_counted() -> None:
    annotations, detections = horizontal(golden("d_tiny"))
    before = evaluate(annotations, detections, SODA_D)
    region = replace(
        annotations.take(np.array([0, 1])),
        labels=np.array([-1, -1]),
        ignore=np.array([True, True]),
    )
    both = replace(
        annotations,
        ids=np.concatenate([annotations.ids, region.ids]),
        image_index=np.concatenate([annotations.image_index, region.image_index]),
        labels=np.concatenate([annotations.labels, region.labels]),
        xywh=np.concatenate([annotations.xywh, region.xywh]),
        area=np.concatenate([annotations.area, region.area]),
        ignore=np.concatenate([annotations.ignore, region.ignore]),
    )
    after = evaluate(both, detections, SODA_D)
    assert after.metrics == before.metrics
    assert after.counts.regions == 2
    assert after.counts.objects == before.counts.objects


@pytest.mark.parametrize("label", [-2, 9])
def test_rejects_labels_that_are_no_class(label: int) -> None:
    annotations, detections = horizontal(golden("d_tiny"))
    labels = annotations.labels.copy()
    labels[-1] = label
    with pytest.raises(DataError, match=f"label {label} is no class"):
        evaluate(replace(annotations, labels=labels), detections, SODA_D)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_ids": np.array([1000, 7])}, "image 7 is not in the annotations"),
        ({"labels": np.array([0, 9])}, "label 9 is no class"),
        ({"labels": np.array([-1, 0])}, "label -1 is no class"),
        ({"scores": np.array([0.5, np.nan])}, "not finite"),
        ({"xywh": np.array([[0, 0, 1, 1], [0, 0, np.inf, 1]])}, "not finite"),
        ({"xywh": np.array([[0, 0, 1, 1.0], [0, 0, -1, 1]])}, "negative"),
        ({"obb": np.zeros((2, 5))}, "the annotations are horizontal, the predictions oriented"),
    ],
)
def test_rejects_what_cannot_be_measured(change: dict[str, Any], message: str) -> None:
    annotations, _ = horizontal(golden("d_tiny"))
    fine = Detections(
        np.array([1000, 1000]), np.array([0, 1]), np.array([0.5, 0.4]), np.ones((2, 4))
    )
    with pytest.raises(DataError, match=message):
        evaluate(annotations, replace(fine, **change), SODA_D)


def test_rejects_two_images_with_one_id() -> None:
    annotations, detections = horizontal(golden("d_tiny"))
    twice = replace(annotations, images=(*annotations.images[:-1], annotations.images[0]))
    with pytest.raises(DataError, match="image id 1000 is there twice"):
        evaluate(twice, detections, SODA_D)


@pytest.mark.parametrize("protocol", [SODA_D, COCO], ids=lambda one: one.name)
def test_more_pairs_than_there_is_room_for_at_first(protocol: Protocol) -> None:
    """Heaps of objects in one place: the room for pairs grows until all of them fit."""
    rng = np.random.default_rng(0)
    count = 90
    xywh = np.column_stack([rng.uniform(0, 3, (count, 2)), np.full((count, 2), 30.0)])
    zeros = np.zeros(count, np.int64)
    annotations = Annotations(
        (ImageRecord(1, "a.jpg", 90, 90),), (Category(1, "thing"),), np.arange(count), zeros, zeros,
        xywh, np.full(count, 900.0), np.zeros(count, np.bool_),
    )  # fmt: skip
    moved = xywh + rng.normal(0, 1, xywh.shape)
    detections = Detections(zeros + 1, zeros, rng.permutation(count) / count, moved)
    result = evaluate(annotations, detections, protocol)
    assert_same_tables(result, *pycocotools_tables(annotations, detections, protocol))


def test_what_cannot_be_measured_is_named() -> None:
    annotations, _ = horizontal(golden("d_tiny"))
    fine = Detections(
        np.array([1000, 1000, 1000]), np.zeros(3, np.int64), np.full(3, 0.5), np.ones((3, 4))
    )
    for change in (
        {"scores": np.array([0.5, 0.5, np.nan])},
        {"xywh": np.array([[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, -1.0]])},
        {"xywh": np.array([[-9, -9, 0, 0], [0, 0, 1, 1], [np.inf, 0, 1, 1.0]])},
        {"labels": np.array([0, 0, 99])},
    ):
        with pytest.raises(DataError) as caught:
            evaluate(annotations, replace(fine, **change), SODA_D)
        assert caught.value.where == "detection 2 (image_id 1000)"
    labels = annotations.labels.copy()
    labels[2] = 99
    with pytest.raises(DataError) as caught:
        evaluate(replace(annotations, labels=labels), fine, SODA_D)
    assert caught.value.where == f"annotation {annotations.ids[2]}"


@pytest.mark.parametrize(
    ("side", "ranges"), [((12, 12), "eS rS"), ((20, 20), "rS gS"), ((40, 50), "N"), ((0, 5), "eS")]
)
def test_a_detection_on_the_border_of_two_ranges_is_wrong_in_both(
    side: tuple[int, int], ranges: str
) -> None:
    names = [area.name for area in SODA_D.areas]
    sides = np.array([[10.0, 10], [16, 16], [24, 24], [40, 40]])  # an object of each range
    xywh = np.column_stack([np.arange(4) * 50.0, np.zeros(4), sides])
    zeros = np.zeros(4, np.int64)
    annotations = Annotations(
        (ImageRecord(1, "a.jpg", 300, 300),), (Category(1, "thing"),), np.arange(4), zeros, zeros,
        xywh, sides.prod(1), np.zeros(4, np.bool_),
    )  # fmt: skip
    boxes = np.array([[200.0, 200, *side], *xywh])
    found = Detections(np.ones(5, np.int64), np.zeros(5, np.int64), np.linspace(0.9, 0.5, 5), boxes)
    result = evaluate(annotations, found, SODA_D)
    peaks = dict(zip(names, result.curves.precision[0, 0, 0, :, 0], strict=True))
    spoilt = {name for name in names[1:] if peaks[name] < 0.9}
    assert spoilt == set(ranges.split())
