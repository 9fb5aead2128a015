from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sodkit.data.images.decoding import read_image, write_image
from sodkit.data.records import Annotations
from sodkit.data.samples.patch_dataset import TrainingSet
from sodkit.errors import DataError
from sodkit.geometry import rotated
from sodkit.settings import Input

INPUT = Input(patch=64, stride=48, scale=1.5, horizontal_flip=0.5, vertical_flip=0.5)


def test_sample_keeps_order_flags_and_pixels(data: tuple[Annotations, Path]) -> None:
    annotations, folder = data
    plain = INPUT.model_copy(update={"horizontal_flip": 0.0, "vertical_flip": 0.0})
    sample = TrainingSet(annotations, folder, plain, seed=0)[0, 0]
    assert sample.image.shape == (45, 60, 3)
    assert sample.boxes.tolist() == [[3, 4.5, 15, 13.5], [13.5, 13.5, 24, 24]]
    assert sample.labels.tolist() == [0, 1]
    assert sample.ignore_boxes.tolist() == [[0, 0, 30, 30]]


def test_hair_thin_objects_are_ignored(data: tuple[Annotations, Path]) -> None:
    sample = TrainingSet(*data, INPUT, seed=0)[0, 1]
    assert len(sample.boxes) == 0
    assert len(sample.ignore_boxes) == 1


def test_images_without_objects_stay_or_go(data: tuple[Annotations, Path]) -> None:
    assert len(TrainingSet(*data, INPUT, seed=0)) == 5
    assert len(TrainingSet(*data, INPUT, seed=0, keep_empty=False)) == 2  # one is a hair
    assert len(TrainingSet(*data, INPUT, seed=0)[0, 3].boxes) == 0


def test_flips_depend_on_seed_epoch_and_index_only(data: tuple[Annotations, Path]) -> None:
    images = {
        (seed, epoch): TrainingSet(*data, INPUT, seed=seed)[epoch, 0].image.tobytes()
        for seed in range(3)
        for epoch in range(5)
    }
    again = TrainingSet(*data, INPUT, seed=2)
    assert again[4, 0].image.tobytes() == images[2, 4]
    assert len(set(images.values())) > 2


@pytest.mark.parametrize("kind", ["data", "oriented"])
def test_a_batch_is_its_samples_padded(kind: str, request: pytest.FixtureRequest) -> None:
    """Written to their places in the batch, images have the bytes of those read by themselves."""
    annotations, folder = request.getfixturevalue(kind)
    settings = INPUT.model_copy(update={"quarter_turn": 0.5, "scale_range": (0.6, 1.4)})
    for number in (1, 3):  # decoded straight into memory that was written before
        pixels = read_image(folder / f"{number}.png")
        write_image(folder / f"{number}.jpg", pixels)
        records = [replace(i, file_name=f"{number}.jpg") if k == number else i
                   for k, i in enumerate(annotations.images)]  # fmt: skip
        annotations = replace(annotations, images=tuple(records))
    dataset = TrainingSet(annotations, folder, settings, seed=0)
    keys = [(epoch, index) for epoch in range(4) for index in range(5)]
    batch = dataset.batch(keys)
    whole = batch.images.permute(0, 2, 3, 1).numpy()
    assert whole.flags.c_contiguous
    for place, key in enumerate(keys):
        sample, target, pixels = dataset[key], batch.targets[place], whole[place]
        height, width = batch.sizes[place]
        assert np.array_equal(pixels[:height, :width], sample.image)
        assert not pixels[height:].any()
        assert not pixels[:, width:].any()
        assert batch.scales[place] == sample.scale
        assert batch.image_ids[place] == sample.image_id
        np.testing.assert_array_equal(target.boxes, sample.boxes.astype(np.float32))
        np.testing.assert_array_equal(target.labels, sample.labels)
        np.testing.assert_array_equal(target.ignore_boxes, sample.ignore_boxes.astype(np.float32))
        assert (target.obb is None) == (sample.obb is None)
        if target.obb is not None:
            np.testing.assert_array_equal(target.obb, sample.obb.astype(np.float32))


def test_a_size_that_contradicts_the_annotations(data: tuple[Annotations, Path]) -> None:
    write_image(data[1] / "0.png", np.zeros((31, 41, 3), np.uint8))
    with pytest.raises(DataError, match="41 x 31 px, its annotation says 40 x 30"):
        TrainingSet(*data, INPUT, seed=0)[0, 0]


def test_oriented_boxes_follow_the_pixels(oriented: tuple[Annotations, Path]) -> None:
    annotations, folder = oriented
    for across, down in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)):
        flips = INPUT.model_copy(update={"horizontal_flip": across, "vertical_flip": down})
        sample = TrainingSet(annotations, folder, flips, seed=0)[0, 0]
        assert annotations.obb is not None
        assert sample.obb is not None
        corners = rotated.obb_to_corners(annotations.obb[:2]) * 1.5
        if across:
            corners[..., 0] = 60 - corners[..., 0]
        if down:
            corners[..., 1] = 45 - corners[..., 1]
        wanted = rotated.corners_to_obb(corners)
        np.testing.assert_allclose(sample.obb, wanted, atol=1e-6)
        np.testing.assert_allclose(sample.boxes, rotated.obb_to_xyxy(wanted), atol=1e-6)
        assert len(sample.ignore_boxes) == 1


def test_thin_oriented_objects_are_ignored(oriented: tuple[Annotations, Path]) -> None:
    sample = TrainingSet(*oriented, INPUT, seed=0)[0, 1]
    assert len(sample.boxes) == 0
    assert len(sample.ignore_boxes) == 1


def test_ignored_oriented_annotations_stay_oriented(
    oriented: tuple[Annotations, Path],
) -> None:
    annotations, folder = oriented
    plain = INPUT.model_copy(update={"horizontal_flip": 1.0, "vertical_flip": 0.0})
    sample = TrainingSet(annotations, folder, plain, seed=0)[0, 1]
    corners = rotated.obb_to_corners(annotations.obb[3:4]) * 1.5
    corners[..., 0] = sample.image.shape[1] - corners[..., 0]
    np.testing.assert_allclose(sample.ignore_boxes, rotated.corners_to_obb(corners), atol=1e-6)
