import pytest
import system_golden as system
import torch

from sodkit.errors import ModelError
from sodkit.models.importers import families, mmdet


def small():
    return {k: torch.zeros(v.shape) for k, v in system.weights("deformable-detr").items()}


def test_sizes_follow_from_shapes():
    found = families.recognise(small())
    assert found.kind == "deformable-detr"
    assert found.classes == 9
    assert set(found.overrides) == {
        "model.backbone.name=resnet18", "model.backbone.weights=null", "model.queries=60",
        "model.encoder=2", "model.decoder=3", "model.channels=256", "model.hidden=1024",
    }  # fmt: skip


def test_the_head_is_taken_once():
    found = families.recognise(small())
    kinds = ("cls", "reg")
    assert found.unused == tuple(f"bbox_head.{k}_branches.{n}." for k in kinds for n in (1, 2))


@pytest.mark.parametrize("key", ["cls_branches.1.bias", "reg_branches.2.4.weight"])
def test_heads_that_differ_are_refused(key):
    state = small()
    state[f"bbox_head.{key}"] += 1
    with pytest.raises(ModelError, match=r"bbox_head\.(cls|reg)_.* with box refinement"):
        families.recognise(state)


def test_two_stages_are_not_known():
    state = small()
    del state["bbox_head.query_embedding.weight"]
    with pytest.raises(ModelError, match="none of the detectors that are known"):
        families.recognise(state)


def test_what_is_missing_is_named_by_its_own_name():
    state = small()
    del state["bbox_head.transformer.decoder.layers.1.attentions.0.attn.in_proj_bias"]
    with pytest.raises(ModelError, match=r"missing: bbox_head\.transformer\.decoder\.layers\.1\.a"):
        system.build(state)


def test_names_lead_there_and_back():
    found = families.recognise(small())
    for key in small():
        if not key.startswith(found.unused):
            assert mmdet.original(mmdet.rename(key, found.table), found.table) == key
