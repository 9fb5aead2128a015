from __future__ import annotations

import tempfile
from functools import partial
from multiprocessing import process
from pathlib import Path

import pytest
import torch

from sodkit.data.dataset import TrainingSet
from sodkit.data.loader import SOCKET_NAME, Batches
from sodkit.data.records import Annotations
from sodkit.errors import DataError, SodkitError, UsageError
from sodkit.settings import Input

INPUT = Input(patch=64, stride=48, scale=1.5, horizontal_flip=0.5, vertical_flip=0.5)


@pytest.mark.parametrize("epoch", [0, 3])
def test_batches_are_the_same_at_any_number_of_workers(
    data: tuple[Annotations, Path], epoch: int
) -> None:
    def read(workers: int) -> list[torch.Tensor]:
        dataset = TrainingSet(*data, INPUT, seed=1)
        batches = Batches(dataset, INPUT, batch=2, seed=1, workers=workers)
        return [t for b in batches.epoch(epoch) for t in b.tensors()]

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


def test_batches_carry_oriented_boxes(oriented: tuple[Annotations, Path]) -> None:
    batches = Batches(TrainingSet(*oriented, INPUT, seed=0), INPUT, batch=5, seed=0, workers=0)
    (batch,) = batches.epoch(0)
    for target in batch.targets:
        assert target.obb is not None
        assert target.obb.dtype == torch.float32
        assert len(target.obb) == len(target.boxes)


def test_no_room_in_shared_memory(
    data: tuple[Annotations, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container with 64 MB of it; torch would print this in the worker and wait."""

    def refuse(tensor: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("unable to allocate shared memory(shm)")

    monkeypatch.setattr(torch.Tensor, "share_memory_", refuse)
    batches = Batches(TrainingSet(*data, INPUT, seed=0), INPUT, batch=5, seed=0, workers=1)
    with pytest.raises(SodkitError, match=r"no shared memory for a batch of 5 images(.|\n)*--shm"):
        list(batches.epoch(0))
