import pytest

from sodkit.errors import UsageError
from sodkit.evaluation.protocol import (
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
