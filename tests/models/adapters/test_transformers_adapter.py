"""Object detectors of ``transformers``, trained and used as ours."""

import model_golden as golden
import pytest
import torch

from sodkit.data.batches import Batch
from sodkit.models.adapters.transformers import TransformersDetector
from sodkit.models.detector import Detector
from sodkit.models.parts.sampling import random_order
from sodkit.settings import Keep

transformers = pytest.importorskip("transformers")


@pytest.fixture
def detector():
    torch.manual_seed(0)
    config = transformers.YolosConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        image_size=[96, 64], patch_size=16, num_detection_tokens=10, num_labels=2,
        use_mid_position_embeddings=False,
    )  # fmt: skip
    model = transformers.YolosForObjectDetection(config)
    return TransformersDetector(model, transformers.YolosImageProcessor()).train()


def batch(*targets):
    images = torch.randn(2, 3, 96, 64, generator=torch.Generator().manual_seed(0))
    return Batch(images, ((96, 64), (80, 50)), ((1.5, 1.5),) * 2, targets)


def test_it_learns_from_our_batches(detector):
    assert isinstance(detector, Detector)
    given = batch(golden.target([[10, 12, 30, 25]], [1]), golden.target([]))
    optimizer = torch.optim.AdamW(detector.parameters(), 1e-2)
    losses = []
    for _ in range(20):
        total = sum(detector(given, random_order(None)).values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        losses.append(total.item())
    assert losses[-1] < 0.9 * losses[0]


def test_detections_are_in_pixels_of_the_patch(detector):
    found = detector.eval().detect(batch(), Keep(score=0.0, nms=1.0))
    for one, (height, width) in zip(found, batch().sizes, strict=True):
        assert len(one.scores) == 10
        assert set(one.labels.tolist()) <= {0, 1}
        assert (one.boxes <= torch.tensor([width, height] * 2) / 1.5 + 1e-3).all()
