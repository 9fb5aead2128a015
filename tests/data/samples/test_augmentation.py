"""Boxes follow the pixels through flips and turns, whatever was drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sodkit.data.records import Annotations
from sodkit.data.samples import transforms
from sodkit.data.samples.augmentation import Augmentation, Placed
from sodkit.data.samples.patch_dataset import Sample, TrainingSet
from sodkit.geometry import rotated
from sodkit.settings import Input

PLAIN = Augmentation(1.0, False, False, 0)


def marked(
    width: int, height: int, box: tuple[int, int, int, int]
) -> tuple[npt.NDArray[np.uint8], Placed]:
    """An image that is white inside a box of whole pixels only."""
    image = np.zeros((height, width, 3), np.uint8)
    left, top, right, bottom = box
    image[top:bottom, left:right] = 255
    return image, Placed((height, width), np.array([box], np.float64), None)


@st.composite
def scenes(draw: st.DrawFn) -> tuple[npt.NDArray[np.uint8], Placed]:
    width, height = draw(st.integers(2, 12)), draw(st.integers(2, 12))
    left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    right, bottom = draw(st.integers(left + 1, width)), draw(st.integers(top + 1, height))
    return marked(width, height, (left, top, right, bottom))


@given(scenes(), st.booleans(), st.booleans(), st.integers(0, 3))
def test_upright_boxes_stay_on_their_pixels(
    scene: tuple[npt.NDArray[np.uint8], Placed], across: bool, down: bool, turns: int
) -> None:
    drawn = Augmentation(1.0, across, down, turns)
    image, moved = scene[0], drawn.moved(scene[1])
    into = np.full((*moved.size, 3), 7, np.uint8)
    drawn.render(image, into)
    rows, columns = np.nonzero(into[..., 0])
    wanted = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert moved.xyxy.tolist() == [wanted]


@given(
    st.lists(
        st.tuples(
            st.floats(0, 60), st.floats(0, 40), st.floats(1, 30), st.floats(1, 30),
            st.floats(-1.57, 1.57),
        ),
        min_size=1, max_size=4,
    ),
    st.booleans(), st.booleans(), st.integers(0, 3),
)  # fmt: skip
def test_oriented_boxes_follow_their_corners(
    rows: list[tuple[float, ...]], across: bool, down: bool, turns: int
) -> None:
    """Every corner is moved as a point, by itself; the same four must be the box's corners."""
    obb = rotated.canonical(np.array(rows))
    moved = Augmentation(1.0, across, down, turns).moved(
        Placed((40, 60), rotated.obb_to_xyxy(obb), obb)
    )
    points, width, height = rotated.obb_to_corners(obb), 60, 40
    if across:
        points = np.stack([width - points[..., 0], points[..., 1]], axis=-1)
    if down:
        points = np.stack([points[..., 0], height - points[..., 1]], axis=-1)
    for _ in range(turns):
        points = np.stack([height - points[..., 1], points[..., 0]], axis=-1)
        width, height = height, width
    assert moved.obb is not None
    found = rotated.obb_to_corners(moved.obb)
    distance = np.abs(found[:, :, None] - points[:, None]).max(-1)  # (N, 4, 4)
    assert distance.min(2).max() < 1e-9
    assert distance.min(1).max() < 1e-9
    assert np.array_equal(moved.obb, rotated.canonical(moved.obb))
    assert moved.size == (height, width)
    lowest, highest = points.min(1), points.max(1)
    np.testing.assert_allclose(moved.xyxy, np.concatenate([lowest, highest], axis=1), atol=1e-9)


def test_four_turns_are_none() -> None:
    _, scene = marked(7, 5, (1, 2, 4, 3))
    turned = replace(PLAIN, turns=3).moved(scene).turned()
    assert turned.size == scene.size
    assert np.array_equal(turned.xyxy, scene.xyxy)


