import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sodkit.data.records import Annotations, Category, Detections, ImageRecord
from sodkit.errors import DataError
from sodkit.evaluation.tables import (
    counting_order,
    descending_order,
    detection_table,
    image_ranks,
)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=60))
def test_descending_order_is_stable(values: list[float]) -> None:
    scores = np.array(values, np.float64)
    expected = np.argsort(-scores, kind="stable")
    np.testing.assert_array_equal(descending_order(scores, np.arange(len(scores))), expected)


def test_descending_order_keeps_the_given_order_of_ties() -> None:
    scores = np.array([0.5, 1.0, 0.5, 0.5, -0.0, 0.0, -1.0])
    order = np.array([6, 5, 4, 3, 2, 1, 0])
    assert descending_order(scores, order).tolist() == [1, 3, 2, 0, 5, 4, 6]


@given(st.lists(st.integers(0, 6), max_size=60))
def test_counting_order_is_stable(keys: list[int]) -> None:
    column = np.array(keys, np.int64)
    result = counting_order(column, np.arange(len(column)), 7)
    np.testing.assert_array_equal(result, np.argsort(column, kind="stable"))


@given(st.integers(0, 10_000), st.sampled_from([1, 3, 50, 1000]))
def test_groups_stand_best_first_and_are_cut(seed: int, limit: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 200))
    ids = [70, 5, 30]
    annotations = Annotations(
        tuple(ImageRecord(one, f"{one}.jpg", 9, 9) for one in ids),
        (Category(0, "a"), Category(1, "b")),
        np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64),
        np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.bool_),
    )  # fmt: skip
    detections = Detections(
        rng.choice(ids, count), rng.integers(0, 2, count), rng.integers(0, 9, count) / 8,
        rng.random((count, 4)),
    )  # fmt: skip
    table = detection_table(annotations, detections, detections.labels, 2, limit)
    rows = []
    for image in sorted(ids):
        for label in range(2):
            own = np.flatnonzero((detections.image_ids == image) & (detections.labels == label))
            rows.append(own[np.argsort(-detections.scores[own], kind="stable")][:limit])
    np.testing.assert_array_equal(table.rows, np.concatenate(rows))
    np.testing.assert_array_equal(np.diff(table.offsets), [len(own) for own in rows])
    assert table.beyond == count - len(table)
    np.testing.assert_array_equal(table.boxes, detections.xywh[table.rows])


def images(*ids: int) -> Annotations:
    return Annotations(
        tuple(ImageRecord(one, f"{one}.jpg", 9, 9) for one in ids), (Category(0, "a"),),
        np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64),
        np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.bool_),
    )  # fmt: skip


@pytest.mark.parametrize(
    "ids", [[7], [5, 70, 30], [-3, -1, 2], [0, 10_000_000], [3, -(10**12), 10**15], [10**18, 1]]
)
def test_images_are_ranked_by_their_ids_however_far_apart(ids: list[int]) -> None:
    asked = np.array([*ids, *ids[::-1]], np.int64)
    ranks = image_ranks(images(*ids), asked)
    assert ranks.tolist() == [sorted(ids).index(one) for one in asked]
    for near in {one + step for one in ids for step in (-2, -1, 1, 2)} - set(ids):
        with pytest.raises(DataError, match=f"image {near} is not in the annotations") as caught:
            image_ranks(images(*ids), np.array([ids[0], near], np.int64))
        assert caught.value.where == "detection 1"


def test_images_without_detections_and_detections_without_images() -> None:
    assert len(image_ranks(images(1, 2), np.zeros(0, np.int64))) == 0
    with pytest.raises(DataError, match="image 5 is not in"):
        image_ranks(images(), np.array([5]))
    with pytest.raises(DataError, match="image id 2 is there twice"):
        image_ranks(images(2, 1, 2), np.zeros(0, np.int64))


@pytest.mark.parametrize("count", [15, 16, 17, 31, 32, 33, 64, 65, 100])
def test_runs_of_any_length_are_sorted_stably(count: int) -> None:
    """Groups longer than 16 are merged from sorted runs."""
    rng = np.random.default_rng(count)
    zeros = np.zeros(count, np.int64)
    for scores in (
        rng.integers(0, 4, count) / 4,
        np.arange(count) / count,
        -np.arange(count) / count,
        np.full(count, -0.0),
    ):
        detections = Detections(zeros, zeros, scores, rng.random((count, 4)))
        table = detection_table(images(0), detections, zeros, 1, count)
        assert table.rows.tolist() == np.argsort(-scores, kind="stable").tolist()
