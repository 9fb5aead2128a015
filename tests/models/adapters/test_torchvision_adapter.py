"""Detectors of torchvision, trained and used as ours."""

import model_golden as golden
import pytest
import torch
from torchvision.models.detection import (
    fasterrcnn_mobilenet_v3_large_320_fpn,
    fcos_resnet50_fpn,
    retinanet_resnet50_fpn,
)

from sodkit.data.batches import Batch
from sodkit.models.adapters.torchvision import TorchvisionDetector
from sodkit.models.detector import Detector
from sodkit.models.parts.sampling import random_order
from sodkit.settings import Keep

MAKERS = [fasterrcnn_mobilenet_v3_large_320_fpn, retinanet_resnet50_fpn, fcos_resnet50_fpn]
OBJECTS = [[10, 12, 30, 25], [50, 60, 58, 66]]


def shuffle(seed=1):
    return random_order(torch.Generator().manual_seed(seed))


def batch(*targets):
    images = torch.randn(2, 3, 96, 64, generator=torch.Generator().manual_seed(0))
    return Batch(images, ((96, 64), (80, 50)), ((1.5, 1.5),) * 2, targets)


@pytest.fixture(params=MAKERS, ids=lambda make: make.__name__)
def detector(request):
    torch.manual_seed(0)
    return TorchvisionDetector(
        request.param(weights=None, weights_backbone=None, num_classes=4)
    ).train()


def test_losses_follow_the_shuffle_alone(detector):
    assert isinstance(detector, Detector)
    given = batch(golden.target(OBJECTS, [0, 2]), golden.target([]))
    torch.manual_seed(5)
    first = {k: v.item() for k, v in detector(given, shuffle()).items()}
    state = torch.random.get_rng_state()
    again = {k: v.item() for k, v in detector(given, shuffle()).items()}
    assert first == again
    assert all(torch.isfinite(torch.tensor(v)) for v in first.values())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_detections_have_our_labels_in_pixels_of_the_patch(detector):
    detector.eval()
    keep = Keep(score=0.01, max_per_patch=7)
    found = detector.detect(batch(), keep)
    for one, (height, width) in zip(found, batch().sizes, strict=True):
        assert 0 < len(one.scores) <= 7
        assert set(one.labels.tolist()) <= {0, 1, 2}
        assert (one.scores > 0.01).all()
        limit = torch.tensor([width, height, width, height]) / 1.5
        assert (one.boxes <= limit + 1e-3).all()
    assert all(len(one.scores) == 0 for one in detector.detect(batch(), Keep(score=1.0)))


def test_ignore_regions_are_painted_over(detector):
    region = [[0, 0, 40, 40]]
    plain = batch(golden.target([]), golden.target([]))
    ignored = batch(golden.target([], ignore=region), golden.target([]))
    blank = batch(golden.target([]), golden.target([]))
    blank.images[0, :, :40, :40] = 0
    losses = [sum(detector(given, shuffle()).values()).item() for given in (plain, ignored, blank)]
    assert losses[1] == losses[2] != losses[0]
