import numpy as np
import pytest

from sodkit.evaluation import matching
from sodkit.evaluation.matching import Candidates, find_candidates, match
from sodkit.evaluation.tables import Table
from sodkit.geometry.overlap import turns
from sodkit.geometry.rotated import obb_to_xywh

IOUS = np.array([0.5, 0.6, 0.7])


def table(boxes: list[list[float]], groups: list[int] | None = None) -> Table:
    """Boxes xywh; ``groups`` are where each group starts, and the end."""
    rows = np.array(boxes, np.float64).reshape(-1, 4)
    offsets = np.array([0, len(rows)] if groups is None else groups, np.int64)
    return Table(
        np.arange(len(rows)), offsets, 1, rows, rows[:, 2] * rows[:, 3], np.arange(len(rows))
    )


def matched(
    pairs: list[tuple[int, int, float]], ignored: list[list[bool]], crowd: list[bool] | None = None
) -> tuple[list[int], list[list[int]], list[list[int]], list[list[int]]]:
    """Return detections, and of each the bits of right and taken, and the targets."""
    detection, target, overlap = zip(*pairs, strict=True)
    candidates = Candidates(np.array(detection), np.array(target), np.array(overlap))
    flags = np.array(ignored)
    objects = table([[0, 0, 1, 1]] * len(flags))
    crowds = np.zeros(len(flags), np.bool_) if crowd is None else np.array(crowd)
    got = match(objects, candidates, flags, crowds, IOUS)
    return got.detection.tolist(), got.right.tolist(), got.taken.tolist(), got.target.tolist()


def test_one_candidate_is_taken_at_the_thresholds_it_reaches() -> None:
    got = matched([(3, 0, 0.6), (5, 1, 0.5), (6, 2, 1.0)], [[False]] * 3)
    assert got == (
        [3, 5, 6],
        [[3], [1], [7]],
        [[3], [1], [7]],
        [[0, 0, -1], [1, -1, -1], [2, 2, 2]],
    )


def test_an_object_is_taken_once_a_threshold() -> None:
    pairs = [(0, 0, 0.55), (1, 0, 0.9), (2, 0, 0.9)]
    detection, right, taken, target = matched(pairs, [[False]])
    assert detection == [0, 1, 2]
    assert right == taken == [[1], [6], [0]]
    assert target == [[0, -1, -1], [-1, 0, 0], [-1, -1, -1]]


def test_of_several_the_best_free_one_and_of_equal_ones_the_last() -> None:
    pairs = [(0, 0, 0.7), (0, 1, 0.7), (0, 2, 0.6), (1, 0, 0.65), (1, 1, 0.9), (1, 2, 0.9)]
    _, right, taken, target = matched(pairs, [[False]] * 3)
    assert right == taken == [[7], [7]]
    assert target == [[1, 1, 1], [2, 2, 2]]


def test_an_object_that_counts_beats_an_ignored_one() -> None:
    pairs = [(0, 0, 0.55), (0, 1, 0.9), (1, 0, 0.6), (1, 1, 0.8)]
    _, right, taken, target = matched(pairs, [[False], [True]])
    assert right == [[1], [2]]
    assert taken == [[7], [3]]
    assert target == [[0, 1, 1], [1, 0, -1]]


def test_the_ranges_are_matched_apart_and_the_first_gives_the_target() -> None:
    pairs = [(0, 0, 0.9), (0, 1, 0.6), (1, 1, 0.9)]
    _, right, taken, target = matched(pairs, [[True, False], [False, True]])
    assert right == [[3, 7], [4, 0]]
    assert taken == [[7, 7], [4, 7]]
    assert target == [[1, 1, 0], [-1, -1, 1]]


def test_a_crowd_takes_any_number() -> None:
    pairs = [(0, 0, 0.9), (1, 0, 0.6), (2, 0, 0.5), (2, 1, 0.5)]
    _, right, taken, _ = matched(pairs, [[True], [True]], [True, False])
    assert right == [[0], [0], [0]]
    assert taken == [[7], [3], [1]]


