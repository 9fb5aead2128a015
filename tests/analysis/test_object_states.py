"""Each object is in exactly one state: that of the first step it does not pass after its last."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from sodkit.analysis.object_states import (
    SIZES,
    STATES,
    Meetings,
    Steps,
    found_objects,
    names_of_all,
    object_states,
    states_as_dict,
)
from sodkit.data.records import Annotations, Category, Detections, ImageRecord, as_boxes
from sodkit.geometry.rotated import obb_to_xywh

EVERY = np.array(list(product((False, True), repeat=6)))
"""Every way through the six steps, (64, 6)."""


def steps_of(passed: np.ndarray, *, without: tuple[int, ...] = ()) -> Steps:
    return Steps(*(None if k in without else passed[:, k] for k in range(6)))


@pytest.mark.parametrize("without", [(), (0,), (1,), (0, 1)])
def test_an_object_is_where_its_last_step_ends(without: tuple[int, ...]) -> None:
    area = np.full(len(EVERY), 100.0)
    states = object_states(steps_of(EVERY, without=without), area, np.ones(len(EVERY), np.bool_))
    assert list(states.names) == [name for k, name in enumerate(STATES) if k not in without]
    for passed, state in zip(EVERY, states.state, strict=True):
        left = [k for k in range(6) if k not in without]
        ahead = [k for k in left if not any(passed[j] for j in left if j >= k)]
        assert states.names[state] == (STATES[ahead[0]] if ahead else "found")


def test_shares_of_every_size_add_up_to_1() -> None:
    rng = np.random.default_rng(0)
    passed, area = rng.random((200, 6)) < 0.4, rng.choice([50.0, 144, 145, 900, 4000], 200)
    counts = rng.random(200) < 0.9
    states = object_states(steps_of(passed), area, counts)
    sizes = {"eS": area <= 144, "rS": area == 145, "gS": area == 900, "N": area < 0,
             "larger": area == 4000, "all": area > 0}  # fmt: skip
    assert tuple(sizes) == SIZES
    for size, chosen in sizes.items():
        assert states.count(size) == (chosen & counts).sum()
        shares = list(states.shares(size).values())
        if size == "N":
            assert shares == [None] * 7
        else:
            assert sum(share or 0 for share in shares) == pytest.approx(1)
    assert states_as_dict(states)["eS"] == {
        "objects": states.count("eS"), "states": states.shares("eS")
    }  # fmt: skip


def test_states_of_several_detectors() -> None:
    none = np.zeros(0)
    dense, points = (
        object_states(steps_of(EVERY[:0], without=left), none, none > 0) for left in ((1,), (0, 1))
    )
    assert names_of_all([points, dense]) == [n for n in STATES if n != "no proposal"]


def three() -> Annotations:
    """Two objects that touch in image 8, the second of another class; an ignored one in image 5."""
    xywh = np.array([[10.0, 10, 20, 20], [30, 10, 20, 20], [10, 10, 20, 20]])
    return Annotations(
        images=(ImageRecord(8, "a.png", 100, 90), ImageRecord(5, "b.png", 100, 90)),
        categories=(Category(1, "a"), Category(2, "b")),
        ids=np.arange(3),
        image_index=np.array([0, 0, 1]),
        labels=np.array([0, 1, 0]),
        xywh=xywh,
        area=xywh[:, 2] * xywh[:, 3],
        ignore=np.array([False, False, True]),
    )


def boxes(rows: list[list[float]], scores: list[float], labels: list[int]) -> Detections:
    found = np.array(rows, np.float64).reshape(-1, 4)
    return Detections(np.full(len(found), 8), np.array(labels, np.int64), np.array(scores), found)


def test_boxes_meet_from_half_on_and_proposals_above() -> None:
    meetings = Meetings(three(), 0.3)
    half = [10.0, 10, 20, 10]
    meetings.add_proposals(0, boxes([half], [0.9], [0]))
    assert not meetings.proposal.any()
    meetings.add_proposals(0, boxes([[10, 10, 20, 10.5]], [0.0], [0]))
    assert meetings.proposal.tolist() == [True, False, False]
    meetings.add_boxes(0, boxes([half, [31, 10, 20, 20]], [0.3, 0.8], [0, 0]))
    assert meetings.box.tolist() == [True, True, False]
    assert meetings.score.tolist() == [False, True, False]  # .3 is not above .3
    assert not meetings.own.any()
    meetings.add_boxes(1, boxes([], [], []))
    meetings.add_boxes(0, boxes([half], [0.31], [0]))
    assert meetings.own.tolist() == [True, False, False]
    assert meetings.box.tolist() == [True, True, False]


def test_oriented_boxes_meet_by_their_own_overlap() -> None:
    """What encloses a turned box overlaps it by less than half, what lies along it by more."""
    obb = np.array([[50.0, 50, 40, 8, np.pi / 4]])
    one = three().take(np.arange(1))
    one = replace(one, xywh=obb_to_xywh(obb), obb=obb)
    meetings = Meetings(one, 0.1)
    upright = boxes(obb_to_xywh(obb).tolist(), [0.9], [0])
    meetings.add_boxes(0, as_boxes(upright, "oriented"))
    assert not meetings.box.any()
    meetings.add_boxes(0, replace(upright, obb=obb + [1, 1, 0, 0, 0.05]))
    assert meetings.own.all()


def test_found_are_those_that_detections_are_matched_with() -> None:
    annotations = three()
    one = boxes([[11, 10, 20, 20]], [0.9], [0])
    assert found_objects(annotations, one).tolist() == [True, False, False]
    large = replace(annotations, area=annotations.area * 100)  # of every size
    both = boxes([[11, 10, 20, 20], [30, 10, 20, 20]], [0.9, 0.1], [0, 1])
    assert found_objects(large, both).tolist() == [True, True, False]
    assert not found_objects(annotations, boxes([[11, 10, 20, 20]], [0.9], [1])).any()
    twins = annotations.take(np.array([0, 0, 2]))  # one detection is matched with one object
    assert found_objects(twins, one).sum() == 1
    assert not found_objects(annotations, boxes([], [], [])).any()
