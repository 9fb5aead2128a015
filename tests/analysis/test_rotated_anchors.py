import numpy as np

from sodkit.analysis.rotated_anchors import best_rotated_iou
from sodkit.geometry.overlap import rotated_iou
from sodkit.geometry.rotated import canonical
from sodkit.settings.anchor_levels import AnchorLevel

LEVELS = (
    AnchorLevel(4, ((5.6, 2.8), (4.0, 4.0), (2.8, 5.6))),
    AnchorLevel(8, ((11.3, 5.7), (8.0, 8.0), (5.7, 11.3))),
    AnchorLevel(16, ((22.6, 11.3), (16.0, 16.0), (11.3, 22.6))),
    AnchorLevel(32, ((45.3, 22.6), (32.0, 32.0), (22.6, 45.3))),
)


def all_anchors(width: int, height: int) -> np.ndarray:
    rows = []
    for level in LEVELS:
        for y in range(0, height, level.stride):
            for x in range(0, width, level.stride):
                rows += [[x, y, w, h, 0.0] for w, h in level.sizes]
    return np.array(rows)


def test_equals_a_search_over_all_anchors() -> None:
    rng = np.random.default_rng(0)
    count = 60
    long = rng.uniform(6, 45, count)
    obb = canonical(
        np.column_stack(
            [
                rng.uniform(0, 96, (count, 2)),
                long,
                long * rng.uniform(0.2, 1.0, count),
                rng.uniform(-1.5, 1.5, count),
            ]
        )
    )
    found = best_rotated_iou(obb, np.full((count, 2), 96.0), LEVELS)
    wanted = rotated_iou(obb, all_anchors(96, 96)).max(axis=1)
    np.testing.assert_allclose(found, wanted, atol=1e-9)


def test_no_objects() -> None:
    assert len(best_rotated_iou(np.zeros((0, 5)), np.zeros((0, 2)), LEVELS)) == 0
