from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sodkit.data.records import REGION, Annotations, Category, ImageRecord, Polygons
from sodkit.errors import UsageError
from sodkit.geometry.rotated import corners_to_obb, obb_to_corners
from sodkit.tiling.conservation import OUTCOMES, best_outcomes, tally
from sodkit.tiling.cuts import Status, cut
from sodkit.tiling.settings import DEFAULT, SODA_A, SODA_D, SplitSettings
from sodkit.tiling.split import split_image

SMALL = SplitSettings(size=100, stride=70)


def horizontal(
    boxes: Any, width: int = 300, height: int = 250, labels: Any = None, ignore: Any = None
) -> Annotations:
    xywh = np.array(boxes, np.float64).reshape(-1, 4)
    count = len(xywh)
    label = np.zeros(count, np.int64) if labels is None else np.array(labels, np.int64)
    return Annotations(
        images=(ImageRecord(9, "a.jpg", width, height),),
        categories=(Category(1, "thing"), Category(2, "other")),
        ids=np.arange(1, count + 1),
        image_index=np.zeros(count, np.int64),
        labels=label,
        xywh=xywh,
        area=xywh[:, 2] * xywh[:, 3],
        ignore=(np.zeros(count, np.bool_) if ignore is None else np.array(ignore, np.bool_))
        | (label == REGION),
    )


def oriented(obb: Any, width: int = 300, height: int = 250) -> Annotations:
    boxes = np.array(obb, np.float64).reshape(-1, 5)
    corners = obb_to_corners(boxes)
    low, high = corners.min(axis=1), corners.max(axis=1)
    flat = horizontal(np.concatenate([low, high - low], axis=1), width, height)
    return replace(
        flat,
        area=boxes[:, 2] * boxes[:, 3],
        obb=corners_to_obb(corners),
        polygons=Polygons(corners.reshape(-1, 2), np.arange(len(boxes) + 1) * 4),
    )


def patches(annotations: Annotations, rules: SplitSettings = SMALL) -> dict[Any, Annotations]:
    split = split_image(annotations, 0, np.arange(len(annotations)), rules, "a")
    own = split.annotations
    return {
        image.start: own.take(own.image_index == number) for number, image in enumerate(own.images)
    }


def best(annotations: Annotations, rules: SplitSettings) -> npt.NDArray[np.int64]:
    rows = np.arange(len(annotations))
    return best_outcomes(annotations, rows, split_image(annotations, 0, rows, rules, "a").cuts)


def test_patch_records_know_their_image() -> None:
    split = split_image(horizontal([]), 0, np.arange(0), SMALL, "sub/a")
    first, second = split.annotations.images[:2]
    assert first.file_name == "images/sub/a__100__0___0.jpg"
    assert (second.ori_id, second.ori_file_name, second.start) == (9, "a.jpg", (0, 70))
    assert (second.width, second.height) == (100, 100)


def test_boxes_are_shifted_and_clipped() -> None:
    own = patches(horizontal([[65, 10, 40, 20]]))
    assert own[0, 0].xywh.tolist() == [[65, 10, 35, 20]]
    assert own[0, 0].area.tolist() == [700]
    assert own[70, 0].xywh.tolist() == [[0, 10, 35, 20]]
    assert len(own[0, 150]) == 0


@pytest.mark.parametrize(
    ("rules", "share", "status"),
    [
        (SODA_D, 0.40, Status.IGNORE),
        (SODA_D, 0.41, Status.KEEP),
        (SODA_A, 0.70, Status.KEEP),
        (SODA_A, 0.69, Status.DROP),
        (DEFAULT, 0.50, Status.KEEP),
        (DEFAULT, 0.49, Status.IGNORE),
    ],
)
def test_the_rule_of_the_visible_share(rules: SplitSettings, share: float, status: Status) -> None:
    own = horizontal([[800 - 100 * share, 10, 100, 20]], width=1450, height=800)
    cuts = cut(own, 0, np.arange(1), rules)
    first = cuts.window == 0
    assert cuts.share[first] == pytest.approx([share])
    assert cuts.status[first].tolist() == [status]


@pytest.mark.parametrize(("ignore", "expected"), [("flag", [True]), ("fill", []), ("drop", [])])
def test_regions_follow_the_settings(ignore: Any, expected: list[bool]) -> None:
    own = patches(horizontal([[10, 10, 250, 20]], labels=[REGION]), replace(SMALL, ignore=ignore))
    assert own[0, 0].ignore.tolist() == expected
    if expected:
        assert own[0, 0].xywh.tolist() == [[10, 10, 90, 20]]
        assert own[70, 0].labels.tolist() == [REGION]


def test_an_ignored_object_stays_ignored() -> None:
    own = patches(horizontal([[10, 10, 20, 20]], ignore=[True]))
    assert own[0, 0].ignore.tolist() == [True]
    assert own[0, 0].labels.tolist() == [0]


