"""The functions of the page: windows, overlaps and NMS as sodkit's own."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from sodkit.geometry.nms import nms, nms_rotated
from sodkit.geometry.overlap import rotated_iou_pairs
from sodkit.tiling.grid import starts

page = pytest.importorskip("sodkit.engine.onnx_page", exc_type=ImportError)
RNG = np.random.default_rng(0)


def upright(count: int) -> np.ndarray:
    corner = RNG.uniform(0, 60, (count, 2))
    return np.concatenate([corner, corner + RNG.uniform(1, 30, (count, 2))], 1)


def turned(count: int) -> np.ndarray:
    """Return oriented boxes far from the origin, where single precision has few digits left."""
    centre, sides = RNG.uniform(9000, 9060, (count, 2)), RNG.uniform(2, 30, (count, 2))
    return np.concatenate([centre, sides, RNG.uniform(-1.5, 1.5, (count, 1))], 1)


@pytest.mark.parametrize(("length", "window", "stride"), [(9, 10, 3), (10, 10, 3), (47, 10, 7)])
def test_windows_begin_where_those_of_predict_do(length: int, window: int, stride: int) -> None:
    assert page.starts(length, window, stride) == starts(length, window, stride)


@pytest.mark.parametrize("oriented", [False, True])
def test_nms_keeps_what_ours_keeps(oriented: bool) -> None:
    boxes = (turned if oriented else upright)(150)
    scores, labels = RNG.uniform(0, 1, 150), RNG.integers(0, 2, 150)
    want = (nms_rotated if oriented else nms)(boxes, scores, 0.3, labels)
    assert 10 < len(want) < 140
    assert page.suppress(boxes, scores, labels, 0.3, 150).tolist() == want.tolist()
    assert page.suppress(boxes, scores, labels, 0.3, 7).tolist() == want[:7].tolist()
    assert len(page.suppress(boxes[:0], scores[:0], labels[:0], 0.3, 7)) == 0


def test_overlaps_of_oriented_boxes() -> None:
    boxes = turned(200)
    boxes[1] = boxes[0]
    found = page.turned_overlap(boxes[0], boxes)
    want = rotated_iou_pairs(np.repeat(boxes[:1], 200, 0), boxes)
    np.testing.assert_allclose(found, want, atol=1e-4)
    assert (want > 0.05).sum() > 5


def test_what_is_no_image_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / "deep.png"
    cv2.imwrite(str(deep), np.zeros((4, 4), np.uint16))
    monkeypatch.setattr(page, "Detector", lambda path: None)
    monkeypatch.setattr("sys.argv", ["page.py", str(deep)])
    with pytest.raises(SystemExit, match=r"deep\.png: cannot be read as an image of 8 bits"):
        page.main()
    monkeypatch.setattr("sys.argv", ["page.py"])
    with pytest.raises(SystemExit, match=r"usage: python page\.py IMAGE"):
        page.main()
