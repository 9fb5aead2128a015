import model_golden as golden
import pytest
import torch

from sodkit.config import load_recipe
from sodkit.errors import ModelError
from sodkit.models import zoo
from sodkit.models.importers import families, mmdet

STATE = {key: torch.zeros(value.shape) for key, value in golden.weights("keys_r18").items()}

TABLE = families.recognise(STATE).table


@pytest.fixture(scope="module")
def model():
    found = families.recognise(STATE)
    return zoo.build(load_recipe(found.recipe, found.overrides).model, found.classes)


@pytest.mark.parametrize(("keys", "name"), [("keys_r18", "resnet18"), ("keys_r50", "resnet50")])
def test_backbone_and_classes_are_recognised(keys, name):
    found = families.recognise(golden.weights(keys))
    assert found.recipe == "cfinet-r50-soda-d-release"
    assert f"model.backbone.name={name}" in found.overrides
    assert found.classes == 9


def faster_rcnn():
    """Return what mmdetection's Faster R-CNN of the benchmark has in place of CFINet's parts."""
    state = {
        k: v
        for k, v in STATE.items()
        if not k.startswith(("rpn_head", "roi_head.fc_", "roi_head.comp"))
    }
    shapes = {"conv": (256, 256, 3, 3), "cls": (3, 256, 1, 1), "reg": (12, 256, 1, 1)}
    for name, shape in shapes.items():
        state[f"rpn_head.rpn_{name}.weight"] = torch.zeros(shape)
        state[f"rpn_head.rpn_{name}.bias"] = torch.zeros(shape[0])
    return state


def test_faster_rcnn():
    state = faster_rcnn()
    found = families.recognise(state)
    assert found.recipe == "faster-rcnn-r50-soda-d"
    other = zoo.build(load_recipe(found.recipe, found.overrides).model, found.classes)
    other.load_state_dict(mmdet.convert(state, other, found.table))


@pytest.mark.parametrize("part", ["imitation", "crpn"])
def test_one_part_only(part):
    if part == "crpn":
        state = {
            k: v for k, v in STATE.items() if not k.startswith(("roi_head.fc_", "roi_head.comp"))
        }
    else:
        rpn = {k: v for k, v in faster_rcnn().items() if k.startswith("rpn_head")}
        state = {k: v for k, v in STATE.items() if not k.startswith("rpn_head")} | rpn
    found = families.recognise(state)
    other = zoo.build(load_recipe(found.recipe, found.overrides).model, found.classes)
    other.load_state_dict(mmdet.convert(state, other, found.table))


def test_every_name_is_used_and_exemplars_stay(model):
    converted = mmdet.convert(STATE, model, TABLE)
    assert converted.keys() == model.state_dict().keys()
    assert len(converted) == len(STATE) + 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("neck.fpn_convs.2.conv.bias"), r"missing: neck\.fpn_convs\.2\.conv\.bias"),
        (lambda s: s.update(ema=torch.zeros(1)), "not expected: ema"),
        (
            lambda s: s.update({"roi_head.fc_proj.bias": torch.zeros(64)}),
            r"wrong shape: roi_head\.fc_proj\.bias \(64,\) instead of \(128,\)",
        ),
    ],
)
def test_what_does_not_fit_is_named(model, change, message):
    state = dict(STATE)
    change(state)
    with pytest.raises(ModelError, match=message):
        mmdet.convert(state, model, TABLE)


def test_names_lead_there_and_back(model):
    for key in STATE:
        assert mmdet.original(mmdet.rename(key, TABLE), TABLE) == key


def test_our_own_names_are_not_expected_in_it(model):
    state = dict(STATE)
    state["fpn.output.0.bias"] = state.pop("neck.fpn_convs.0.conv.bias")
    with pytest.raises(ModelError, match=r"not expected: fpn\.output\.0\.bias"):
        mmdet.convert(state, model, TABLE)


def test_other_checkpoints_are_refused():
    with pytest.raises(ModelError, match="none of the detectors"):
        families.recognise({"conv1.weight": torch.zeros(1)})
    odd = {k: v for k, v in STATE.items() if not k.startswith("backbone.layer3.1")}
    with pytest.raises(ModelError, match=r"\(2, 2, 1, 2\) blocks"):
        families.recognise(odd)


def test_unwrapping():
    state, names = mmdet.unwrap({"state_dict": STATE, "meta": {"CLASSES": ("people", "rider")}})
    assert len(state) == len(STATE)
    assert names == ("people", "rider")
    assert mmdet.unwrap(STATE)[1] is None
    newer = {"state_dict": STATE, "meta": {"dataset_meta": {"classes": ["people"]}}}
    assert mmdet.unwrap(newer)[1] == ("people",)
    assert mmdet.unwrap({"state_dict": STATE, "meta": {"CLASSES": "people"}})[1] == ("people",)
    with pytest.raises(ModelError, match="no tensor under epoch"):
        mmdet.unwrap({"epoch": 3})
    with pytest.raises(ModelError, match="no state_dict"):
        mmdet.unwrap({"state_dict": {}})