def test_what_hangs_out_of_the_image_counts_by_what_the_image_shows() -> None:
    own = horizontal([[-30, 10, 40, 20], [290, 10, 40, 20]])
    first, last = patches(own)[0, 0], patches(own)[200, 0]
    assert first.xywh.tolist() == [[0, 10, 10, 20]]
    assert first.ignore.tolist() == [False]
    assert last.xywh.tolist() == [[90, 10, 10, 20]]
    assert [OUTCOMES[i] for i in best(own, SMALL)] == ["whole", "whole"]


def test_an_image_smaller_than_a_patch_is_one_patch() -> None:
    own = patches(horizontal([[30, 30, 30, 10]], width=50, height=40))
    assert list(own) == [(0, 0)]
    assert own[0, 0].images[0].width == 100
    assert own[0, 0].xywh.tolist() == [[30, 30, 20, 10]]


def test_corners_are_neither_clipped_nor_bent() -> None:
    own = oriented([[100, 50, 40, 10, 0.6]])
    split = split_image(own, 0, np.arange(1), SMALL, "a")
    assert own.obb is not None
    assert own.polygons is not None
    shown = 0
    for start, patch in patches(own).items():
        assert patch.obb is not None
        assert patch.polygons is not None
        if not len(patch):
            continue
        shown += 1
        np.testing.assert_array_equal(patch.polygons[0], own.polygons[0] - start)
        np.testing.assert_allclose(patch.obb[0], own.obb[0] - [*start, 0, 0, 0])
        np.testing.assert_array_equal(patch.xywh[0, 2:], own.xywh[0, 2:])
    assert shown == 2
    assert split.truncated.tolist() == [True, False]


def test_a_polygon_that_crosses_itself_is_taken_by_its_hull() -> None:
    own = oriented([[50, 50, 40, 20, 0]])
    assert own.polygons is not None
    bow = own.polygons.points[[0, 2, 1, 3]]
    own = replace(own, polygons=Polygons(bow, own.polygons.offsets))
    cuts = cut(own, 0, np.arange(1), SMALL)
    assert cuts.share[cuts.window == 0].tolist() == [1.0]


@pytest.mark.parametrize(
    ("centre", "window"),
    [((100, 100), (0, 0)), ((70, 70), (70, 70)), ((100, 85), (0, 0)), ((85, 100), (0, 0))],
    ids=["lower right corner", "upper left corner", "right side", "lower side"],
)
def test_a_polygon_over_the_end_of_a_window_is_not_whole(centre: Any, window: Any) -> None:
    own = oriented([[*centre, 20, 20, 0]])
    cuts = cut(own, 0, np.arange(1), SMALL)
    at = cuts.starts[cuts.window].tolist().index(list(window))
    part = 0.25 if centre[0] == centre[1] else 0.5
    assert cuts.share[at] == pytest.approx(part)
    assert not cuts.whole[at]


def test_a_sliver_shows_nothing() -> None:
    own = patches(horizontal([[60, 10, 10.0000001, 20]]))
    assert len(own[0, 0]) == 1
    assert len(own[70, 0]) == 0


def test_empty_patches() -> None:
    own = horizontal([[10, 10, 20, 20], [200, 100, 80, 80]], labels=[0, REGION])
    assert len(patches(own)) == 16
    assert list(patches(own, replace(SMALL, empty="skip"))) == [(0, 0)]
    assert len(patches(own, replace(SMALL, empty=1.0))) == 16
    assert len(patches(own, replace(SMALL, empty=0.0))) == 1
    many = horizontal([], width=1500, height=1500)
    share = len(patches(many, replace(SMALL, empty=0.25))) / len(patches(many))
    assert share == pytest.approx(0.25, abs=0.05)


def test_tally_counts_by_class_size_and_outcome() -> None:
    own = horizontal([[10, 10, 12, 12], [10, 50, 20, 20.1], [95, 10, 110, 20]], labels=[0, 1, 1])
    rules = replace(SMALL, min_visible=1.0)
    counts = tally(own, np.arange(3), best(own, rules))
    assert counts.sum() == 3
    assert counts[0, 0, OUTCOMES.index("whole")] == 1
    assert counts[1, 2, OUTCOMES.index("whole")] == 1
    assert counts[1, 4, OUTCOMES.index("ignored")] == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 0},
        {"stride": 0},
        {"stride": 801},
        {"min_visible": 1.1},
        {"min_visible": float("nan")},
        {"ignore": "paint"},
        {"truncated": "keep"},
        {"empty": 1.5},
        {"empty": "some"},
        {"format": "gif"},
        {"quality": 0},
    ],
)
def test_settings_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="out of range"):
        replace(DEFAULT, **wrong)


profiles = st.sampled_from(
    [SMALL, replace(SODA_D, size=100, stride=70), replace(SODA_A, size=100, stride=70)]
)


