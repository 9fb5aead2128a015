from dataclasses import replace
from typing import Any

import pytest

from sodkit.errors import UsageError
from sodkit.evaluation.protocol import (
    COCO,
    SODA_A,
    SODA_D,
    AreaRange,
    Protocol,
    customise,
    protocol_named,
    protocol_of,
)
from sodkit.settings import Evaluation as EvaluationSettings


def test_borders_belong_to_both_ranges() -> None:
    assert [(area.low, area.high) for area in SODA_D.areas] == [
        (0, 1024), (0, 144), (144, 400), (400, 1024), (1024, 2000),
    ]  # fmt: skip


def test_custom_ranges_and_limits_rename_the_metrics() -> None:
    mine = customise(SODA_D, "mine", areas={"all": (0, 1e6), "dot": (0, 25)}, max_dets=(50, 10))
    assert [metric.name for metric in mine.metrics] == [
        "AP", "AP50", "AP75", "AP_dot", "AR@10", "AR@50", "AR_dot",
    ]  # fmt: skip
    assert {metric.max_dets for metric in mine.metrics if metric.kind == "AP"} == {50}


def test_custom_limits_keep_the_one_of_ap_if_they_have_it() -> None:
    mine = customise(SODA_D, "mine", max_dets=(100, 5000))
    assert {metric.max_dets for metric in mine.metrics if metric.kind == "AP"} == {100}


@pytest.mark.parametrize("areas", [{}, {"none": (5, 5)}, {"back": (9, 1)}, {"below": (-1, 1)}])
def test_rejects_empty_ranges(areas: dict[str, tuple[float, float]]) -> None:
    with pytest.raises(UsageError):
        customise(SODA_D, "mine", areas=areas)


def test_rejects_a_limit_of_none() -> None:
    with pytest.raises(UsageError):
        customise(SODA_D, "mine", max_dets=(0, 5))


def test_names_the_known_protocols() -> None:
    assert protocol_named("soda-d") is SODA_D
    with pytest.raises(UsageError, match="soda-a, coco"):
        protocol_named("voc")


@pytest.mark.parametrize(
    ("ious", "limits"), [((), (1,)), ((0.7, 0.5), (1,)), ((0.5,), ()), ((0.5,), (3, 1))]
)
def test_rejects_disorder(ious: tuple[float, ...], limits: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="ascending"):
        Protocol("x", ious, (0.0,), (AreaRange("all", 0, 1),), limits, ())


def test_as_many_thresholds_and_ranges_as_an_integer_has_bits() -> None:
    def protocol(ious: int, areas: int) -> Protocol:
        ranges = tuple(AreaRange(str(i), 0, i + 1) for i in range(areas))
        return Protocol("x", tuple(i / 50 for i in range(ious)), (0.0,), ranges, (1,), ())

    assert len(protocol(32, 32).areas) == 32
    with pytest.raises(ValueError, match="1 to 32 ascending thresholds"):
        protocol(33, 1)
    for count in (0, 33):
        with pytest.raises(ValueError, match="1 to 32 ranges"):
            protocol(1, count)
    many = {str(i): (0.0, 1.0) for i in range(32)}
    assert len(customise(SODA_D, "x", areas=many).areas) == 32


def test_limits_start_at_one_and_rise() -> None:
    ranges = (AreaRange("all", 0, 1),)
    assert Protocol("x", (0.5, 0.5), (0.0,), ranges, (1, 2), ()).max_dets == (1, 2)
    for limits in ((0, 1), (1, 1)):
        with pytest.raises(ValueError, match="ascending and positive"):
            Protocol("x", (0.5,), (0.0,), ranges, limits, ())
    assert customise(SODA_D, "x", max_dets=(1, 1)).max_dets == (1,)
    with pytest.raises(UsageError, match="1 or more"):
        customise(SODA_D, "x", max_dets=())


@pytest.mark.parametrize("change", [{"area": "huge"}, {"max_dets": 7}, {"iou": 0.52}])
def test_a_metric_of_what_is_not_measured_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"huge|index|not in|no IoU"):
        replace(SODA_D, metrics=(replace(SODA_D.metrics[0], **change),))


def test_thresholds_are_found_though_decimals_round() -> None:
    assert SODA_D.iou_indices(0.55) == [1]
    assert SODA_D.iou_indices(0.95) == [9]
    assert SODA_D.iou_indices(None) == list(range(10))
    twice = replace(SODA_D, ious=(0.5, 0.5, 0.7), metrics=())
    assert twice.iou_indices(0.5) == [0]


def test_the_numbers_of_the_built_in_protocols() -> None:
    assert SODA_D.max_dets == (100, 300, 1000)
    assert SODA_A.max_dets == (20000,)
    assert COCO.max_dets == (1, 10, 100)
    assert {one.max_dets for one in SODA_D.metrics if one.kind == "AP"} == {100}
    assert {one.max_dets for one in SODA_D.metrics if one.name.startswith("AR_")} == {1000}
    assert [one.iou for one in SODA_D.metrics[:4]] == [None, 0.5, 0.75, None]
    assert COCO.ious == pytest.approx([0.5 + 0.05 * i for i in range(10)])
    assert COCO.recalls == pytest.approx([i / 100 for i in range(101)])
    areas = [(one.name, one.low, one.high) for one in COCO.areas]
    assert areas == [
        ("all", 0, 1e10), ("small", 0, 1024), ("medium", 1024, 9216), ("large", 9216, 1e10),
    ]  # fmt: skip
    assert (COCO.crowd, SODA_D.crowd, SODA_A.crowd) == (True, False, False)


def test_a_recipe_may_ask_for_other_ranges_and_limits() -> None:
    plain = protocol_of(EvaluationSettings(), "oriented")
    assert plain is SODA_A
    settings = EvaluationSettings(
        protocol="coco", areas={"main": (0, 50.5), "tiny": (0, 9)}, max_dets=(7, 3)
    )
    asked = protocol_of(settings, "oriented")
    assert asked.name == "coco (custom)"
    assert asked.crowd
    assert [(one.name, one.low, one.high) for one in asked.areas] == [
        ("main", 0, 50.5),
        ("tiny", 0, 9),
    ]
    assert asked.max_dets == (3, 7)
    names = ["AP", "AP50", "AP75", "AP_tiny", "AR@3", "AR@7", "AR_tiny"]
    assert [metric.name for metric in asked.metrics] == names


@pytest.mark.parametrize(
    ("areas", "message"),
    [
        ({}, "no area range"),
        ({"a": (3.0, 3.0)}, "area range a is empty"),
        ({str(i): (0.0, 1.0) for i in range(33)}, "too many"),
    ],
)
def test_ranges_that_make_no_protocol(areas: dict[str, tuple[float, float]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        protocol_of(EvaluationSettings(areas=areas), "horizontal")
