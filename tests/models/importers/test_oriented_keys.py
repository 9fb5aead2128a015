import pytest
import system_golden as system
import torch

from sodkit.config import load_recipe
from sodkit.errors import ModelError
from sodkit.models import zoo
from sodkit.models.importers import families, mmdet

HEAD = "roi_head.bbox_head"


def state(name: str, **rows: int) -> dict[str, torch.Tensor]:
    """Return a small state dict of mmrotate, with so many rows in layers of the head."""
    small = {k: torch.zeros(v.shape) for k, v in system.weights(name).items()}
    for layer, count in rows.items():
        wide = small[f"{HEAD}.{layer}.weight"].shape[1]
        small[f"{HEAD}.{layer}.weight"] = torch.zeros(count, wide)
        small[f"{HEAD}.{layer}.bias"] = torch.zeros(count)
    return small


def build(weights: dict[str, torch.Tensor]) -> tuple[mmdet.Recognised, dict[str, torch.Tensor]]:
    found = families.recognise(weights)
    detector = zoo.build(load_recipe(found.recipe, found.overrides).model, found.classes)
    return found, mmdet.convert(weights, detector, found.table, found.joins)


@pytest.mark.parametrize("name", ["rotated-faster-rcnn", "oriented-rcnn"])
def test_a_box_for_each_class(name):
    found, _ = build(state(name, fc_cls=5, fc_reg=20))
    assert found.recipe == f"{name}-r50-soda-a"
    assert found.classes == 4
    assert "model.roi.class_agnostic=false" in found.overrides


def test_twenty_numbers_of_five_classes_are_upright_boxes():
    found, _ = build(state("rotated-faster-rcnn", fc_cls=6, fc_reg=20))
    assert found.recipe == "faster-rcnn-r50-soda-d"


def test_three_regressions_of_gliding_vertices_are_joined_box_by_box():
    weights = state("gliding-vertex", fc_cls=4, fc_reg=12, fc_fix=12, fc_ratio=3)
    for first, part in ((0, "reg"), (100, "fix"), (200, "ratio")):
        bias = weights[f"{HEAD}.fc_{part}.bias"]
        bias += torch.arange(first, first + len(bias))
    found, converted = build(weights)
    assert "model.roi.class_agnostic=false" in found.overrides
    rows = converted["roi.reg.bias"].reshape(3, 9).tolist()
    assert rows[0] == [0, 1, 2, 3, 100, 101, 102, 103, 200]
    assert rows[2] == [8, 9, 10, 11, 108, 109, 110, 111, 202]


def test_what_gliding_vertices_lack_is_named():
    weights = state("gliding-vertex")
    weights.pop(f"{HEAD}.fc_ratio.bias")
    with pytest.raises(ModelError, match=r"missing: roi_head\.bbox_head\.fc_ratio\.bias"):
        build(weights)
    with pytest.raises(ModelError, match=r"fc_ratio\.weight \(2, 1024\)"):
        build(state("gliding-vertex", fc_cls=4, fc_reg=12, fc_fix=12, fc_ratio=2))


@pytest.mark.parametrize("name", ["rotated-faster-rcnn", "oriented-rcnn"])
def test_names_lead_there_and_back(name):
    found = families.recognise(state(name))
    for key in state(name):
        assert mmdet.original(mmdet.rename(key, found.table), found.table) == key
