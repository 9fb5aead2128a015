import pytest
import system_golden as system
import torch

from sodkit.models.importers import families, mmdet


def small():
    return {k: torch.zeros(v.shape) for k, v in system.weights("yolox").items()}


def test_sizes_follow_from_shapes():
    found = families.recognise(small())
    assert found.kind == "yolox"
    assert found.classes == 9
    assert set(found.overrides) == {"model.depth=0.33", "model.width=0.25", "model.convs=2"}


@pytest.mark.parametrize(("blocks", "depth"), [(1, "0.33"), (2, "0.67"), (3, "1.0"), (4, "1.33")])
def test_depth_follows_from_the_blocks_of_the_first_stage(blocks, depth):
    part = "backbone.stage1.1.blocks."
    more = {f"{part}{n}.conv1.bn.bias": torch.zeros(16) for n in range(blocks)}
    assert f"model.depth={depth}" in families.recognise(small() | more).overrides


def test_names_lead_there_and_back():
    found = families.recognise(small())
    for key in small():
        assert mmdet.original(mmdet.rename(key, found.table), found.table) == key


def test_colours_of_the_stem_are_reversed():
    """Their stem sees blue, green, red of four pixels; ours red, green, blue of the same."""
    state = system.weights("yolox")
    theirs = state["backbone.stem.conv.conv.weight"]
    detector, _ = system.build(state)
    ours = detector.backbone.stem.conv.weight
    for pixel in range(4):
        for colour in range(3):
            ours_of = ours[:, 3 * pixel + colour]
            assert torch.equal(ours_of, theirs[:, 3 * pixel + 2 - colour])


def test_what_is_no_yolox_is_left_to_others():
    state = small()
    del state["bbox_head.multi_level_conv_obj.0.bias"]
    assert families.yolox_keys.recognise(state) is None
