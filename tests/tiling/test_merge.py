import numpy as np
import pytest

from sodkit.data.records import Detections
from sodkit.geometry.rotated import obb_to_xywh
from sodkit.tiling.merge import merge_patches, shift


def detections(rows: list[tuple[int, int, float, float, float]], size: float = 10) -> Detections:
    """Rows of (image id, label, score, x, y)."""
    table = np.array(rows, np.float64).reshape(-1, 5)
    xywh = np.column_stack([table[:, 3:], np.full((len(table), 2), size)])
    ids, labels = table[:, 0].astype(np.int64), table[:, 1].astype(np.int64)
    return Detections(ids, labels, table[:, 2], xywh)


def oriented(rows: list[tuple[int, int, float, list[float]]]) -> Detections:
    obb = np.array([box for *_, box in rows])
    return Detections(
        np.array([row[0] for row in rows]),
        np.array([row[1] for row in rows]),
        np.array([row[2] for row in rows]),
        obb_to_xywh(obb),
        obb,
    )


def test_shift_moves_both_kinds_of_box() -> None:
    found = oriented([(7, 0, 0.5, [10.0, 20.0, 4.0, 2.0, 0.5])])
    moved = shift(found, (650, 1300), image_id=3)
    assert moved.obb is not None
    np.testing.assert_allclose(moved.obb, [[660, 1320, 4, 2, 0.5]])
    np.testing.assert_allclose(moved.xywh[:, :2], found.xywh[:, :2] + [[650, 1300]])
    np.testing.assert_array_equal(moved.xywh[:, 2:], found.xywh[:, 2:])
    assert moved.image_ids.tolist() == [3]
    assert found.obb is not None
    assert found.obb[0, 0] == 10  # the input is untouched
    assert shift(found, (1, 1)).image_ids.tolist() == [7]


def test_merges_within_an_image_and_class_only() -> None:
    found = detections([
        (2, 0, 0.5, 0, 0),
        (1, 0, 0.6, 0, 0),
        (1, 0, 0.9, 1, 1),  # IoU .68 with the one before
        (1, 1, 0.7, 0, 0),
        (1, 0, 0.8, 30, 0),
    ])  # fmt: skip
    merged = merge_patches(found, 0.5)
    assert merged.image_ids.tolist() == [1, 1, 1, 2]
    assert merged.scores.tolist() == [0.9, 0.8, 0.7, 0.5]
    assert merged.labels.tolist() == [0, 0, 1, 0]


def test_does_not_depend_on_the_order_of_images() -> None:
    rng = np.random.default_rng(0)
    rows = [
        (int(rng.integers(5)), int(rng.integers(2)), float(rng.random()), *rng.uniform(0, 40, 2))
        for _ in range(200)
    ]
    first = merge_patches(detections(rows))
    again = merge_patches(detections([rows[i] for i in rng.permutation(200)]))
    np.testing.assert_array_equal(first.xywh, again.xywh)
    np.testing.assert_array_equal(first.image_ids, again.image_ids)


def test_oriented_detections_merge_by_rotated_iou() -> None:
    # Crossing boxes share their enclosing boxes, not their area.
    found = oriented([
        (1, 0, 0.9, [50.0, 50.0, 40.0, 4.0, np.pi / 4]),
        (1, 0, 0.8, [50.0, 50.0, 40.0, 4.0, -np.pi / 4]),
        (1, 0, 0.7, [50.5, 50.5, 40.0, 4.0, np.pi / 4]),
    ])  # fmt: skip
    assert merge_patches(found, 0.5).scores.tolist() == [0.9, 0.8]
    upright = Detections(found.image_ids, found.labels, found.scores, found.xywh)
    assert merge_patches(upright, 0.5).scores.tolist() == [0.9]


@pytest.mark.parametrize("kind", ["horizontal", "oriented"])
def test_nothing_to_merge(kind: str) -> None:
    empty = Detections.empty("oriented" if kind == "oriented" else "horizontal")
    assert len(merge_patches(empty)) == 0
    assert merge_patches(empty).kind == kind
