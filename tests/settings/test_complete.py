"""Defaults under a recipe's values, alternatives by ``kind``, and errors in words of the keys."""

import json

import pytest

from sodkit.config import load_recipe
from sodkit.errors import UsageError
from sodkit.settings.anchor_levels import Anchored
from sodkit.settings.complete import complete, set_value
from sodkit.settings.proposers import Crpn, Region, Rpn


def test_defaults_are_those_of_the_kind_that_is_named():
    full = complete({"name": "x", "model": {"kind": "faster-rcnn", "proposals": {"kind": "crpn"}}})
    assert Crpn.model_validate_json(json.dumps(full["model"]["proposals"])) == Crpn()
    plain = complete({"name": "x", "model": {"kind": "faster-rcnn"}})
    assert plain["model"]["proposals"]["kind"] == "rpn"
    assert "crpn" not in plain["model"]


def test_another_kind_keeps_what_both_know_and_the_recipe_names():
    data = {"model": {"kind": "cfinet", "fpn": {"channels": 7}, "crpn": {"nms_test": 0.4}}}
    set_value(data, "model.kind", "faster-rcnn")
    assert data == {"model": {"kind": "faster-rcnn", "fpn": {"channels": 7}}}


def test_the_same_kind_changes_nothing():
    recipe = load_recipe("cascade-rpn-r50-soda-d", ["model.proposals.kind=crpn"])
    assert recipe == load_recipe("cascade-rpn-r50-soda-d")
    assert isinstance(recipe.model.proposals.assignment, Region)


def test_alternatives_can_be_chosen():
    recipe = load_recipe("cascade-rpn-r50-soda-d", ["model.proposals.kind=rpn"])
    assert isinstance(recipe.model.proposals, Rpn)
    assert load_recipe("cfinet-r50-soda-d", ["model.imitation=null"]).model.imitation is None
    assert isinstance(load_recipe("retinanet-r50-soda-d").model, Anchored)
    assert isinstance(load_recipe("atss-r50-soda-d").model, Anchored)
    assert not isinstance(load_recipe("fcos-r50-soda-d").model, Anchored)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("model.crpn.fine.negativ=1", r"model\.crpn\.fine\.negativ: unknown key.*negative"),
        ("model.rpn.nms_test=0.5", r"model\.rpn: unknown key of cfinet.*crpn"),
        ("model.kind=yolo", r"model\.kind: 'yolo' is none of 'cfinet', 'faster-rcnn'"),
        ("model.crpn.assignment.positive=0.5", r"positive: unknown key of dynamic"),
        (
            "model.crpn.coarse_normalizer=x",
            r"crpn\.coarse_normalizer: .*valid number, or Input should be 'positives'",
        ),
        ("model.roi.box.angle_std=0.1", r"angle_std: unknown key of upright"),
        ("model.imitation.weight=x", r"model\.imitation\.weight: .*number"),
        ("seed.x=1", "seed: .*valid integer"),
        ("model.roi.pool=10000000000", "model.roi.pool: .*less than or equal to 1000000"),
    ],
)
def test_keys_without_effect_are_errors(setting, message):
    with pytest.raises(UsageError, match=message):
        load_recipe("cfinet-r50-soda-d", [setting])


def test_only_a_range_of_areas_may_be_endless():
    """COCO's range "all" has no upper end; areas that are no numbers are refused there, too."""
    recipe = load_recipe("cfinet-r50-soda-d", ["evaluation.areas={all: [0.0, .inf]}"])
    assert recipe.evaluation.areas == {"all": (0.0, float("inf"))}
    for wrong in ("[0.0, .nan]", "[-.inf, 9.0]"):
        with pytest.raises(UsageError, match="areas"):
            load_recipe("cfinet-r50-soda-d", [f"evaluation.areas={{all: {wrong}}}"])


@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan"])
@pytest.mark.parametrize("key", ["schedule.lr", "model.imitation.weight", "merge.nms"])
def test_numbers_are_finite(key, value):
    with pytest.raises(UsageError, match=rf"{key}: .*(finite|greater|less)"):
        load_recipe("cfinet-r50-soda-d", [f"{key}={value}"])
