import pytest
import system_golden as system
import torch

from sodkit.errors import ModelError
from sodkit.models.importers import families, mmdet


def small():
    return {k: torch.zeros(v.shape) for k, v in system.weights("sparse-rcnn").items()}


def test_sizes_follow_from_shapes():
    found = families.recognise(small())
    assert found.kind == "sparse-rcnn"
    assert set(found.overrides) == {
        "model.backbone.name=resnet18", "model.backbone.weights=null", "model.proposals=50",
        "model.stages=2", "model.channels=256", "model.dynamic=64", "model.hidden=512",
        "model.cls_layers=1", "model.reg_layers=3", "model.pool=7",
    }  # fmt: skip


def test_a_pyramid_of_four_levels_has_nothing_unused():
    state = {k: v for k, v in small().items() if not k.startswith("neck.fpn_convs.4.")}
    assert families.recognise(state).unused == ()
    assert families.recognise(small()).unused == ("neck.fpn_convs.4.",)
    assert len(system.build(state)[0].state_dict()) == len(state)


def test_what_is_missing_is_named_by_its_own_name():
    state = small()
    del state["roi_head.bbox_head.1.instance_interactive_conv.norm_in.bias"]
    del state["rpn_head.init_proposal_bboxes.weight"]
    with pytest.raises(ModelError, match=r"missing: rpn_head\.init_proposal_bboxes\.weight, roi_"):
        system.build(state)


def test_names_lead_there_and_back():
    found = families.recognise(small())
    for key in small():
        if not key.startswith(found.unused):
            assert mmdet.original(mmdet.rename(key, found.table), found.table) == key
