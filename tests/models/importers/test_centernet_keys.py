import pytest
import system_golden as system
import torch

from sodkit.errors import ModelError
from sodkit.models.importers import families, mmdet


def small():
    return {k: torch.zeros(v.shape) for k, v in system.weights("centernet").items()}


def test_sizes_follow_from_shapes():
    found = families.recognise(small())
    assert found.kind == "centernet"
    assert found.classes == 9
    assert set(found.overrides) == {
        "model.backbone.name=resnet18", "model.backbone.weights=null", "model.channels=64",
        "model.hidden=64",
    }  # fmt: skip


def test_deformable_convolutions_are_named():
    state = small() | {"neck.deconv_layers.0.conv.conv_offset.weight": torch.zeros(27, 512, 3, 3)}
    with pytest.raises(ModelError, match=r"not expected: neck\.deconv_layers\.0\.conv\.conv_off"):
        system.build(state)


def test_names_lead_there_and_back():
    found = families.recognise(small())
    for key in small():
        assert mmdet.original(mmdet.rename(key, found.table), found.table) == key
