"""Which part of a confusion matrix a page shows."""

import numpy as np

from sodkit.evaluation.confusion import Confusion
from sodkit.viz.confusion_table import LISTED, Confused, confusion_table

MATRIX = np.array([
    [9, 0, 0, 0, 1],
    [0, 5, 3, 0, 0],
    [0, 0, 4, 0, 4],
    [0, 1, 0, 7, 0],
    [2, 0, 0, 6, 0],
])  # fmt: skip
CONFUSION = Confusion(("a", "b", "c", "d"), MATRIX, 0.5, 0.3, 0)


def test_few_classes_are_all_shown():
    table = confusion_table(CONFUSION)
    assert (table.classes, table.of) == (("a", "b", "c", "d"), 4)
    assert [[count for count, _ in row] for row in table.rows] == MATRIX.tolist()
    assert [share for _, share in table.rows[1]] == [0, 5 / 8, 3 / 8, 0, 0]
    assert [share for _, share in table.rows[4]] == [0.25, 0, 0, 0.75, 0]


def test_of_many_those_that_are_confused_most():
    table = confusion_table(CONFUSION, 2)
    assert (table.classes, table.of) == (("b", "c"), 4)
    assert table.rows == (
        ((5, 5 / 8), (3, 3 / 8), (0, 0.0)),
        ((0, 0.0), (4, 0.5), (4, 0.5)),
        ((0, 0.0), (0, 0.0), (0, 0.0)),
    )


def test_of_equally_confused_classes_the_larger():
    still = Confusion(("a", "b", "c"), np.diag([1, 3, 2, 0]), 0.5, 0.3, 0)
    assert confusion_table(still, 2).classes == ("b", "c")


def test_no_classes():
    table = confusion_table(Confusion((), np.zeros((1, 1), np.int64), 0.5, 0.3, 0))
    assert table.rows == (((0, 0.0),),)
    assert table.largest == ()


def test_the_largest_confusions_are_listed():
    largest = confusion_table(CONFUSION, 1).largest
    assert largest == (Confused("b", "c", 3, 3 / 8), Confused("d", "b", 1, 1 / 8))


def test_a_list_of_confusions_has_an_end():
    """Of equal ones those that come first."""
    equal = Confusion(tuple("abcde"), np.full((6, 6), 2), 0.5, 0.3, 0)
    largest = confusion_table(equal).largest
    assert len(largest) == LISTED
    assert [(one.truth, one.taken_for) for one in largest[:5]] == [
        ("a", "b"), ("a", "c"), ("a", "d"), ("a", "e"), ("b", "a"),
    ]  # fmt: skip
