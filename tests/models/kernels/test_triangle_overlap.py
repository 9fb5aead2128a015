import numpy as np
import shapely
import torch

from sodkit.models.kernels.triangle_overlap import triangle_overlap
from sodkit.models.parts.rotated_coders import corners


def some(count):
    """Return oriented boxes and triangles about them, of either sense, some far from 0."""
    rng = np.random.default_rng(0)
    boxes = np.c_[
        rng.uniform(0, 30, (count, 2)), rng.uniform(2, 20, (count, 2)), rng.uniform(-2, 2, count)
    ]
    triangles = rng.uniform(-5, 35, (count, 3, 2))
    shift = np.where(np.arange(count) % 2, 12000.0, 0.0)
    boxes[:, :2] += shift[:, None]
    return corners(torch.from_numpy(boxes)), torch.from_numpy(triangles + shift[:, None, None])


def test_areas_are_those_of_shapely():
    quads, triangles = some(400)
    wanted = shapely.area(
        shapely.intersection(shapely.polygons(quads.numpy()), shapely.polygons(triangles.numpy()))
    )
    np.testing.assert_allclose(triangle_overlap(quads, triangles), wanted, atol=1e-7)
    assert (wanted > 1).sum() > 100
    assert (wanted == 0).sum() > 20


def test_a_triangle_without_area_shares_nothing():
    quads = corners(torch.tensor([[5.0, 5, 10, 6, 0.3]])).expand(3, 4, 2)
    flat = torch.tensor(
        [[[0.0, 0], [0, 0], [9, 9]], [[0, 0], [5, 5], [9, 9]], [[4, 4], [4, 4], [4, 4]]]
    )
    assert triangle_overlap(quads, flat).tolist() == [0, 0, 0]


def test_no_rows():
    assert triangle_overlap(torch.zeros(0, 4, 2), torch.zeros(0, 3, 2)).shape == (0,)
