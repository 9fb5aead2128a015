"""What the settings of dense detectors refuse, and the numbers that follow from them."""

import math

import pytest

from sodkit.config import load_recipe
from sodkit.errors import UsageError


@pytest.mark.parametrize(
    "name", ["fcos-r50-soda-d", "atss-r50-soda-d", "rotated-reppoints-r50-soda-a"]
)
@pytest.mark.parametrize(("channels", "groups"), [(48, 32), (32, 32), (16, 32)])
def test_groups_of_one_channel_or_of_a_part_are_refused(name, channels, groups):
    """A group norm of single values has nothing to normalise."""
    with pytest.raises(UsageError, match=rf"model\.groups: .*{channels} channels cannot be"):
        load_recipe(name, [f"model.channels={channels}", f"model.groups={groups}"])
    assert load_recipe(name, ["model.channels=64"]).model.groups == 32


def test_ranges_of_fcos_double_from_level_to_level():
    assert load_recipe("fcos-r50-soda-d").model.ranges() == (
        (0.0, 64.0), (64.0, 128.0), (128.0, 256.0), (256.0, math.inf),
    )  # fmt: skip
    five = load_recipe("fcos-r50-soda-d", ["model.levels=5", "model.finest_range=32"]).model
    assert [end for _, end in five.ranges()] == [32, 64, 128, 256, math.inf]


def test_anchors_of_atss():
    """Square, two strides wide."""
    found = load_recipe("atss-r50-soda-d").model.anchor_levels()
    assert [(level.stride, level.sizes) for level in found] == [
        (stride, ((2.0 * stride, 2.0 * stride),)) for stride in (8, 16, 32, 64)
    ]


def test_groups_of_dynamic_heads_divide_the_channels():
    with pytest.raises(UsageError, match=r"model\.norm_groups: .*24 channels cannot be"):
        load_recipe("dyhead-r50-soda-d", ["model.channels=24"])
    assert load_recipe("dyhead-r50-soda-d", ["model.channels=32"]).model.norm_groups == 16


def test_levels_of_rotated_reppoints():
    assert load_recipe("rotated-reppoints-r50-soda-a").model.strides == (4, 8, 16, 32, 64)
    dota = load_recipe("oriented-reppoints-r50-soda-a", ["model.first_level=3"]).model
    assert dota.strides == (8, 16, 32, 64, 128)
