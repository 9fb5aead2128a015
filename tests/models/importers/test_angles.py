import json
import math

import pytest
import torch

from sodkit.errors import ModelError
from sodkit.models.importers import angles
from sodkit.models.importers.mmdet import Recognised
from sodkit.models.parts import rotated_coders


def found(name: str) -> Recognised:
    kind = "faster-rcnn" if name == "rotated-faster-rcnn" else name
    return Recognised(f"{name}-r50-soda-a", kind, ("model.fpn.channels=256",), 9, ())


@pytest.mark.parametrize("key", ["config", "cfg"])
@pytest.mark.parametrize("convention", ["oc", "le135"])
def test_oriented_rcnn_of_another_convention_is_refused(key, convention):
    text = f"angle_version = 'le90'\nmodel = dict(rpn_head=dict(angle_range='{convention}'))"
    with pytest.raises(ModelError, match=rf"angles of {convention}: its RoI features"):
        angles.heeded(found("oriented-rcnn"), {key: text})
    # upright RoIs and anchors do not turn
    same = angles.heeded(found("rotated-retinanet"), {key: text})
    assert same == found("rotated-retinanet")


@pytest.mark.parametrize("convention", ["le90", "le135"])
def test_s2anet_takes_the_convention_that_its_recipe_names(convention):
    meta = {"config": f"angle_version = '{convention}'\nmodel = dict(angle_range='{convention}')"}
    *_, setting = angles.heeded(found("s2anet"), meta).overrides
    assert setting == f"model.angles={convention}"
    assert angles.heeded(found("s2anet"), {}) == found("s2anet")
    for other in (["oc"], ["le90", "le135"]):
        text = "".join(f"angle_version = '{name}'\n" for name in other)
        with pytest.raises(ModelError, match="S2A-Net was trained with angles of"):
            angles.heeded(found("s2anet"), {"config": text})


@pytest.mark.parametrize(("factor", "unit"), [("None", 1.0), ("2", 2 * math.pi), ("1", math.pi)])
def test_s2anet_takes_the_unit_of_its_angles(factor, unit):
    meta = {"cfg": f"bbox_coder=dict(norm_factor={factor}, edge_swap=False)"}
    *_, setting = angles.heeded(found("s2anet"), meta).overrides
    stds = json.loads(setting.removeprefix("model.stds="))
    assert stds == pytest.approx([1, 1, 1, 1, unit])


@pytest.mark.parametrize("meta", [None, {}, {"config": 3}, {"config": "angle_version = 'le90'"}])
def test_nothing_else_changes(meta):
    for name in ("oriented-rcnn", "rotated-faster-rcnn"):
        assert angles.heeded(found(name), meta) == found(name)


@pytest.mark.parametrize(("factor", "unit"), [("None", 1.0), ("2", 2 * math.pi), ("1", math.pi)])
def test_angles_of_another_unit_decode_to_the_same_box(factor, unit):
    """mmrotate: angle = delta * std * factor * pi, or delta * std if the factor is None."""
    meta = {"config": f"bbox_coder=dict(norm_factor={factor}, edge_swap=False)"}
    *_, setting = angles.heeded(found("rotated-faster-rcnn"), meta).overrides
    std = float(setting.removeprefix("model.roi.box.angle_std="))
    roi, delta = torch.tensor([[10.0, 10.0, 30.0, 20.0]]), torch.tensor([[0, 0, 0, 0, 0.7]])
    box = rotated_coders.decode_upright(roi, delta, (0.1, 0.1, 0.2, 0.2, std))
    assert box[0, 4].item() == pytest.approx(0.7 * 0.1 * unit, rel=1e-5)
