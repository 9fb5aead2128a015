"""Checkpoints of mmdetection's dense detectors: recognised, and refused."""

import pytest
import system_golden as system

from sodkit.config import load_recipe
from sodkit.errors import ModelError
from sodkit.models import zoo
from sodkit.models.importers import families, mmdet

KINDS = ("retinanet", "fcos", "atss", "reppoints")


def built(state):
    found = families.recognise(state)
    detector = zoo.build(load_recipe(found.recipe, found.overrides).model, found.classes)
    detector.load_state_dict(mmdet.convert(state, detector, found.table))
    return detector


@pytest.mark.parametrize("kind", KINDS)
def test_names_lead_there_and_back(kind):
    state = system.weights(kind)
    found = families.recognise(state)
    assert (found.kind, found.recipe) == (kind, f"{kind}-r50-soda-d")
    for key in state:
        renamed = mmdet.rename(key, found.table)
        assert not renamed.startswith("unknown")
        assert mmdet.original(renamed, found.table) == key


@pytest.mark.parametrize("kind", KINDS)
def test_five_levels_and_towers_of_two(kind):
    """COCO's models have P7; the sizes follow from names and shapes."""
    late = tuple(f"bbox_head.{tower}_convs.{n}" for tower in ("cls", "reg") for n in (2, 3))
    state = {k: v for k, v in system.weights(kind).items() if not k.startswith(late)}
    p6 = "neck.fpn_convs.3.conv"
    state["neck.fpn_convs.4.conv.weight"] = 2 * state[f"{p6}.weight"][:, :256]
    state["neck.fpn_convs.4.conv.bias"] = state[f"{p6}.bias"]
    if "bbox_head.scales.3.scale" in state:
        state["bbox_head.scales.4.scale"] = state["bbox_head.scales.3.scale"]
    detector = built(state)
    assert detector.config.levels == 5
    assert detector.config.convs == 2
    p6, p7 = (conv.weight for conv in detector.fpn.coarser)
    assert (p7 == 2 * p6[:, :256]).all()


@pytest.mark.parametrize("kind", ["fcos", "atss"])
def test_towers_without_a_norm_do_not_fit(kind):
    state = {k: v for k, v in system.weights(kind).items() if ".gn." not in k}
    with pytest.raises(ModelError, match=r"missing: bbox_head\.cls_convs\.0\.gn\.weight"):
        built(state)


def test_another_detector_with_its_head_is_not_taken_for_atss():
    """Such as one behind two necks."""
    state = {k.replace("neck.", "neck.0."): v for k, v in system.weights("atss").items()}
    with pytest.raises(ModelError, match="none of the detectors"):
        families.recognise(state)
