import pytest
import system_golden as system
import torch

from sodkit.errors import ModelError
from sodkit.models.importers import families, mmdet


def small():
    shapes = system.shapes_of("cornernet")
    return {key: torch.zeros(()).expand(shape) for key, shape in shapes.items()}


def test_sizes_follow_from_shapes():
    found = families.recognise(small())
    assert found.kind == "cornernet"
    assert found.classes == 9
    assert set(found.overrides) == {
        "model.widths=[64, 64, 96]", "model.blocks=[2, 1, 2]", "model.stacks=2",
        "model.channels=64", "model.pooled=128", "model.hidden=256",
    }  # fmt: skip


def test_what_is_missing_is_named_by_its_own_name():
    state = small()
    del state["backbone.hourglass_modules.1.low2.low3.0.conv1.weight"]
    with pytest.raises(ModelError, match=r"missing: backbone\.hourglass_modules\.1\.low2\.low3\.0"):
        system.build(state)


def test_names_lead_there_and_back():
    found = families.recognise(small())
    for key in small():
        assert mmdet.original(mmdet.rename(key, found.table), found.table) == key
