"""Synthetic scenes: reproducible, as labelled as they look, sized like SODA."""

import cv2
import numpy as np
import pytest

from sodkit.data.records import REGION
from sodkit.geometry.boxes import iou
from sodkit.synthetic import CATEGORIES, make_scene
from sodkit.synthetic.layout import enclosing
from sodkit.synthetic.painting import Pose, Sun, outline, paint
from sodkit.synthetic.shapes import CLUTTER, OBJECTS

KINDS = ("horizontal", "oriented")


@pytest.fixture(scope="module", params=KINDS)
def scene(request):
    return make_scene(7, 1500, 1100, request.param)


@pytest.fixture(scope="module")
def four():
    """The annotations of four large scenes."""
    return [make_scene(seed, 1600, 1200)[1] for seed in range(4)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_bytes(kind):
    first, second = make_scene((3, 4), 400, 300, kind), make_scene((3, 4), 400, 300, kind)
    assert first[0].tobytes() == second[0].tobytes()
    assert first[1].xywh.tobytes() == second[1].xywh.tobytes()
    other = make_scene((3, 5), 400, 300, kind)
    assert first[0].tobytes() != other[0].tobytes()


def test_scene_has_the_stated_form(scene):
    image, annotations = scene
    assert image.shape == (1100, 1500, 3)
    assert image.dtype == np.uint8
    assert (annotations.images[0].width, annotations.images[0].height) == (1500, 1100)
    assert annotations.categories == CATEGORIES
    assert len(CATEGORIES) >= 6
    assert len(set(annotations.ids.tolist())) == len(annotations)


def test_boxes_lie_in_the_image(scene):
    image, annotations = scene
    xyxy = annotations.xyxy
    assert (xyxy[:, :2] >= 0).all()
    assert (xyxy[:, 2:] <= [image.shape[1], image.shape[0]]).all()
    assert (annotations.xywh[:, 2:] > 0).all()


def test_size_classes_are_in_proportion(four):
    """Over four scenes, within three points of the shares aimed at."""
    areas = [annotations.area[~annotations.ignore] for annotations in four]
    area = np.concatenate(areas)
    assert area.max() <= 2000
    assert np.sqrt(area.min()) >= 5
    shares = np.bincount(np.digitize(area, [144, 400, 1024]), minlength=4) / len(area)
    assert np.allclose(shares, [0.25, 0.35, 0.25, 0.15], atol=0.03)


def test_density_and_spread():
    """190 to 290 objects per 2048 x 1536 px; hardly a 384 px patch without an object."""
    _, annotations = make_scene(1, 2048, 1536)
    counted = annotations.take(~annotations.ignore)
    assert 190 <= len(counted) <= 290
    centres = counted.xywh[:, :2] + counted.xywh[:, 2:] / 2
    cells, _, _ = np.histogram2d(
        centres[:, 0], centres[:, 1], bins=[5, 4], range=[[0, 2048], [0, 1536]]
    )
    assert (cells > 0).mean() >= 0.9
    assert np.median(cells) >= 3


def test_every_class_regions_and_ignored_objects_occur(four):
    label = np.concatenate([annotations.labels for annotations in four])
    flag = np.concatenate([annotations.ignore for annotations in four])
    assert set(label.tolist()) == {REGION, *range(len(CATEGORIES))}
    assert flag[label == REGION].all()
    assert 0 < flag[label != REGION].mean() < 0.15


def test_upright_objects_do_not_overlap(four):
    for annotations in four:
        overlap = iou(annotations.xyxy, annotations.xyxy)
        np.fill_diagonal(overlap, 0)
        assert overlap.max() == 0


def test_oriented_columns_agree():
    """The corners are those of obb, whose area is annotated; angles are canonical."""
    _, annotations = make_scene(12, 1500, 1100, "oriented")
    obb, polygons = annotations.obb, annotations.polygons
    assert obb is not None
    assert polygons is not None
    assert (obb[:, 2] >= obb[:, 3]).all()
    assert (obb[:, 4] >= -np.pi / 2).all()
    assert (obb[:, 4] < np.pi / 2).all()
    assert np.allclose(annotations.area, obb[:, 2] * obb[:, 3], atol=0.01)
    for row in np.flatnonzero(~annotations.is_region):
        expected = np.asarray(cv2.boxPoints((obb[row, :2], obb[row, 2:4], np.rad2deg(obb[row, 4]))))
        gaps = np.abs(polygons[row][:, None] - expected[None]).max(axis=2).min(axis=1)
        assert gaps.max() < 0.02
        assert np.allclose(enclosing(polygons[row])[:2], annotations.xywh[row, :2], atol=0.02)
    corners = {len(polygons[row]) for row in np.flatnonzero(annotations.is_region)}
    assert corners <= {4, 6}


def test_empty_scene_has_clutter_but_no_annotations():
    image, annotations = make_scene(5, 500, 400, empty=True)
    assert len(annotations) == 0
    assert image.std() > 5


def test_too_small_a_scene_is_refused():
    with pytest.raises(ValueError, match="at least 128"):
        make_scene(0, 100, 500)


@pytest.mark.parametrize("angle", [0.0, 0.7, np.pi / 2, -2.5])
@pytest.mark.parametrize("name", OBJECTS)
def test_what_is_painted_fills_its_box(name, angle):
    """Half-covered pixels reach to within a pixel of the annotated box, none lie outside it."""
    shape = OBJECTS[name](np.random.default_rng(0))
    pose = Pose(40.3, 39.8, 30.0, 30.0 / shape.aspect, angle)
    black, white = np.zeros((80, 80, 3), np.uint8), np.full((80, 80, 3), 255, np.uint8)
    for image in (black, white):
        paint(image, shape, pose, Sun(1.0, 0.0, 0.0))
    # what shows of the ground is what differs between the two
    covered = 1 - (white.astype(float) - black).mean(axis=2) / 255
    rows, columns = np.nonzero(covered > 0.5)
    painted = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    box = enclosing(outline(shape, pose))
    # the nose of a plane or boat is thinner than a pixel
    assert np.abs(painted - box).max() <= 1.6
    rows, columns = np.nonzero(covered > 0.1)
    assert columns.min() >= np.floor(box[0] - 0.5)
    assert rows.min() >= np.floor(box[1] - 0.5)
    assert columns.max() <= np.ceil(box[2] + 0.5)
    assert rows.max() <= np.ceil(box[3] + 0.5)


@pytest.mark.parametrize("draw", [*OBJECTS.values(), *CLUTTER])
def test_shapes_touch_all_sides_of_the_unit_square(draw):
    shape = draw(np.random.default_rng(1))
    points = np.concatenate(shape.silhouette)
    assert np.allclose(points.min(axis=0), -0.5, atol=1e-9)
    assert np.allclose(points.max(axis=0), 0.5, atol=1e-9)


def test_objects_stand_out_from_the_ground():
    """Inside an object's box the image departs from its surroundings for nearly all objects."""
    image, annotations = make_scene(21, 1500, 1100)
    grey = image.astype(np.float64)
    differs = []
    for x, y, w, h in annotations.take(~annotations.ignore).xywh:
        x0, y0, x1, y1 = int(x), int(y), int(np.ceil(x + w)), int(np.ceil(y + h))
        inside = grey[y0:y1, x0:x1].reshape(-1, 3)
        around = grey[max(y0 - 6, 0) : y1 + 6, max(x0 - 6, 0) : x1 + 6].reshape(-1, 3)
        centre = np.median(around, axis=0)
        differs.append(np.abs(inside - centre).max(axis=1).mean())
    assert np.mean(np.array(differs) > 20) > 0.9