def test_nothing_to_match() -> None:
    nothing = Candidates(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    got = match(table([]), nothing, np.zeros((0, 2), np.bool_), np.zeros(0, np.bool_), IOUS)
    assert got.target.shape == (0, 3)
    assert got.right.shape == got.taken.shape == (0, 2)


def test_candidates_stand_by_detection_then_by_object() -> None:
    objects = table([[6, 0, 10, 10], [0, 0, 10, 10], [3, 0, 10, 10], [0, 0, 10, 10]], [0, 3, 3, 4])
    detections = table([[3, 0, 10, 10], [0, 5, 10, 10], [0, 0, 10, 10]], [0, 1, 2, 3])
    got = find_candidates(objects, detections, np.zeros(4, np.bool_), 0.3)
    assert got.detection.tolist() == [0, 0, 0, 2]
    assert got.target.tolist() == [0, 1, 2, 3]
    assert got.overlap.tolist() == pytest.approx([70 / 130, 70 / 130, 1, 1])
    assert len(got) == 4


@pytest.mark.parametrize("limit", [0.25, 0.5, 1.0])
def test_an_overlap_on_the_threshold_is_a_candidate(limit: float) -> None:
    objects = table([[0, 0, 10, 10]])
    exact = table([[0, 0, 10, 10 * limit]])
    for crowd, found in ((False, 1), (True, 1)):
        got = find_candidates(objects, exact, np.array([crowd]), limit)
        assert len(got) == found
        assert got.overlap.tolist() == [1.0 if crowd else limit]
    less = table([[0, 0, 10, 10 * limit - 1e-6]])
    assert len(find_candidates(objects, less, np.array([False]), limit)) == 0


def test_a_crowd_is_measured_by_the_share_of_the_detection() -> None:
    objects = table([[0, 0, 100, 100], [0, 0, 100, 100]])
    detections = table([[96, 0, 8, 10], [99, 0, 8, 10], [100, 0, 8, 10], [-8, 0, 8, 10]])
    got = find_candidates(objects, detections, np.array([True, False]), 0.5)
    assert (got.detection.tolist(), got.target.tolist()) == ([0], [0])
    assert got.overlap.tolist() == [0.5]


@pytest.mark.parametrize("chunks", [1, 2, 3, 16, 40])
def test_any_number_of_parts_finds_the_same(chunks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    groups = np.sort(rng.integers(0, 60, 12))
    bounds = [0, *groups.tolist(), 60]
    boxes = np.concatenate([rng.uniform(0, 30, (60, 2)), rng.uniform(5, 20, (60, 2))], axis=1)
    objects = table(boxes.tolist(), bounds)
    detections = table((boxes + rng.normal(0, 1, boxes.shape)).tolist(), bounds)
    once = find_candidates(objects, detections, np.zeros(60, np.bool_), 0.2)
    monkeypatch.setattr(matching, "_CHUNKS", chunks)
    told: list[tuple[int, int]] = []
    again = find_candidates(
        objects, detections, np.zeros(60, np.bool_), 0.2, lambda a, b: told.append((a, b))
    )
    for name in ("detection", "target", "overlap"):
        np.testing.assert_array_equal(getattr(again, name), getattr(once, name))
    assert len(told) == chunks
    assert told == sorted(told)
    assert told[-1] == (13, 13)


def test_oriented_boxes_are_enclosed_before_they_are_compared() -> None:
    rng = np.random.default_rng(0)
    angles = np.concatenate([rng.uniform(-1.57, 1.57, 40), [0, -np.pi / 2, np.pi / 4]])
    sides = rng.uniform(0.2, 30, (43, 2))
    boxes = np.column_stack([rng.uniform(-99, 99, (43, 2)), sides, angles])
    hulls, turn = matching._enclosing(boxes)
    np.testing.assert_allclose(hulls, obb_to_xywh(boxes), atol=1e-12)
    np.testing.assert_array_equal(turn, turns(boxes))


def test_pairs_smaller_than_a_pixel() -> None:
    objects, detections = table([[5, 5, 0.2, 0.2]]), table([[5, 5, 0.2, 0.1]])
    got = find_candidates(objects, detections, np.array([False]), 0.4)
    assert got.overlap.tolist() == pytest.approx([0.5])
    nothing = table([[5, 5, 0, 0.2]])
    assert len(find_candidates(nothing, nothing, np.array([False]), 0.1)) == 0
