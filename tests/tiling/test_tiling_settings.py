from dataclasses import replace
from typing import Any

import pytest

from sodkit.errors import UsageError
from sodkit.tiling.settings import DEFAULT, SODA_A, SODA_D, SplitSettings, split_settings


@pytest.mark.parametrize(
    "fine",
    [
        {"size": 1, "stride": 1},
        {"size": 65_500, "stride": 65_500},
        {"min_visible": 0},
        {"min_visible": 1},
        {"quality": 1},
        {"quality": 100},
        {"bit_depth": 8},
        {"bit_depth": 16},
        {"empty": 0.0},
        {"empty": 1.0},
        {"empty": "skip"},
        {"format": "png"},
        {"also": ((1, 1), (65_500, 65_500))},
    ],
)
def test_both_ends_of_a_range_are_in_it(fine: dict[str, Any]) -> None:
    assert replace(DEFAULT, **fine).as_dict() != DEFAULT.as_dict()


@pytest.mark.parametrize(
    ("wrong", "option"),
    [
        ({"size": 0, "stride": 0}, "--size"),
        ({"size": 65_501}, "--size"),
        ({"size": 10, "stride": 11}, "--stride"),
        ({"stride": 0}, "--stride"),
        ({"min_visible": -0.01}, "--min-visible"),
        ({"min_visible": 1.01}, "--min-visible"),
        ({"quality": 101}, "--quality"),
        ({"quality": 0}, "--quality"),
        ({"bit_depth": 7}, "--bit-depth"),
        ({"bit_depth": 17}, "--bit-depth"),
        ({"empty": -0.5}, "--empty"),
        ({"empty": 1}, "--empty"),  # a share is a float
        ({"also": ((65_501, 1),)}, "--size"),
        ({"also": ((100, 101),)}, "--stride"),
        ({"also": ((100, 0),)}, "--stride"),
        ({"also": ((800, 100),)}, "--size"),
        ({"also": ((100, 100), (100, 50))}, "--size"),
    ],
)
def test_what_lies_beyond_is_refused_by_its_option(wrong: dict[str, Any], option: str) -> None:
    with pytest.raises(UsageError, match="out of range") as caught:
        replace(DEFAULT, **wrong)
    assert caught.value.where == option


def test_the_releases_rules() -> None:
    rules = (SODA_D.size, SODA_D.stride, SODA_D.min_visible, SODA_D.keep_at_min, SODA_D.truncated)
    assert rules == (800, 650, 0.4, False, "ignore")
    rules = (SODA_A.size, SODA_A.stride, SODA_A.min_visible, SODA_A.keep_at_min, SODA_A.truncated)
    assert rules == (800, 650, 0.7, True, "drop")
    assert SODA_D.fill == SODA_A.fill == SODA_D.padding == (0, 0, 0)
    assert SODA_A.padding == (124, 116, 104)


def test_each_scale_by_itself() -> None:
    rules = SplitSettings(size=100, stride=70, quality=80, also=((60, 40), (30, 30)))
    assert [(one.size, one.stride, one.also) for one in rules.scales] == [
        (100, 70, ()), (60, 40, ()), (30, 30, ()),
    ]  # fmt: skip
    assert {one.quality for one in rules.scales} == {80}
    content = rules.as_dict()
    assert content["also"] == [[60, 40], [30, 30]]
    assert content["fill"] == [0, 0, 0]
    assert content["empty"] == "keep"


def test_a_profile_with_changes() -> None:
    assert split_settings() == DEFAULT
    assert split_settings("soda-a", quality=None, min_visible=0.9) == replace(
        SODA_A, min_visible=0.9
    )


def test_sizes_keep_the_overlap_in_proportion() -> None:
    found = split_settings(sizes=[400, 1600])
    assert (found.size, found.stride, found.also) == (400, 325, ((1600, 1300),))
    assert split_settings(sizes=[64], strides=[50]) == replace(DEFAULT, size=64, stride=50)
    with pytest.raises(UsageError, match="one for every size"):
        split_settings(sizes=[64, 128], strides=[50])
