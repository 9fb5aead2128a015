"""The rectangles of least area as a graph finds them, traced and in ONNX; see ``test_convex``."""

from __future__ import annotations

import contextlib
import sys
import warnings
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sodkit.geometry.rotated import corners_to_obb
from sodkit.models.kernels.least_rectangle import least_around_points, least_rectangles
from sodkit.models.parts.rotated_coders import canonical, least_around


def some(count: int, corners: int) -> Tensor:
    """Return point sets, many of whose hulls are triangles: all their rectangles have one area."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(count, corners, 2, generator=generator) * 20
    points[: count // 2, 3:] = points[: count // 2, :3].mean(1, keepdim=True)
    points[:5] = points[:5].round()
    points[5:8] = points[5:8, :1]  # no extent
    return points


@pytest.mark.parametrize("corners", [4, 9])
def test_a_graph_finds_the_same_rectangles(corners: int) -> None:
    points = some(400, corners)
    find = least_rectangles if corners == 4 else least_around_points
    wanted = find(points.double())
    with mock.patch("torch.compiler.is_compiling", return_value=True):
        found = find(points.double())
    torch.testing.assert_close(found[:, :4], wanted[:, :4], atol=1e-9, rtol=0)
    torch.testing.assert_close(found[:, 4], wanted[:, 4], atol=1e-6, rtol=0)


class Both(nn.Module):
    """Rectangles of quadrilaterals and of point sets."""

    def forward(self, quads: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        return least_around(quads), canonical(least_around_points(points).float())


def test_onnx_takes_the_first_of_equal_areas(tmp_path: Path) -> None:
    """Its optimiser leaves out factors of 1 + 1e-12, and numbers are rounded to float32."""
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package)
    runtime = pytest.importorskip("onnxruntime")
    quads, points = some(300, 4), some(300, 9)
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(Both().eval(), (quads, points), dynamo=True, verbose=False)
    assert program is not None
    program.save(tmp_path / "both.onnx")
    session = runtime.InferenceSession(tmp_path / "both.onnx", providers=["CPUExecutionProvider"])
    found = session.run(None, {"quads": quads.numpy(), "points": points.numpy()})
    np.testing.assert_allclose(found[0], corners_to_obb(quads.double().numpy()), atol=1e-4)
    wanted = canonical(least_around_points(points).float())
    np.testing.assert_allclose(found[1], wanted, atol=1e-4)
