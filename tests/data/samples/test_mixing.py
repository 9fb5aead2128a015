"""Pictures made of several images: boxes lie where pixels went, whatever was drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from sodkit.config import load_recipe
from sodkit.data.images.decoding import write_image
from sodkit.data.records import Annotations, Category, ImageRecord
from sodkit.data.samples import affine, mosaic
from sodkit.data.samples.augmentation import Placed
from sodkit.data.samples.contents import Contents
from sodkit.data.samples.loader import Batches
from sodkit.data.samples.patch_dataset import Sample, TrainingSet
from sodkit.errors import UsageError
from sodkit.geometry import rotated
from sodkit.settings import Input
from sodkit.settings.augment import Affine, Augment, Colours, CopyPaste, MixUp, Mosaic

Data = tuple[Annotations, Path]
TURNING = Affine(rotation=30.0, scale=(0.6, 1.2), shear=0.0)
ALL = Augment(copy_paste=CopyPaste(), mosaic=Mosaic(), affine=TURNING, mixup=MixUp())
SIZES = ((64, 96), (96, 96), (80, 50), (96, 70))
LEVEL = {"learnt": 255, "ignored": 160}


def settings(augment: Augment) -> Input:
    return Input(patch=96, stride=64, scale=1.5, augment=augment, vertical_flip=0.5,
                 quarter_turn=0.3)  # fmt: skip


def scenes(folder: Path, *, oriented: bool) -> Data:
    """Dark images with light rectangles: objects white, ignored ones grey."""
    rng = np.random.default_rng(3)
    records, obbs, index = [], [], []
    for number, (height, width) in enumerate(SIZES):
        image, taken = np.zeros((height, width, 3), np.uint8), np.zeros((0, 2))
        for _ in range(40):
            centre = rng.uniform([12, 12], [width - 12, height - 12])
            if len(taken) == 3 or (np.abs(taken - centre).max(axis=1) < 22).any():
                continue
            angle = rng.uniform(-1.5, 1.5) if oriented else 0.0
            obb = np.array([[*centre, *rng.uniform(10, 16, 2), angle]])
            corners = (rotated.obb_to_corners(obb)[0] - 0.5) * 16
            level = LEVEL["ignored"] if len(taken) == 2 else LEVEL["learnt"]
            cv2.fillPoly(image, [np.rint(corners).astype(np.int32)], (level,) * 3, shift=4)
            taken = np.vstack([taken, centre])
            obbs.append(obb[0])
            index.append(number)
        write_image(folder / f"{number}.png", image)
        records.append(ImageRecord(number + 1, f"{number}.png", width, height))
    obb = rotated.canonical(np.array(obbs))
    order = np.array([np.sum(np.array(index[:k]) == i) for k, i in enumerate(index)])
    return Annotations(
        images=tuple(records), categories=(Category(1, "a"),), ids=np.arange(len(obb)),
        image_index=np.array(index), labels=np.zeros(len(obb), np.int64),
        xywh=rotated.obb_to_xywh(obb), area=np.ones(len(obb)), ignore=order == 2,
        obb=obb if oriented else None,
    ), folder  # fmt: skip


def levels_at(sample: Sample, points: np.ndarray) -> np.ndarray:
    """Return the grey levels (N, K) at points (N, K, 2), -1 beyond the picture."""
    height, width = sample.image.shape[:2]
    column, row = (np.floor(points[..., axis]).astype(int) for axis in (0, 1))
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    found = sample.image[row.clip(0, height - 1), column.clip(0, width - 1), 0].astype(int)
    return np.where(inside, found, -1)


def spots(obb: np.ndarray, factor: float) -> np.ndarray:
    """Return points (N, 8, 2) on the border of boxes whose sides are ``factor`` times as long."""
    corners = rotated.obb_to_corners(obb * [1, 1, factor, factor, 1])
    return np.concatenate([corners, (corners + np.roll(corners, 1, axis=1)) / 2], axis=1)


SINGLE = {
    "copies": Augment(copy_paste=CopyPaste(copies=4)),
    "mosaic": Augment(mosaic=Mosaic()),
    "mosaic, mapped": Augment(mosaic=Mosaic(), affine=TURNING),
    "mapped": Augment(affine=TURNING),
    "all but mix-up": Augment(copy_paste=CopyPaste(), mosaic=Mosaic(), affine=TURNING),
}


@pytest.mark.parametrize("oriented", [False, True])
@pytest.mark.parametrize("augment", SINGLE.values(), ids=SINGLE)
def test_boxes_follow_the_pixels(augment: Augment, oriented: bool, tmp_path: Path) -> None:
    if not oriented and augment.affine is not None:  # a turned upright box is wider than its object
        turning = augment.affine.model_copy(update={"rotation": 0.0})
        augment = augment.model_copy(update={"affine": turning})
    dataset = TrainingSet(*scenes(tmp_path, oriented=oriented), settings(augment), seed=0)
    seen = {"learnt": 0, "ignored": 0}
    for key in [(epoch, index) for epoch in range(3) for index in range(4)]:
        sample = dataset[key]
        learnt = sample.obb if oriented else rotated.xyxy_to_obb(sample.boxes)
        ignored = sample.ignore_boxes if oriented else rotated.xyxy_to_obb(sample.ignore_boxes)
        assert learnt is not None
        for name, obb in (("learnt", learnt), ("ignored", ignored)):
            large = obb[obb[:, 2:4].min(axis=1) > 8]
            inner = levels_at(sample, spots(large, 0.6))
            outer = levels_at(sample, spots(large, 1.6)[:, 4:])
            # grey, and greys between, where an object reaches out of a mosaic
            levels = {LEVEL[name]} if name == "learnt" or not oriented else set(LEVEL.values())
            close = np.any([np.abs(inner - level) < 25 for level in levels], axis=0)
            beyond = (inner < 0) | (inner > 89) & (inner < max(levels))
            assert (close | beyond).all()
            assert (close.sum(axis=1) >= 4).all() or name == "ignored"
            # copies may lie side by side with others; all else is apart
            dark = (outer < 40) | (np.abs(outer - 114) < 25)
            assert dark.all() or augment.copy_paste is not None
            seen[name] += len(large)
    assert seen["learnt"] > 8
    assert seen["ignored"] > 2


@pytest.mark.parametrize("oriented", [False, True])
def test_everything_at_once_is_the_same_at_any_number_of_workers(
    oriented: bool, tmp_path: Path
) -> None:
    data = scenes(tmp_path, oriented=oriented)
    mixed = settings(ALL.model_copy(update={"colours": Colours(), "plain_epochs": 1}))

    def read(workers: int, start: int = 0) -> list[np.ndarray]:
        dataset = TrainingSet(*data, mixed, seed=1, epochs=3)
        batches = Batches(dataset, batch=2, seed=1, workers=workers)
        epochs = [batches.epoch(epoch, start=start) for epoch in (0, 2)]
        return [t.numpy() for each in epochs for b in each for t in b.tensors()]

    whole = read(0)
    for alone, shared in zip(whole, read(2), strict=True):
        assert np.array_equal(alone, shared)
    later = read(0, start=1)
    assert 0 < len(later) < len(whole)
    per_epoch = len(later) // 2
    assert all(np.array_equal(a, b) for a, b in zip(later[-per_epoch:], whole[-per_epoch:]))  # noqa: B905


def test_what_is_drawn_follows_from_seed_epoch_and_image(tmp_path: Path) -> None:
    data = scenes(tmp_path, oriented=False)
    images = {
        (seed, *key): TrainingSet(*data, settings(ALL), seed=seed)[key].image.tobytes()
        for seed in (0, 1)
        for key in ((0, 0), (0, 1), (1, 0), (0, 0, 1))
    }
    assert len(set(images.values())) == len(images)
    assert TrainingSet(*data, settings(ALL), seed=1)[1, 0].image.tobytes() == images[1, 1, 0]


def test_the_last_epochs_are_plain(tmp_path: Path) -> None:
    data = scenes(tmp_path, oriented=False)
    augment = ALL.model_copy(update={"plain_epochs": 2})
    mixed = TrainingSet(*data, settings(augment), seed=0, epochs=5)
    plain = TrainingSet(*data, settings(Augment()), seed=0, epochs=5)
    for epoch in range(5):
        batch, without = mixed.batch([(epoch, 0)]), plain.batch([(epoch, 0)])
        same = batch.sizes == without.sizes and (batch.images == without.images).all()
        assert (batch.plain, bool(same), without.plain) == (epoch >= 3, epoch >= 3, False)
    endless = TrainingSet(*data, settings(augment), seed=0)
    assert not endless.batch([(99, 0)]).plain


def test_a_mosaic_is_one_side_wide_and_shows_four_images(tmp_path: Path) -> None:
    data = scenes(tmp_path, oriented=False)
    dataset = TrainingSet(*data, settings(Augment(mosaic=Mosaic())), seed=0)
    samples = [dataset[0, index] for index in range(4)]
    assert all(sample.image.shape == (144, 144, 3) for sample in samples)
    assert all(sample.scale == (1.5, 1.5) for sample in samples)
    assert max(len(sample.boxes) for sample in samples) > 2  # as many as one image has


def test_none_is_made_where_its_share_is_zero(tmp_path: Path) -> None:
    data = scenes(tmp_path, oriented=False)
    never = Augment(mosaic=Mosaic(share=0.0), mixup=MixUp(share=0.0))
    for number in range(4):
        plain = TrainingSet(*data, settings(Augment()), seed=0)[0, number]
        assert np.array_equal(
            TrainingSet(*data, settings(never), seed=0)[0, number].image, plain.image
        )


def contents(xyxy: list[list[float]], obb: list[list[float]] | None = None) -> Contents:
    count = len(xyxy)
    placed = Placed((40, 60), np.array(xyxy), None if obb is None else np.array(obb))
    return Contents(placed, np.arange(count), np.ones(count, bool))


def test_upright_boxes_are_clipped_and_slivers_left_out() -> None:
    whole = contents([[-5, -5, 8, 9], [59.5, 5, 90, 9], [61, 0, 70, 9], [-4, 2, 0, 8]])
    seen = whole.seen()
    assert seen.placed.xyxy.tolist() == [[0, 0, 8, 9], [59.5, 5, 60, 9]]
    assert seen.thick().rows.tolist() == [0]
    ignored = replace(seen, learn=np.zeros(2, bool))
    assert ignored.thick().rows.tolist() == [0, 1]


def test_an_oriented_object_centred_beyond_the_picture_is_ignored() -> None:
    obb = [[-1, 10, 20, 6, 0.3], [1, 10, 20, 6, 0.3], [-40, 10, 20, 6, 0.3]]
    seen = contents(rotated.obb_to_xyxy(np.array(obb)).tolist(), obb).seen()
    assert seen.rows.tolist() == [0, 1]
    assert seen.learn.tolist() == [False, True]
    assert seen.placed.obb is not None
    assert seen.placed.obb.tolist() == obb[:2]


@pytest.mark.parametrize(("centre", "want"), [((144, 100), (72, 28)), ((60, 230), (0, 144))])
def test_the_window_of_a_mosaic_is_about_the_point_where_they_meet(
    centre: tuple[int, int], want: tuple[int, int]
) -> None:
    assert mosaic.cut((288, 288), (144, 144), centre) == want
    image = np.arange(288 * 288 * 3, dtype=np.uint32).astype(np.uint8).reshape(288, 288, 3)
    pixels = affine.window(*want, (144, 144)).render(image, 0)
    assert np.array_equal(pixels, image[want[1] : want[1] + 144, want[0] : want[0] + 144])


def test_oriented_boxes_cannot_be_sheared() -> None:
    with pytest.raises(UsageError, match=r"input: oriented boxes cannot be sheared: augment\.aff"):
        load_recipe("cfinet-r50-soda-a", ["input.augment.affine={}"])
    recipe = load_recipe("cfinet-r50-soda-a", ["input.augment.affine={shear: 0.0}"])
    assert recipe.input.augment.affine == Affine(shear=0.0)
    assert load_recipe("cfinet-r50-soda-d", ["input.augment.affine={}"])


@pytest.mark.parametrize("part", ["mosaic", "affine", "mixup", "copy_paste"])
def test_a_window_cannot_be_mixed(part: str) -> None:
    with pytest.raises(UsageError, match=r"input\.augment: a window \(input\.crop\) cannot be"):
        load_recipe("centernet-r50-soda-d", [f"input.augment.{part}={{}}"])
    assert load_recipe("centernet-r50-soda-d", ["input.augment.colours={}"])


@pytest.mark.parametrize(
    "value", ["mosaic={centre: [1.5, 0.5]}", "sizes={sides: [800, 480]}", "affine={scale: [2, 1]}"]
)
def test_ranges_ascend(value: str) -> None:
    with pytest.raises(UsageError, match=r"the first number must not be above the second"):
        load_recipe("cfinet-r50-soda-d", [f"input.augment.{value}"])
