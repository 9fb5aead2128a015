"""FCOS against the benchmark's: same weights, same numbers."""

import model_golden as golden
import numpy as np
import pytest
import system_golden as system
import torch

from sodkit.models.parts import coders, dense_detect, points
from sodkit.models.parts.backbone import Backbone
from sodkit.settings.base import Backbone as BackboneSettings

LEVELS = range(4)


@pytest.fixture(scope="module")
def fcos():
    return system.build(system.weights("fcos"))[0].eval()


@pytest.fixture(scope="module")
def want():
    return system.load("fcos", "eval")


@pytest.fixture(scope="module")
def output(fcos):
    with torch.no_grad():
        return fcos.head(fcos.pyramid(golden.batch_a().images))


def decoded(fcos, output, level):
    """Return the points of a level, and their boxes, clipped."""
    at = points.grid((256, 256), fcos.config.strides)[level]
    sides = output.deltas[level][0].relu() * fcos.config.strides[level]
    return at, coders.clip(points.boxes_around(at, sides), (256, 256))


def test_features(fcos, want):
    system.check_features(fcos, want)


@pytest.mark.parametrize("level", LEVELS)
def test_head(fcos, output, want, level):
    maps = {
        "cls": output.logits[level],
        "reg": output.deltas[level].relu() * fcos.config.strides[level],
        "ctr": output.centerness[level][..., None],
    }
    for name, rows in maps.items():
        key = f"head_{name}_{level}"
        system.check_map(key, system.as_map(rows, want[f"{key}_shape"]), want, 1000)


@pytest.mark.parametrize("level", LEVELS)
def test_points_boxes_and_scores(fcos, output, want, level):
    at, boxes = decoded(fcos, output, level)
    rows = np.linspace(0, len(at) - 1, len(want[f"prior{level}"])).astype(int)
    assert len(at) == want[f"prior{level}_n"]
    np.testing.assert_array_equal(at[rows], want[f"prior{level}"])
    np.testing.assert_allclose(boxes[rows], want[f"dec{level}"], atol=1e-2)
    classes = output.logits[level][0].sigmoid()
    scores = classes * output.centerness[level][0].sigmoid()[:, None]
    np.testing.assert_allclose(scores[rows], want[f"score{level}"], atol=1e-4)
    assert (classes > 0.05).sum() == want["above_thr_per_level"][level]


def test_candidates(fcos, output, want):
    def decode(level, rows, deltas):
        return decoded(fcos, output, level)[1][rows]

    system.check_candidates(dense_detect.candidates(output, 0, 0.05, 1000, decode), want)


def test_detections(fcos, want):
    system.check_detections(fcos, want, 0.6)


@pytest.mark.parametrize("number", [0, 1])
def test_assignment_and_targets(fcos, number):
    want = system.load("fcos", "train")
    batch = golden.batch_b(system.targets(want))
    grid = fcos.points(batch)
    gt = fcos.match(grid, batch.targets[number], batch.sizes[number])
    np.testing.assert_array_equal(gt, want[f"assign_img{number}"])
    rows = torch.nonzero(gt >= 0)[:, 0]
    sides = points.distances(grid.at[rows], batch.targets[number].boxes[gt[rows]])
    np.testing.assert_array_equal(sides, want[f"targets_img{number}"])
    np.testing.assert_allclose(
        points.centerness(sides / grid.stride[rows, None]), want[f"ctr_targets_img{number}"],
        rtol=1e-6,
    )  # fmt: skip


@pytest.mark.parametrize("prefix", ["", "nogt1_", "nogt2_"])
def test_losses_and_gradients(prefix):
    """The norms have neither gradients there nor here, as ``check_losses`` compares the names."""
    theirs = {
        "loss_cls": "loss_cls", "loss_reg": "loss_bbox", "loss_centerness": "loss_centerness"
    }  # fmt: skip
    system.check_losses("fcos", prefix, theirs)


def test_every_key_of_the_large_one_is_used():
    system.check_keys(
        "fcos", "model.backbone.name=resnet50", "model.backbone.stride_in=1x1", "model.levels=4"
    )


def test_a_resnet_of_caffe_s():
    """The stride is in the first 1x1 convolution of a stage, not in the 3x3."""
    want = system.load("fcos", "backbone_r50_caffe")
    state = {
        key.removeprefix("backbone."): value
        for key, value in system.weights("fcos", "keys").items()
        if key.startswith("backbone.")
    }
    config = BackboneSettings(weights=None, norm="fixed", stride_in="1x1")
    images = golden.batch_a().images
    for settings, share in ((config, 1e-4), (config.model_copy(update={"stride_in": "3x3"}), 0.05)):
        backbone = Backbone(settings)
        backbone.load_state_dict(state)
        with torch.no_grad():
            stages = backbone(images)
        system.check_map("C2", stages[0], want, 1000)
        for number, stage in enumerate(stages[1:], 3):
            gap = np.abs(golden.sampled(stage, 1000) - want[f"C{number}"]).max()
            as_caffe = gap <= share * np.abs(want[f"C{number}"]).max()
            assert as_caffe == (settings.stride_in == "1x1"), number
