"""What the golden tests of oriented detectors share."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sodkit.data.batches import PatchDetections, Target
from sodkit.models.parts import rotated_coders


def target(want: dict[str, np.ndarray], image: int) -> Target:
    obb = torch.from_numpy(want[f"gt{image}"])
    labels = torch.from_numpy(want[f"gt_labels{image}"])
    return Target(rotated_coders.enclosing(obb), labels, torch.zeros(0, 5), obb)


NOTHING = Target(torch.zeros(0, 4), torch.zeros(0).long(), torch.zeros(0, 5), torch.zeros(0, 5))


def check_stats(tensor: Tensor, want: dict[str, np.ndarray], name: str) -> None:
    """Compare mean, deviation, sum and sum of amounts: blind to the order of rows."""
    assert list(tensor.shape) == want[f"{name}_shape"].tolist(), name
    x = tensor.detach().double()
    mean, std, total, amount = want[f"{name}_stats"]
    np.testing.assert_allclose(x.mean(), mean, atol=1e-4 * std, err_msg=name)
    np.testing.assert_allclose(x.std(correction=0), std, rtol=1e-4, err_msg=name)
    np.testing.assert_allclose(x.sum(), total, atol=1e-4 * amount, err_msg=name)
    np.testing.assert_allclose(x.abs().sum(), amount, rtol=1e-4, err_msg=name)


def check_rows(have: Tensor, want: np.ndarray, atol: float = 1e-3) -> None:
    """Find each row of ``want`` among those of ``have``."""
    gap = np.abs(have.detach().numpy()[:, None] - want).max(2).min(0)
    assert gap.max() < atol


def check_detections(found: PatchDetections, want: np.ndarray, labels: np.ndarray) -> None:
    """Find each golden detection (cx, cy, w, h, angle, score) with its label among ours."""
    rows = torch.cat([found.obb, found.scores[:, None], found.labels[:, None]], 1)
    check_rows(rows, np.hstack([want, labels[:, None]]))
