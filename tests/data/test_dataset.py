from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import partial
from multiprocessing import process
from pathlib import Path

import numpy as np
import pytest
import torch

from sodkit.data.dataset import SOCKET_NAME, Batches, TrainingSet
from sodkit.data.images import write_image
from sodkit.data.records import REGION, Annotations, Category, ImageRecord
from sodkit.errors import DataError, UsageError
from sodkit.geometry import rotated
from sodkit.settings import Input

INPUT = Input(patch=64, stride=48, scale=1.5, horizontal_flip=0.5, vertical_flip=0.5)


@pytest.fixture
def data(tmp_path: Path) -> tuple[Annotations, Path]:
    """Five images of different size; the fourth has no objects, the last only an ignored one."""
    rng = np.random.default_rng(0)
    records = []
    for number in range(5):
        width, height = 40 + 4 * number, 30
        write_image(
            tmp_path / f"{number}.png", rng.integers(0, 255, (height, width, 3)).astype(np.uint8)
        )
        records.append(ImageRecord(number + 1, f"{number}.png", width, height))
    annotations = Annotations(
        images=tuple(records),
        categories=(Category(1, "a"), Category(2, "b")),
        ids=np.arange(6),
        image_index=np.array([0, 0, 0, 1, 2, 4]),
        labels=np.array([0, 1, REGION, 1, 0, 0]),
        xywh=np.array(
            [[2, 3, 8, 6], [9, 9, 7, 7], [0, 0, 20, 20], [4, 4, 0.5, 9], [5, 5, 6, 6], [1, 1, 5, 5]]
        ),
        area=np.ones(6),
        ignore=np.array([False, False, True, False, False, True]),
    )
    return annotations, tmp_path


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


@pytest.mark.parametrize("epoch", [0, 3])
def test_batches_are_the_same_at_any_number_of_workers(
    data: tuple[Annotations, Path], epoch: int
) -> None:
    def read(workers: int) -> list[torch.Tensor]:
        dataset = TrainingSet(*data, INPUT, seed=1)
        batches = Batches(dataset, INPUT, batch=2, seed=1, workers=workers)
        return [t for b in batches.epoch(epoch) for t in (b.images, *(x.boxes for x in b.targets))]

    for alone, shared in zip(read(0), read(2), strict=True):
        assert torch.equal(alone, shared)


def test_a_batch_is_padded_and_named(data: tuple[Annotations, Path]) -> None:
    batches = Batches(TrainingSet(*data, INPUT, seed=0), INPUT, batch=5, seed=0, workers=0)
    (batch,) = batches.epoch(0)
    assert len(batches) == 1
    assert sorted(batch.image_ids) == [1, 2, 3, 4, 5]
    assert batch.images.shape == (5, 3, 64, 96)
    for image, (height, width) in zip(batch.images, batch.sizes, strict=True):
        assert image[:, height:].abs().sum() == 0
        assert image[:, :, width:].abs().sum() == 0
        assert image[:, :height, :width].abs().sum() > 0


def test_epochs_are_different_permutations(data: tuple[Annotations, Path]) -> None:
    batches = Batches(TrainingSet(*data, INPUT, seed=0), INPUT, batch=2, seed=0, workers=0)
    orders = [tuple(i for b in batches.epoch(e) for i in b.image_ids) for e in range(4)]
    assert all(sorted(order) == [1, 2, 3, 4, 5] for order in orders)
    assert len(set(orders)) > 1


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_is_our_error(data: tuple[Annotations, Path], workers: int) -> None:
    (data[1] / "2.png").write_bytes(b"not an image")
    batches = Batches(TrainingSet(*data, INPUT, seed=0), INPUT, batch=2, seed=0, workers=workers)
    with pytest.raises(DataError, match=r"2\.png: image cannot be decoded"):
        list(batches.epoch(0))


@pytest.mark.parametrize("too_long", [0, 1])
def test_workers_need_a_short_name_for_temporary_files(
    data: tuple[Annotations, Path], monkeypatch: pytest.MonkeyPatch, too_long: int
) -> None:
    length = SOCKET_NAME - len("/listener-12345678") + too_long
    with tempfile.TemporaryDirectory(dir="/tmp") as parent:
        folder = Path(parent, "x" * (length - len(parent) - 1))
        folder.mkdir()
        monkeypatch.setitem(process.current_process()._config, "tempdir", str(folder))
        batches = partial(Batches, TrainingSet(*data, INPUT, seed=0), INPUT, batch=5, seed=0)
        assert len(list(batches(workers=0).epoch(0))) == 1
        if too_long:
            with pytest.raises(UsageError, match=r"set TMPDIR .* --workers 0"):
                batches(workers=1)
        else:
            assert len(list(batches(workers=1).epoch(0))) == 1


def test_a_size_that_contradicts_the_annotations(data: tuple[Annotations, Path]) -> None:
    write_image(data[1] / "0.png", np.zeros((31, 41, 3), np.uint8))
    with pytest.raises(DataError, match="41 x 31 px, its annotation says 40 x 30"):
        TrainingSet(*data, INPUT, seed=0)[0, 0]


@pytest.fixture
def oriented(data: tuple[Annotations, Path]) -> tuple[Annotations, Path]:
    """The same images with oriented boxes; the fourth annotation is half a pixel thin."""
    annotations, folder = data
    obb = np.array(
        [
            [8.0, 9, 10, 4, 0.6], [20, 12, 9, 8, -1.2], [10, 10, 20, 20, 0], [9, 9, 9, 0.5, 1.0],
            [12, 12, 8, 6, -1.57], [5, 5, 6, 5, 0.1],
        ]
    )  # fmt: skip
    return replace(annotations, obb=obb, xywh=rotated.obb_to_xywh(obb)), folder


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


def test_batches_carry_oriented_boxes(oriented: tuple[Annotations, Path]) -> None:
    batches = Batches(TrainingSet(*oriented, INPUT, seed=0), INPUT, batch=5, seed=0, workers=0)
    (batch,) = batches.epoch(0)
    for target in batch.targets:
        assert target.obb is not None
        assert target.obb.dtype == torch.float32
        assert len(target.obb) == len(target.boxes)