@st.composite
def scenes(draw: st.DrawFn) -> Annotations:
    """Objects no wider or higher than the overlap of 30 px, anywhere in an image of any size."""
    width, height = draw(st.integers(20, 400)), draw(st.integers(20, 400))
    side, place = st.floats(2, 30), st.floats(0, 1)
    boxes = []
    for _ in range(draw(st.integers(0, 8))):
        w, h = min(draw(side), width), min(draw(side), height)
        boxes.append([draw(place) * (width - w), draw(place) * (height - h), w, h])
    return horizontal(boxes, width, height)


@settings(deadline=None, max_examples=50)
@given(scenes(), profiles)
def test_what_is_smaller_than_the_overlap_is_whole_in_a_patch(
    own: Annotations, rules: SplitSettings
) -> None:
    assert (best(own, rules) == OUTCOMES.index("whole")).all()


@settings(deadline=None, max_examples=50)
@given(scenes(), profiles)
def test_shifting_whole_objects_back_gives_the_objects(
    own: Annotations, rules: SplitSettings
) -> None:
    split = split_image(own, 0, np.arange(len(own)), rules, "a")
    got = split.annotations
    whole = got.take(~split.truncated)
    starts = np.array([image.start for image in got.images], np.float64)[whole.image_index]
    back = whole.xyxy + np.concatenate([starts, starts], axis=1)
    rows = split.cuts.rows[split.cuts.whole]
    np.testing.assert_allclose(back, own.xyxy[rows], atol=1e-9)
    assert set(rows.tolist()) == set(range(len(own)))


@st.composite
def tilted_scenes(draw: st.DrawFn) -> Annotations:
    """Oriented objects whose enclosing boxes fit the overlap of 30 px, also hanging out of it."""
    boxes = [
        [
            draw(st.floats(0, 300)),
            draw(st.floats(0, 250)),
            draw(st.floats(4, 20)),
            draw(st.floats(4, 20)),
            draw(st.floats(-1.5, 1.5)),
        ]
        for _ in range(draw(st.integers(0, 6)))
    ]
    return oriented(boxes)


@settings(deadline=None, max_examples=25)
@given(tilted_scenes(), profiles)
def test_oriented_objects_smaller_than_the_overlap_are_never_lost(
    own: Annotations, rules: SplitSettings
) -> None:
    assert (best(own, rules) == OUTCOMES.index("whole")).all()
    for patch in patches(own, rules).values():
        assert patch.obb is not None
        assert patch.polygons is not None
        corners = patch.polygons.points.reshape(-1, 4, 2)
        again = corners_to_obb(corners)
        np.testing.assert_allclose(again[:, :2], patch.obb[:, :2], atol=1e-6)


@settings(deadline=None, max_examples=50)
@given(scenes(), st.integers(30, 100), st.sampled_from(["ignore", "drop"]))
def test_shares_add_up_over_windows_side_by_side(
    own: Annotations, size: int, truncated: Any
) -> None:
    """Without overlap the shares of an object are parts of it: they sum to one, but for slivers."""
    image = own.images[0]
    wide, high = -(-image.width // size) * size, -(-image.height // size) * size
    own = replace(own, images=(replace(image, width=wide, height=high),))
    rules = SplitSettings(size=size, stride=size, truncated=truncated)
    total = np.zeros(len(own))
    cuts = cut(own, 0, np.arange(len(own)), rules)
    np.add.at(total, cuts.rows, cuts.share)
    np.testing.assert_allclose(total, 1, atol=5e-3)


def test_a_polygon_whose_frame_alone_meets_a_window_shows_nothing_there() -> None:
    """A thin diagonal from the left window to the lower one passes the first one's corner by."""
    own = oriented([[100, 100, 90, 4, -np.pi / 4]])
    assert own.polygons is not None
    own = replace(own, polygons=Polygons(own.polygons.points + 4, own.polygons.offsets))
    cuts = cut(own, 0, np.arange(1), SplitSettings(size=100, stride=100))
    seen = {tuple(cuts.starts[window]) for window in cuts.window.tolist()}
    assert seen == {(100, 0), (0, 100), (100, 100)}
    assert cuts.share.sum() == pytest.approx(1)
    assert (cuts.share > 0).all()


def test_a_polygon_without_area_is_shown_where_it_lies_whole() -> None:
    own = oriented([[50, 50, 40, 20, 0], [100, 50, 40, 20, 0]])
    assert own.polygons is not None
    points = own.polygons.points.copy()
    points[:, 1] = 50  # all corners on a line
    cuts = cut(
        replace(own, polygons=Polygons(points, own.polygons.offsets)), 0, np.arange(2), SMALL
    )
    assert (cuts.share == 1).all()
    assert cuts.rows[cuts.window == 0].tolist() == [0]