SIZES = [(1, 1), (1, 9), (9, 1), (2, 2), (7, 5), (64, 33), (33, 70)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("factor", [1.0, 0.7, 1.5])
@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize(
    ("across", "down"), [(False, False), (True, False), (False, True), (True, True)]
)
def test_pixels_in_a_part_of_larger_memory_are_those_of_numpy(
    size: tuple[int, int], factor: float, turns: int, across: bool, down: bool
) -> None:
    """Resized alone, then mirrored and turned by numpy; memory beside it stays as it was."""
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    wanted, _ = transforms.resize(image, factor)
    if across:
        wanted = wanted[:, ::-1]
    if down:
        wanted = wanted[::-1]
    wanted = np.rot90(wanted, -turns)
    height, width = wanted.shape[:2]
    memory = np.full((height + 3, width + 5, 3), 9, np.uint8)
    Augmentation(factor, across, down, turns).render(image, memory[:height, :width])
    assert np.array_equal(memory[:height, :width], wanted)
    memory[:height, :width] = 9
    assert (memory == 9).all()


def drawn(settings: Input, count: int = 400) -> list[Augmentation]:
    return [Augmentation.draw(settings, np.random.default_rng((0, k))) for k in range(count)]


def test_what_is_drawn_by_default_is_flips_only() -> None:
    found = drawn(Input())
    assert {(a.factor, a.down, a.turns) for a in found} == {(1.0, False, 0)}
    assert 160 < sum(a.across for a in found) < 240


def test_shares_and_ranges_of_what_is_drawn() -> None:
    found = drawn(Input(vertical_flip=0.25, quarter_turn=0.75, scale_range=(0.5, 2.0)))
    assert 70 < sum(a.down for a in found) < 130
    turns = np.bincount([a.turns for a in found], minlength=4)
    assert 70 < turns[0] < 130
    assert turns[1:].min() > 70
    factors = np.array([a.factor for a in found])
    assert 0.5 <= factors.min() < 0.55
    assert 1.95 < factors.max() < 2.0
    assert 1.2 < factors.mean() < 1.3


def test_flips_do_not_depend_on_what_else_is_drawn() -> None:
    flips = Input(vertical_flip=0.5)
    more = flips.model_copy(update={"quarter_turn": 1.0, "scale_range": (0.5, 1.5)})
    for one, other in zip(drawn(flips), drawn(more), strict=True):
        assert (one.across, one.down) == (other.across, other.down)


def samples(data: tuple[Annotations, Path], settings: Input, epochs: int) -> list[Sample]:
    dataset = TrainingSet(*data, settings, seed=0)
    return [dataset[epoch, 0] for epoch in range(epochs)]


def test_sizes_of_a_sample_change_with_its_boxes(data: tuple[Annotations, Path]) -> None:
    """A box is the same part of the image at every scale; the reached factors are told."""
    settings = Input(horizontal_flip=0.0, scale_range=(0.5, 1.5))
    found = samples(data, settings, 6)
    assert len({sample.image.shape for sample in found}) > 3
    for sample in found:
        x, y = sample.scale
        assert sample.image.shape[:2] == (round(30 * y), round(40 * x))
        np.testing.assert_allclose(sample.boxes[0], [2 * x, 3 * y, 10 * x, 9 * y])
        np.testing.assert_allclose(sample.ignore_boxes[0], [0, 0, 20 * x, 20 * y])


def test_scales_are_those_of_the_turned_sides(data: tuple[Annotations, Path]) -> None:
    """Of 40 x 30 px at 1.52 the factors reached are 61 / 40 and 46 / 30."""
    settings = Input(horizontal_flip=0.0, quarter_turn=1.0, scale=1.52)
    for sample in samples(data, settings, 8):
        height, width = sample.image.shape[:2]
        across, down = (40, 30) if width > height else (30, 40)
        assert sample.scale == (width / across, height / down)
        area = (sample.boxes[:, 2:] - sample.boxes[:, :2]).prod(axis=1)
        np.testing.assert_allclose(area / np.prod(sample.scale), [8 * 6, 7 * 7])


def test_a_second_copy_in_an_epoch_is_drawn_anew(data: tuple[Annotations, Path]) -> None:
    settings = Input(vertical_flip=0.5, quarter_turn=0.75, scale_range=(0.5, 1.5))
    dataset = TrainingSet(*data, settings, seed=0)
    shapes = {dataset[key].image.shape for key in ((0, 0), (0, 0, 1), (0, 0, 2), (1, 0))}
    assert len(shapes) == 4


@pytest.mark.parametrize("wrong", [{"scale_range": (1.5, 0.5)}, {"quarter_turn": 1.5}])
def test_ranges_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"scale_range|quarter_turn"):
        Input(**wrong)
