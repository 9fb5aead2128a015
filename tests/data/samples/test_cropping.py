"""Random windows: mmdetection's, draw for draw; and what lies in them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scenes import Logged, scene

from sodkit.data.records import Annotations
from sodkit.data.samples import cropping
from sodkit.data.samples.cropping import Window
from sodkit.data.samples.patch_dataset import TrainingSet
from sodkit.settings import Input
from sodkit.settings.recipe import RandomCrop

FILE = Path(__file__).parents[2] / "golden" / "systems" / "centernet" / "crop.json"
GOLDEN = json.loads(FILE.read_text())
SMALL = RandomCrop(side=128, border=64)


@pytest.mark.parametrize("number", range(4))
def test_windows_are_mmdetection_s(number: int) -> None:
    want = GOLDEN["crop"][number]
    image, boxes = scene(*want["source"])
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    draws = Logged(want["draws"])
    window = cropping.draw(image.shape[:2], centres, SMALL, draws)
    assert draws.left == []
    pixels = window.cut(image)
    assert list(pixels.shape) == want["shape"]
    assert pixels.mean() == pytest.approx(want["mean"], abs=1e-3)
    sample = np.linspace(0, pixels.size - 1, 40).astype(np.int64)
    assert pixels.flatten()[sample].tolist() == want["pixels"]
    inside = window.holds(centres)
    np.testing.assert_allclose(window.boxes(boxes[inside]), want["boxes"], atol=1e-3)
    assert (np.arange(8)[inside] * 4 % 9).tolist() == want["labels"]


@pytest.mark.parametrize(("border", "side", "want"), GOLDEN["get_border"])
def test_margins_are_mmdetection_s(border: int, side: int, want: int) -> None:
    assert cropping.margin(border, side) == want


@pytest.mark.parametrize("side", [1, 2, 3, 100])
def test_a_margin_leaves_room(side: int) -> None:
    assert 2 * cropping.margin(128, side) < side


def test_a_window_beyond_the_image_is_black_there() -> None:
    image = np.full((4, 6, 3), 9, np.uint8)
    pixels = Window(-2, 1, 5).cut(image)[..., 0]
    assert pixels.tolist() == [[0, 0, 9, 9, 9]] * 3 + [[0] * 5] * 2
    assert not Window(50, 50, 5).cut(image).any()


def test_an_object_lies_in_every_window() -> None:
    rng, centre = np.random.default_rng(0), np.array([[700.0, 90.0]])
    sides = set()
    for _ in range(100):
        window = cropping.draw((800, 800), centre, RandomCrop(), rng)
        assert window.holds(centre).all()
        sides.add(window.side)
    assert sides == {int(512 * factor) for factor in RandomCrop().factors}


def test_an_object_that_no_window_reaches_by_chance_is_in_one_all_the_same() -> None:
    # windows of 10 px whose centre keeps 128 px from the border do not reach the corner
    rng, centre = np.random.default_rng(0), np.array([[2.0, 3.0]])
    window = cropping.draw((800, 800), centre, RandomCrop(side=10, factors=(1.0,)), rng)
    assert window.holds(centre).all()


SETTINGS = Input(
    scale=1.5, horizontal_flip=0.0, crop=RandomCrop(side=16, factors=(0.5, 1.0, 1.25), border=4)
)


@pytest.mark.parametrize("kind", ["data", "oriented"])
def test_samples_are_windows_resized_to_one_side(kind: str, request: pytest.FixtureRequest) -> None:
    annotations, folder = request.getfixturevalue(kind)
    whole = TrainingSet(annotations, folder, Input(scale=1.0, horizontal_flip=0.0), seed=0)[0, 0]
    cropped = TrainingSet(annotations, folder, SETTINGS, seed=0)
    counts, sides = set(), set()
    for epoch in range(30):
        sample = cropped[epoch, 0]
        assert sample.image.shape == (24, 24, 3)
        assert len(sample.boxes) == len(sample.labels) >= 1
        assert len(sample.ignore_boxes) <= len(whole.ignore_boxes)
        sides.add(round(24 / sample.scale[0]))
        assert sample.scale[0] == sample.scale[1]
        counts.add(len(sample.boxes))
        centres = (sample.boxes[:, :2] + sample.boxes[:, 2:]) / 2
        assert ((centres > 0) & (centres < 24)).all()
        if kind == "oriented":
            assert sample.obb is not None
            assert whole.obb is not None
            found = sample.obb[:, 2:4] / sample.scale[0]
            gaps = np.abs(found[:, None] - whole.obb[:, 2:4]).max(2).min(1)
            assert gaps.max() < 1e-6  # whole, however they are cut
    assert sides == {8, 16, 20}
    assert len(counts) > 1 or kind == "oriented"  # whose objects are further apart


def test_what_lies_in_the_window_is_at_its_pixels(data: tuple[Annotations, Path]) -> None:
    """At scale 1 the window is a part of the image; its boxes are those of the image, moved."""
    crop = RandomCrop(side=16, factors=(1.0,), border=4)
    settings = Input(scale=1.0, horizontal_flip=0.0, crop=crop)
    image = TrainingSet(*data, Input(scale=1.0, horizontal_flip=0.0), seed=0)[0, 0]
    height, width = image.image.shape[:2]
    padded = np.pad(image.image, ((16, 16), (16, 16), (0, 0)))
    places = [(x, y) for y in range(height + 16) for x in range(width + 16)]
    for epoch in range(5):
        sample = TrainingSet(*data, settings, seed=0)[epoch, 0]
        at = [
            (x - 16, y - 16)
            for x, y in places
            if np.array_equal(padded[y : y + 16, x : x + 16], sample.image)
        ]
        assert at
        fits = []
        for left, top in at:
            window = Window(left, top, 16)
            inside = window.holds((image.boxes[:, :2] + image.boxes[:, 2:]) / 2)
            boxes = window.boxes(image.boxes[inside])
            ignored = window.boxes(image.ignore_boxes[window.touches(image.ignore_boxes)])
            fits.append(
                np.array_equal(boxes, sample.boxes) and np.array_equal(ignored, sample.ignore_boxes)
            )
        assert any(fits)


def test_an_ignore_region_is_kept_where_it_touches() -> None:
    window = Window(10, 10, 10)
    boxes = np.array([[0, 0, 11, 11], [0, 0, 10, 30], [19, 19, 40, 40], [0, 0, 50, 50.0]])
    assert window.touches(boxes).tolist() == [True, False, True, True]
    assert window.boxes(boxes[[0, 3]]).tolist() == [[0, 0, 1, 1], [0, 0, 10, 10]]


def test_images_without_objects_have_windows_too(data: tuple[Annotations, Path]) -> None:
    sample = TrainingSet(*data, SETTINGS, seed=0)[0, 3]
    assert sample.image.shape == (24, 24, 3)
    assert len(sample.boxes) == 0


def test_a_batch_has_the_bytes_of_its_samples(data: tuple[Annotations, Path]) -> None:
    dataset = TrainingSet(*data, SETTINGS, seed=0)
    batch = dataset.batch([(0, 0), (0, 3)])
    assert batch.sizes == ((24, 24), (24, 24))
    for number, index in enumerate((0, 3)):
        pixels = batch.images[number].permute(1, 2, 0).numpy()[:24, :24]
        assert np.array_equal(pixels, dataset[0, index].image)


def test_flips_are_drawn_alike_with_and_without(data: tuple[Annotations, Path]) -> None:
    both = [
        TrainingSet(*data, Input(crop=crop), seed=0)._plan((epoch, 0)).drawn
        for epoch in range(10)
        for crop in (None, RandomCrop())
    ]
    assert both[::2] == both[1::2]


def test_sizes_must_be_there() -> None:
    with pytest.raises(ValueError, match="factors"):
        RandomCrop(factors=())
