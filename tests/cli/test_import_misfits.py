"""Checkpoints of another variant than the recipe: what does not fit, and the setting that would."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from sodkit.cli.main import make_app
from sodkit.engine.checkpoint import load_checkpoint

GOLDEN = Path(__file__).parents[1] / "golden" / "systems"
NAMES = tuple(f"class{k}" for k in range(9))
State = dict[str, torch.Tensor]


def shaped(folder: str) -> State:
    """Return the names and shapes of a system of mmdetection on ResNet-18, of zeros."""
    shapes: Mapping[str, list[int]] = json.loads((GOLDEN / folder / "keys_small.json").read_text())
    return {key: zeros(*shape) for key, shape in shapes.items()}


def zeros(*shape: int) -> torch.Tensor:
    """Return zeros that take the place of one number, in a file too."""
    return torch.zeros(()).expand(shape)


FOLDERS = {
    "retinanet": "retinanet",
    "faster-rcnn": "rfla",
    "fcos": "fcos",
    "atss": "atss",
    "sparse-rcnn": "sparse-rcnn",
    "deformable-detr": "deformable-detr",
    "ga-rpn": "ga-rpn",
    "reppoints": "reppoints",
    "dyhead": "dyhead",
    "centernet": "centernet",
    "cornernet": "cornernet",
    "yolox": "yolox",
}
"""RFLA has the names and shapes of Faster R-CNN."""


def run(file: Path, state: State, *more: str, classes: int = 9) -> tuple[int, str]:
    torch.save({"state_dict": state, "meta": {"CLASSES": NAMES[:classes]}}, file)
    arguments = ["import-weights", str(file), "--out", str(file.with_suffix(".safetensors"))]
    result = CliRunner().invoke(make_app(), [*arguments, *more])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, " ".join(result.stderr.split())


def one_anchor(state: State) -> None:
    for name, rows in (("cls", 1), ("reg", 4)):
        state[f"rpn_head.rpn_{name}.weight"] = zeros(rows, 256, 1, 1)
        state[f"rpn_head.rpn_{name}.bias"] = zeros(rows)


def three_anchors(state: State) -> None:
    for name, rows in (("cls", 27), ("reg", 12)):
        state[f"bbox_head.retina_{name}.weight"] = zeros(rows, 256, 3, 3)
        state[f"bbox_head.retina_{name}.bias"] = zeros(rows)


def five_levels(state: State) -> None:
    state["neck.fpn_convs.4.conv.weight"] = zeros(256, 256, 3, 3)
    state["neck.fpn_convs.4.conv.bias"] = zeros(256)
    if "bbox_head.scales.3.scale" in state:
        state["bbox_head.scales.4.scale"] = zeros()


def one_tower_layer_less(state: State) -> None:
    for key in [key for key in state if re.match(r"bbox_head\.(cls|reg)_convs\.3\.", key)]:
        del state[key]


def narrow(state: State) -> None:
    """Make the hidden layers of the RoI head half as wide."""
    head = "roi_head.bbox_head"
    state[f"{head}.shared_fcs.0.weight"] = zeros(512, 256 * 49)
    state[f"{head}.shared_fcs.1.weight"] = zeros(512, 512)
    state[f"{head}.fc_cls.weight"], state[f"{head}.fc_reg.weight"] = zeros(10, 512), zeros(36, 512)
    for layer in (0, 1):
        state[f"{head}.shared_fcs.{layer}.bias"] = zeros(512)


CASES: dict[str, tuple[str, Callable[[State], None], tuple[str, ...], str]] = {
    "anchors of RetinaNet": (
        "retinanet", three_anchors, (),
        "bbox_head.retina_cls.weight (27, 256, 3, 3) instead of (81, 256, 3, 3)",
    ),
    "levels of RetinaNet": (
        "retinanet", five_levels, ("--recipe", "retinanet-r50-soda-d"),
        "not expected: neck.fpn_convs.4.conv.weight",
    ),
    "depth of RetinaNet": (
        "retinanet", lambda state: None, ("--recipe", "retinanet-r50-soda-d"),
        "backbone.layer1.0.conv1.weight (64, 64, 3, 3) instead of (64, 64, 1, 1)",
    ),
    "anchors of Faster R-CNN": (
        "faster-rcnn", one_anchor, (),
        "rpn_head.rpn_cls.weight (1, 256, 1, 1) instead of (3, 256, 1, 1)",
    ),
    "depth of Faster R-CNN": (
        "faster-rcnn", lambda state: None, ("--recipe", "faster-rcnn-r50-soda-d"),
        "backbone.layer1.0.conv1.weight (64, 64, 3, 3) instead of (64, 64, 1, 1)",
    ),
    "depth of FCOS": (
        "fcos", lambda state: None, ("--recipe", "fcos-r50-soda-d"),
        "backbone.layer1.0.conv1.weight (64, 64, 3, 3) instead of (64, 64, 1, 1)",
    ),
    "levels of FCOS": (
        "fcos", five_levels, ("--recipe", "fcos-r50-soda-d"),
        "not expected: neck.fpn_convs.4.conv.weight",
    ),
    "depth of ATSS": (
        "atss", lambda state: None, ("--recipe", "atss-r50-soda-d"),
        "backbone.layer1.0.conv1.weight (64, 64, 3, 3) instead of (64, 64, 1, 1)",
    ),
    "towers of ATSS": (
        "atss", one_tower_layer_less,
        ("--recipe", "atss-r50-soda-d", "--set", "model.backbone.name=resnet18"),
        "missing: head.cls_tower.9.weight",
    ),
    "depth of Sparse R-CNN": (
        "sparse-rcnn", lambda state: None, ("--recipe", "sparse-rcnn-r50-soda-d"),
        "backbone.layer1.0.conv1.weight (64, 64, 3, 3) instead of (64, 64, 1, 1)",
    ),
    "depth of Deformable DETR": (
        "deformable-detr", lambda state: None, ("--recipe", "deformable-detr-r50-soda-d"),
        "backbone.layer1.0.conv1.weight (64, 64, 3, 3) instead of (64, 64, 1, 1)",
    ),
    "depth of GA-RPN": (
        "ga-rpn", lambda state: None, ("--recipe", "ga-rpn-r50-soda-d"),
        "backbone.layer1.0.conv1.weight (64, 64, 3, 3) instead of (64, 64, 1, 1)",
    ),
    "depth of RepPoints": (
        "reppoints", lambda state: None, ("--recipe", "reppoints-r50-soda-d"),
        "backbone.layer1.0.conv1.weight (64, 64, 3, 3) instead of (64, 64, 1, 1)",
    ),
    "depth and blocks of DyHead": (
        "dyhead", lambda state: None, ("--recipe", "dyhead-r50-soda-d"),
        "backbone.layer1.0.conv1.weight (64, 64, 3, 3) instead of (64, 64, 1, 1)",
    ),
    "width of CenterNet": (
        "centernet", lambda state: None,
        ("--recipe", "centernet-r50-soda-d", "--set", "model.backbone.name=resnet18"),
        "neck.deconv_layers.0.conv.weight (256, 512, 3, 3) instead of (1024, 512, 3, 3)",
    ),
    "width of YOLOX": (
        "yolox", lambda state: None, ("--recipe", "yolox-s-soda-d"),
        "backbone.stem.conv.conv.weight (16, 12, 3, 3) instead of (32, 12, 3, 3)",
    ),
    "width of Faster R-CNN": (
        "faster-rcnn", narrow,
        ("--recipe", "rfla-r50-soda-d", "--set", "model.backbone.name=resnet18"),
        "roi_head.bbox_head.shared_fcs.0.weight (512, 12544) instead of (1024, 12544)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_settings_that_are_named_do_fit(case: str, tmp_path: Path) -> None:
    system, change, more, message = CASES[case]
    state = shaped(FOLDERS[system])
    change(state)
    file = tmp_path / "other.pth"
    code, err = run(file, state, *more)
    assert code == 4
    assert message in err
    assert str(file) in err
    assert not file.with_suffix(".safetensors").exists()
    wanted = re.findall(r"--set (\S+=\S+)", err.split(" or --set ")[0])
    assert wanted
    code, err = run(file, state, *more, *(word for s in wanted for word in ("--set", s)))
    assert code == 0, err
    loaded = load_checkpoint(file.with_suffix(".safetensors"), torch.device("cpu"))
    assert len(loaded.categories) == 9


def test_levels_that_no_setting_has(tmp_path: Path) -> None:
    state = shaped("retinanet")
    five_levels(state)
    state["neck.fpn_convs.5.conv.weight"] = zeros(256, 256, 3, 3)
    code, err = run(tmp_path / "x.pth", state)
    assert code == 4
    assert "the pyramid has 6 levels, neck.fpn_convs.0 to 5" in err
    assert "model.levels=5" in err


def test_what_no_setting_changes(tmp_path: Path) -> None:
    """P6 of P5, not of C5; a level not pooled; a grouped backbone; three anchors of ATSS."""
    one, two, three = shaped("retinanet"), shaped("rfla"), shaped("retinanet")
    four = shaped("atss")
    for name, rows in (("cls", 27), ("reg", 12), ("centerness", 3)):
        four[f"bbox_head.atss_{name}.weight"] = zeros(rows, 256, 3, 3)
        four[f"bbox_head.atss_{name}.bias"] = zeros(rows)
    one["neck.fpn_convs.3.conv.weight"] = zeros(256, 256, 3, 3)
    five_levels(two)
    three["backbone.layer2.0.conv1.weight"] = zeros(128, 4, 3, 3)
    for state, message in (
        (one, "neck.fpn_convs.3.conv.weight (256, 256, 3, 3) instead of (256, 512, 3, 3)"),
        (two, "not expected: neck.fpn_convs.4.conv.weight"),
        (four, "bbox_head.atss_cls.weight (27, 256, 3, 3) instead of (9, 256, 3, 3)"),
        (three, "backbone.layer2.0.conv1.weight (128, 4, 3, 3) instead of (128, 64, 3, 3)"),
    ):
        code, err = run(tmp_path / "x.pth", state)
        assert code == 4
        assert message in err
        assert "no setting of" in err


@pytest.mark.parametrize("folder", FOLDERS.values())
def test_another_number_of_classes_is_said(folder: str, tmp_path: Path) -> None:
    state = shaped(folder)
    code, err = run(tmp_path / "x.pth", state, classes=3)
    assert code == 4
    assert "the model has 9 classes, the file names 3" in err
    code, err = run(tmp_path / "x.pth", state, "--classes", "car,bus")
    assert code == 2
    assert "the model has 9 classes, 2 are named" in err


def test_a_recipe_of_another_kind_is_refused(tmp_path: Path) -> None:
    more: Any = ("--recipe", "retinanet-r50-soda-d")
    code, err = run(tmp_path / "x.pth", shaped("rfla"), *more)
    assert code == 2
    assert "the weights are of faster-rcnn, the recipe is of retinanet" in err
