"""Lines lie around objects, never over them; masks spare objects."""

import numpy as np
import pytest

from sodkit.data.records import Annotations, Category, ImageRecord, Polygons
from sodkit.geometry.rotated import obb_to_corners
from sodkit.viz.draw import (
    BoxLayer,
    View,
    box_corners,
    draw_boxes,
    ignored_polygons,
    line_width,
    mask_ignored,
    outline_ignored,
)
from sodkit.viz.palette import PALETTE, class_colour

GREY = 128


def canvas(height=60, width=80):
    return np.full((height, width, 3), GREY, np.uint8)


def inside(shape, corners):
    """Pixels that lie wholly in a convex box (4, 2)."""
    mask = np.ones(shape[:2], bool)
    for dx, dy in ((0, 0), (1, 0), (1, 1), (0, 1)):
        y, x = np.mgrid[: shape[0], : shape[1]] + np.array([dy, dx])[:, None, None]
        for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            mask &= (b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0]) >= 0
    return mask


BOXES = {
    "upright": np.array([[[20.0, 15], [28, 15], [28, 23], [20, 23]]]),
    "tilted": obb_to_corners(np.array([[40.3, 30.2, 16, 8, 0.6]])),
}


@pytest.mark.parametrize("line", ["closed", "corners", "dashed"])
@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize("name", BOXES)
def test_objects_stay_untouched_and_are_surrounded(name, width, line):
    image, corners = canvas(), BOXES[name]
    draw_boxes(image, View(), [BoxLayer(corners, np.array([2]), width, line)])
    changed = (image != GREY).any(axis=2)
    object_pixels = inside(image.shape, corners[0])
    assert not changed[object_pixels].any()
    rows, columns = np.nonzero(changed)
    low, high = corners[0].min(axis=0), corners[0].max(axis=0)
    assert columns.min() < low[0] - 1
    assert rows.min() < low[1] - 1
    assert columns.max() > high[0]
    assert rows.max() > high[1]
    assert columns.min() > low[0] - 16
    near = np.abs(image.astype(int) - class_colour(2)).max(axis=2) < 40
    assert near.any()


def test_brackets_leave_the_middle_of_the_sides_open():
    image = canvas()
    draw_boxes(image, View(), [BoxLayer(BOXES["upright"], np.array([0]), line="corners")])
    assert (image[:, 24] == GREY).all()
    assert (image[19, :] == GREY).all()


def test_a_view_moves_and_magnifies():
    image = canvas(120, 120)
    draw_boxes(image, View(15, 10, 8), [BoxLayer(BOXES["upright"], np.array([0]))])
    changed = (image != GREY).any(axis=2)
    assert not changed[40:104, 40:104].any()
    assert changed[36:40, 60].any()
    assert changed[104:108, 60].any()


def test_nothing_to_draw_changes_nothing():
    image = canvas()
    draw_boxes(image, View(), [BoxLayer(np.zeros((0, 4, 2)), np.zeros(0, np.int64))])
    mask_ignored(image, View(), [], np.zeros((0, 4, 2)))
    assert (image == GREY).all()


def test_boxes_far_outside_do_not_fail():
    image = canvas()
    far = BOXES["upright"] + 1e9
    draw_boxes(image, View(), [BoxLayer(far, np.array([0]))])
    assert (image == GREY).all()


def test_mask_darkens_the_region_but_not_objects_in_it():
    image = canvas()
    region = np.array([[10.0, 5], [50, 5], [50, 45], [10, 45]])
    mask_ignored(image, View(), [region], BOXES["upright"])
    object_pixels = inside(image.shape, BOXES["upright"][0] * 0.9 + 0.1 * np.array([24, 19]))
    assert (image[object_pixels] == GREY).all()
    assert image[30:40, 15:45].mean() < GREY - 30
    assert (image[50:, 60:] == GREY).all()


def test_outline_leaves_the_inside_of_the_region():
    image = canvas()
    outline_ignored(image, View(), [np.array([[10.0, 5], [50, 5], [50, 45], [10, 45]])])
    assert (image[8:42, 13:47] == GREY).all()
    assert (image[5, 20:40] != GREY).any()


def oriented(polygons):
    count = len(polygons)
    return Annotations(
        images=(ImageRecord(1, "a.jpg", 80, 60),),
        categories=(Category(1, "thing"),),
        ids=np.arange(count),
        image_index=np.zeros(count, np.int64),
        labels=np.full(count, -1),
        xywh=np.tile([10.0, 5, 40, 40], (count, 1)),
        area=np.full(count, 1600.0),
        ignore=np.ones(count, bool),
        obb=np.tile([30.0, 25, 40, 40, 0], (count, 1)),
        polygons=Polygons(
            np.concatenate([*polygons, np.zeros((0, 2))]),
            np.cumsum([0] + [len(p) for p in polygons]),
        ),
    )


def test_ignored_polygons_keep_all_their_corners():
    six = np.array([[10.0, 5], [30, 8], [50, 5], [50, 45], [30, 40], [10, 45]])
    found = ignored_polygons(oriented([six, np.zeros((0, 2))]))
    assert np.array_equal(found[0], six)
    assert found[1].shape == (4, 2)


def test_upright_corners_go_clockwise():
    boxes = oriented([np.zeros((0, 2))])
    flat = Annotations(
        boxes.images, boxes.categories, boxes.ids, boxes.image_index, boxes.labels,
        np.array([[1.0, 2, 3, 4]]), boxes.area, boxes.ignore,
    )  # fmt: skip
    assert box_corners(flat).tolist() == [[[1, 2], [4, 2], [4, 6], [1, 6]]]


def test_lines_grow_with_the_image():
    assert [line_width(800, 800), line_width(4000, 3000), line_width(100, 9000)] == [1, 2, 3]


def test_colours_differ_also_without_red_and_green():
    """To a red-green blind eye red and green are one channel: any two of the first eight colours
    still differ by 30 or more over that and blue."""
    colours = np.array(PALETTE[:8], float)
    seen = np.stack([0.625 * colours[:, 0] + 0.375 * colours[:, 1], colours[:, 2]], axis=1)
    distance = np.abs(seen[:, None] - seen[None]).sum(axis=2) + 1e3 * np.eye(8)
    assert distance.min() >= 30
    assert len(set(PALETTE)) == len(PALETTE)


@pytest.mark.parametrize("line", ["corners", "dashed"])
def test_huge_boxes_do_not_fail(line):
    image = canvas()
    huge = np.array([[[-1e9, -1e9], [1e9, -1e9], [1e9, 1e9], [-1e9, 1e9]]])
    draw_boxes(image, View(), [BoxLayer(huge, np.array([0]), line=line)])
    assert image.shape == canvas().shape


def test_dashes_end_in_the_corners_and_leave_spaces():
    image = canvas()
    draw_boxes(image, View(), [BoxLayer(BOXES["upright"], np.array([0]), line="dashed")])
    faint = np.abs(image[12].astype(int) - GREY).max(axis=1)
    assert faint[[19, 28]].min() > 2 * faint[[23, 24]].max()
