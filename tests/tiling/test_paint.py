import numpy as np
import pytest

from sodkit.data.records import REGION, Annotations, Category, ImageRecord, Polygons
from sodkit.tiling.paint import paint_regions

COLOR = (10, 20, 30)


def annotations(boxes: list[list[float]], label: int, *, corners: bool) -> Annotations:
    xywh = np.array(boxes, np.float64).reshape(-1, 4)
    left, top, w, h = xywh.T
    points = np.stack(
        [[left, top], [left + w, top], [left + w, top + h], [left, top + h]]
    ).transpose(2, 0, 1)
    count = len(xywh)
    return Annotations(
        images=(ImageRecord(1, "a.jpg", 60, 50),),
        categories=(Category(1, "thing"),),
        ids=np.arange(count),
        image_index=np.zeros(count, np.int64),
        labels=np.full(count, label),
        xywh=xywh,
        area=xywh[:, 2] * xywh[:, 3],
        ignore=np.full(count, label == REGION),
        obb=np.zeros((count, 5)) if corners else None,
        polygons=Polygons(points.reshape(-1, 2), np.arange(count + 1) * 4) if corners else None,
    )


def painted(
    regions: list[list[float]], objects: list[list[float]], *, corners: bool = False
) -> np.ndarray:
    image = np.arange(50 * 60 * 3, dtype=np.uint64).reshape(50, 60, 3).astype(np.uint8) | 128
    before = image.copy()
    paint_regions(
        image,
        annotations(regions, REGION, corners=corners),
        annotations(objects, 0, corners=corners),
        COLOR,
    )
    changed = (image != before).any(axis=2)
    assert (image[changed] == COLOR).all()
    return changed


def test_no_region_changes_nothing() -> None:
    assert not painted([], [[1, 1, 5, 5]]).any()


@pytest.mark.parametrize("corners", [False, True])
def test_objects_are_spared_in_every_region(corners: bool) -> None:
    changed = painted([[10, 10, 30, 20], [20, 15, 30, 30]], [[25, 18, 6, 5]], corners=corners)
    assert not changed[19:22, 26:30].any()
    assert changed[12:17, 12:38].all()
    assert changed[30:40, 25:45].all()
    assert not changed[:10].any()


def test_fractions_of_pixels() -> None:
    """A region takes pixels by their centres, an object keeps each that it touches."""
    changed = painted([[10.4, 10.6, 20, 20]], [[15.9, 15.1, 2, 2]])
    rows, columns = np.nonzero(changed)
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (10, 29, 11, 30)
    kept = np.argwhere(~changed[11:31, 10:30]) + np.array([11, 10])
    assert kept.min(axis=0).tolist() == [15, 15]
    assert kept.max(axis=0).tolist() == [17, 17]


@pytest.mark.parametrize("corners", [False, True])
def test_regions_beyond_the_border_are_cut(corners: bool) -> None:
    changed = painted([[-20, -20, 200, 200]], [[-5, -5, 10, 10], [55, 45, 30, 30]], corners=corners)
    assert not changed[:5, :5].any()
    assert not changed[45:, 55:].any()
    assert changed[6:44, 6:54].all()


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("place", [(-30, 10), (70, 10), (10, -30), (10, 55), (62, 52), (-21, -21)])
def test_a_region_outside_of_the_image_paints_nothing(
    place: tuple[int, int], corners: bool
) -> None:
    assert not painted([[*place, 20, 20]], [], corners=corners).any()
