"""More than half of the own area inside one region: upright, oriented, and mixed."""

import numpy as np
import pytest
import shapely
import torch
from hypothesis import given
from hypothesis import strategies as st

from sodkit.geometry.rotated import obb_to_corners
from sodkit.models.parts.ignored import in_padding, inside, points_inside


def oriented(rng, count, low, high):
    sides = rng.uniform(low, high, (count, 2))
    return np.hstack(
        [rng.uniform(0, 60, (count, 2)), -np.sort(-sides), rng.uniform(-1.57, 1.57, (count, 1))]
    )


def polygons(boxes):
    if boxes.shape[1] == 4:
        return shapely.box(*boxes.T)
    return shapely.polygons(obb_to_corners(boxes))


@given(st.integers(0, 10_000), st.sampled_from([4, 5]), st.sampled_from([4, 5]))
def test_as_shapely_has_it(seed, columns, region_columns):
    rng = np.random.default_rng(seed)
    boxes, regions = oriented(rng, 40, 2, 20), oriented(rng, 6, 10, 50)
    boxes, regions = (
        rows if want == 5 else np.hstack([rows[:, :2], rows[:, :2] + rows[:, 2:4]])
        for rows, want in ((boxes, columns), (regions, region_columns))
    )
    boxes, regions = boxes.astype(np.float32), regions.astype(np.float32)
    a, b = polygons(boxes.astype(float)), polygons(regions.astype(float))
    share = shapely.area(shapely.intersection(a[:, None], b)) / shapely.area(a)[:, None]
    found = inside(torch.from_numpy(boxes), torch.from_numpy(regions)).numpy()
    clear = np.abs(share - 0.5).min(axis=1) > 1e-4
    assert (found == (share > 0.5).any(axis=1))[clear].all()


def test_beside_a_tilted_region():
    """A road at 45 degrees does not hide what lies in the square around it."""
    road = torch.tensor([[50.0, 50.0, 100.0, 4.0, torch.pi / 4]])
    anchors = torch.tensor([[30.0, 60.0, 38.0, 68.0], [48.0, 48.0, 51.0, 51.0]])
    assert inside(anchors, road).tolist() == [False, True]


@pytest.mark.parametrize("columns", [4, 5])
def test_in_blocks_or_at_once(monkeypatch, columns):
    rng = np.random.default_rng(0)
    boxes = torch.from_numpy(oriented(rng, 50, 2, 20)[:, :columns])
    if columns == 4:
        boxes[:, 2:] += boxes[:, :2]
    regions = torch.from_numpy(oriented(rng, 20, 5, 15))
    at_once = inside(boxes, regions)
    assert at_once.any()
    assert not at_once.all()
    monkeypatch.setattr("sodkit.models.kernels.blocks.CELLS", 60)
    assert torch.equal(inside(boxes, regions), at_once)


def test_nothing():
    assert inside(torch.zeros(0, 4), torch.zeros(3, 5)).shape == (0,)
    assert inside(torch.ones(2, 5), torch.zeros(0, 4)).tolist() == [False, False]


@pytest.mark.parametrize("columns", [4, 5])
def test_points_in_regions_as_shapely_has_it(columns):
    rng = np.random.default_rng(columns)
    regions = oriented(rng, 6, 10, 50)
    if columns == 4:
        regions = np.hstack([regions[:, :2], regions[:, :2] + regions[:, 2:4]])
    points = rng.uniform(-10, 70, (500, 2)).astype(np.float32)
    areas, places = polygons(regions), shapely.points(points)
    want = shapely.intersects(areas[:, None], places).any(0)
    clear = shapely.distance(shapely.boundary(areas)[:, None], places).min(0) > 1e-4
    found = points_inside(torch.from_numpy(points), torch.from_numpy(regions.astype(np.float32)))
    assert 50 < want.sum() < 450
    np.testing.assert_array_equal(found.numpy()[clear], want[clear])


def test_the_border_of_a_region_is_in_it():
    points = torch.tensor([[2.0, 3.0], [6.0, 9.0], [1.99, 5.0], [4.0, 9.01]])
    region = torch.tensor([[2.0, 3.0, 6.0, 9.0]])
    assert points_inside(points, region).tolist() == [True, True, False, False]
    assert not points_inside(points, region[:0]).any()


def test_an_image_s_own_padding_counts_as_its_own():
    points = torch.tensor([[63.0, 31.0], [64.0, 0.0], [0.0, 32.0], [50.0, 20.0]])
    assert in_padding(points, (30, 33)).tolist() == [False, True, True, False]
    assert in_padding(points, (33, 96)).tolist() == [False] * 4
