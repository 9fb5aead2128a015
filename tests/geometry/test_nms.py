import numpy as np
import pytest
import shapely
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st

from sodkit import geometry
from sodkit.geometry.boxes import iou as boxes_iou
from sodkit.geometry.nms import nms, nms_rotated
from sodkit.geometry.overlap import rotated_iou
from sodkit.geometry.rotated import canonical, obb_to_corners, obb_to_xyxy


def random_boxes(seed: int, count: int, extent: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return oriented boxes of sizes from 1 to 200 px, scores with ties, and groups."""
    rng = np.random.default_rng(seed)
    w = np.exp(rng.uniform(0, 5.3, count))
    h = w * rng.uniform(0.05, 1, count)
    angle = rng.uniform(-np.pi / 2, np.pi / 2, count)
    boxes = np.column_stack([rng.uniform(-extent, extent, (count, 2)), w, h, angle])
    # Half are near another one, some the same.
    source = rng.integers(0, count, count // 2)
    boxes[: count // 2] = boxes[source] * rng.normal(1, 0.03, (count // 2, 5))
    boxes[: count // 8] = boxes[source[: count // 8]]
    return (
        canonical(np.abs(boxes) * [1, 1, 1, 1, 1]),
        rng.integers(0, 9, count) / 8,
        (rng.integers(-1, 2, count)),
    )


def greedy(iou: np.ndarray, scores: np.ndarray, limit: float, groups: np.ndarray) -> list[int]:
    """The definition, from a full table of IoUs."""
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        if not any(groups[j] == groups[i] and iou[j, i] > limit for j in kept):
            kept.append(int(i))
    return kept


@given(st.integers(0, 100_000), st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.7, 0.95, 1.0]))
def test_upright_equals_torchvision(seed: int, limit: float) -> None:
    obb, scores, groups = random_boxes(seed, 60, 60)
    boxes = np.round(obb_to_xyxy(obb) * 2) / 2  # IoUs that lie on thresholds
    kept = nms(boxes, scores, limit)
    expected = torchvision.ops.nms(torch.tensor(boxes), torch.tensor(scores), limit)
    np.testing.assert_array_equal(kept, expected.numpy())
    by_group = [np.flatnonzero(groups == g) for g in (-1, 0, 1)]
    apart = [rows[nms(boxes[rows], scores[rows], limit)] for rows in by_group]
    np.testing.assert_array_equal(
        np.sort(nms(boxes, scores, limit, groups)), np.sort(np.concatenate(apart))
    )


@given(st.integers(0, 100_000), st.sampled_from([0.0, 0.1, 0.5, 0.9]))
def test_rotated_equals_the_definition(seed: int, limit: float) -> None:
    boxes, scores, groups = random_boxes(seed, 40, 50)
    table = rotated_iou(boxes, boxes)
    one = np.zeros(40, np.int64)
    assert nms_rotated(boxes, scores, limit).tolist() == greedy(table, scores, limit, one)
    kept = nms_rotated(boxes, scores, limit, groups)
    assert kept.tolist() == greedy(table, scores, limit, groups)


def test_many_boxes_equal_torchvision() -> None:
    obb, scores, groups = random_boxes(5, 4000, 2000)
    boxes = obb_to_xyxy(obb)
    kept = nms(boxes, scores, 0.5)
    expected = torchvision.ops.nms(torch.tensor(boxes), torch.tensor(scores), 0.5)
    np.testing.assert_array_equal(kept, expected.numpy())
    kept = nms(boxes, scores, 0.5, groups)
    expected = torchvision.ops.batched_nms(
        torch.tensor(boxes), torch.tensor(scores), torch.tensor(groups), 0.5
    )
    assert set(kept.tolist()) == set(expected.tolist())
    assert (np.diff(scores[kept]) <= 0).all()


def test_many_rotated_boxes_equal_the_definition() -> None:
    boxes, scores, groups = random_boxes(6, 800, 400)
    table = rotated_iou(boxes, boxes)
    assert nms_rotated(boxes, scores, 0.5, groups).tolist() == greedy(table, scores, 0.5, groups)


def test_equal_scores_keep_the_first() -> None:
    box = np.array([[0.0, 0, 10, 10]])
    assert nms(np.repeat(box, 5, axis=0), np.full(5, 0.3), 0.5).tolist() == [0]


def test_an_iou_on_the_threshold_does_not_suppress() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [0, 0, 10, 20]])
    assert nms(boxes, np.array([1.0, 0.5]), 0.5).tolist() == [0, 1]
    assert nms(boxes, np.array([1.0, 0.5]), 0.4999).tolist() == [0]


def test_boxes_without_area_are_kept() -> None:
    boxes = np.array([[3.0, 3, 3, 3], [3, 3, 3, 3], [0, 0, 9, 9], [5, 5, 2, 2]])
    assert nms(boxes, np.ones(4), 0.0).tolist() == [0, 1, 2, 3]
    assert nms_rotated(np.zeros((3, 5)), np.ones(3), 0.0).tolist() == [0, 1, 2]


def test_one_large_box_among_many_small() -> None:
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 1000, (500, 2))
    boxes = np.concatenate([[[0, 0, 1000, 1000]], np.concatenate([corner, corner + 1e-3], 1)])
    scores = np.concatenate([[0.0], np.ones(500)])
    assert 0 not in nms(boxes, scores, 0.0)
    assert 0 in nms(boxes, scores, 0.01)


def test_empty_input() -> None:
    assert nms(np.zeros((0, 4)), np.zeros(0), 0.5).dtype == np.int64
    assert len(nms_rotated(np.zeros((0, 5)), np.zeros(0), 0.5)) == 0


@pytest.mark.parametrize(
    ("boxes", "scores", "groups", "message"),
    [
        ([[0, 0, np.nan, 1]], [1.0], None, "not finite"),
        ([[0, 0, 1, 1]], [np.inf], None, "not finite"),
        ([[0, 0, 1e12, 1]], [1.0], None, "from the origin"),
        ([[0, 0, 1, 1]], [1.0, 0.5], None, "1 boxes, 2 scores"),
        ([[0, 0, 1, 1]], [1.0], [0, 1], "2 groups"),
    ],
)
def test_rejects_bad_input(
    boxes: list[list[float]], scores: list[float], groups: list[int] | None, message: str
) -> None:
    chosen = None if groups is None else np.array(groups)
    with pytest.raises(ValueError, match=message):
        nms(np.array(boxes), np.array(scores), 0.5, chosen)


def shapely_table(boxes: np.ndarray) -> np.ndarray:
    """IoUs (N, N) of oriented boxes."""
    shapes = shapely.polygons(obb_to_corners(boxes))
    inter = shapely.area(shapely.intersection(shapes[:, None], shapes[None]))
    area = boxes[:, 2] * boxes[:, 3]
    return inter / (area[:, None] + area[None] - inter)


@pytest.mark.parametrize("limit", [0.0, 0.1, 0.4, 0.7])
@pytest.mark.parametrize("seed", range(3))
def test_neighbours_are_found_by_the_grid(seed: int, limit: float) -> None:
    """Far more kept boxes than cells to look at, of three sizes that make three layers."""
    rng = np.random.default_rng(seed)
    w = rng.choice([3.0, 10.0, 40.0], 160) * rng.uniform(0.8, 1.2, 160)
    h, angle = w * rng.uniform(0.3, 1, 160), rng.uniform(-1.5, 1.5, 160)
    boxes = np.column_stack([rng.uniform(-250, 250, (160, 2)), w, h, angle])
    near = boxes[:80].copy()
    near[:, :2] += rng.normal(0, 0.25, (80, 2)) * near[:, 2:3]
    near[:, 4] += rng.normal(0, 0.1, 80)
    boxes[80:] = near
    scores, groups = rng.permutation(160) / 160, rng.integers(0, 2, 160)
    table = shapely_table(boxes)
    one = np.zeros(160, np.int64)
    assert nms_rotated(boxes, scores, limit).tolist() == greedy(table, scores, limit, one)
    assert nms_rotated(boxes, scores, limit, groups).tolist() == greedy(
        table, scores, limit, groups
    )
    upright = obb_to_xyxy(boxes)
    table = boxes_iou(upright, upright)
    assert nms(upright, scores, limit).tolist() == greedy(table, scores, limit, one)
    assert nms(upright, scores, limit, groups).tolist() == greedy(table, scores, limit, groups)


@pytest.mark.parametrize("size", [1e-6, 3e-5, 6e-5, 7e-5, 1.0, 1e7])
def test_boxes_of_any_size_are_found_again(size: float) -> None:
    """From the first layer of the grid, whose boxes are the smallest, to the last ones."""
    one = np.array([1.0, 1, 1, 0.5, 0.3])
    boxes = np.array([one, one + [0.1, 0, 0, 0, 0], one + [3, 0, 0, 0, 0]])
    boxes[:, :4] *= size
    many = np.tile(boxes, (12, 1))
    many[:, 0] += np.repeat(np.arange(12), 3) * 8 * size
    scores = np.linspace(1, 0.5, 36)
    kept = np.flatnonzero(np.arange(36) % 3 != 1)
    assert nms_rotated(many, scores, 0.5).tolist() == kept.tolist()
    assert nms(obb_to_xyxy(many), scores, 0.5).tolist() == kept.tolist()


def test_a_box_is_in_one_cell_of_one_layer() -> None:
    boxes = np.array([[0.0, 0, 1, 1], [0, 0, 4, 2], [0, 0, 2, 16], [-3, -5, -1, -3.5]])
    cells = 4.0 ** np.arange(geometry.nms._LAYERS)
    found = [
        [
            (layer, column, row)
            for layer in range(4)
            for column in range(-6, 6)
            for row in range(-6, 6)
            if geometry.nms._lies_in(boxes, j, cells, layer, column, row)
        ]
        for j in range(4)
    ]
    assert found == [[(0, 0, 0)], [(1, 0, 0)], [(2, 0, 0)], [(1, -1, -2)]]


@given(st.integers(0, 100_000), st.integers(3, 12))
def test_few_boxes_side_by_side_stay_in_their_room(seed: int, count: int) -> None:
    """Moored ships: cells that share a slot of a small hash table must not be listed twice.

    Not compiled, so that numpy checks every index.
    """
    rng = np.random.default_rng(seed)
    length, angle = rng.uniform(20, 60), rng.uniform(-np.pi / 2, np.pi / 2)
    beside = np.array([-np.sin(angle), np.cos(angle)]) * length / 4 * rng.uniform(0.6, 1)
    centre = rng.uniform(100, 500, 2) + np.arange(count)[:, None] * beside
    sides = np.tile([length, length / 4, angle], (count, 1))
    boxes, scores = np.hstack([centre, sides]), rng.uniform(size=count)
    kernel = geometry.nms._greedy
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(geometry.nms, "_greedy", kernel.function)
        slow = nms_rotated(boxes, scores, 0.1)
    np.testing.assert_array_equal(slow, nms_rotated(boxes, scores, 0.1))
    groups = np.zeros(count, np.int64)
    assert slow.tolist() == greedy(rotated_iou(boxes, boxes), scores, 0.1, groups)
