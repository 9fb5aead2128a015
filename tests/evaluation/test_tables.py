import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sodkit.data.records import Annotations, Category, Detections, ImageRecord
from sodkit.evaluation.tables import counting_order, descending_order, detection_table


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
