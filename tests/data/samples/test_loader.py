from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from multiprocessing import process
from pathlib import Path
from pickle import UnpicklingError
from types import SimpleNamespace

import pytest
import torch

from sodkit.data.records import Annotations
from sodkit.data.samples import loader
from sodkit.data.samples.loader import (
    SOCKET_NAME,
    Batches,
    EpochBatches,
    WorkerGoneError,
)
from sodkit.data.samples.patch_dataset import TrainingSet
from sodkit.errors import DataError, SodkitError, UsageError
from sodkit.settings import Input

INPUT = Input(patch=64, stride=48, scale=1.5, horizontal_flip=0.5, vertical_flip=0.5)


@pytest.mark.parametrize("epoch", [0, 3])
def test_batches_are_the_same_at_any_number_of_workers(
    data: tuple[Annotations, Path], epoch: int
) -> None:
    def read(workers: int) -> list[torch.Tensor]:
        dataset = TrainingSet(*data, INPUT, seed=1)
        batches = Batches(dataset, batch=2, seed=1, workers=workers)
        return [t for b in batches.epoch(epoch) for t in b.tensors()]

    for alone, shared in zip(read(0), read(2), strict=True):
        assert torch.equal(alone, shared)


def test_a_batch_is_padded_and_named(data: tuple[Annotations, Path]) -> None:
    batches = Batches(TrainingSet(*data, INPUT, seed=0), batch=5, seed=0, workers=0)
    (batch,) = batches.epoch(0)
    assert len(batches) == 1
    assert sorted(batch.image_ids) == [1, 2, 3, 4, 5]
    assert batch.images.shape == (5, 3, 64, 96)
    for image, (height, width) in zip(batch.images, batch.sizes, strict=True):
        assert image[:, height:].sum() == 0
        assert image[:, :, width:].sum() == 0
        assert image[:, :height, :width].sum() > 0


def test_the_loader_pins_every_tensor_of_a_batch(
    data: tuple[Annotations, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned = []

    def pin(tensor: torch.Tensor) -> torch.Tensor:
        pinned.append(tensor)
        return tensor.clone()

    batches = Batches(TrainingSet(*data, INPUT, seed=0), batch=5, seed=0, workers=0)
    (batch,) = batches.epoch(0)
    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    found = torch.utils.data._utils.pin_memory.pin_memory(batch)
    assert {id(t) for t in pinned} == {id(t) for t in batch.tensors()}
    for one, other in zip(found.tensors(), batch.tensors(), strict=True):
        assert one is not other
        assert torch.equal(one, other)


def test_epochs_are_different_permutations(data: tuple[Annotations, Path]) -> None:
    batches = Batches(TrainingSet(*data, INPUT, seed=0), batch=2, seed=0, workers=0)
    orders = [tuple(i for b in batches.epoch(e) for i in b.image_ids) for e in range(4)]
    assert all(sorted(order) == [1, 2, 3, 4, 5] for order in orders)
    assert len(set(orders)) > 1


def test_an_epoch_from_within(data: tuple[Annotations, Path]) -> None:
    batches = Batches(TrainingSet(*data, INPUT, seed=0), batch=2, seed=0, workers=0)
    whole = [b.image_ids for b in batches.epoch(1)]
    for start in (1, 2, 3):
        assert [b.image_ids for b in batches.epoch(1, start=start)] == whole[start:]
    assert [b.image_ids for b in batches.epoch(1)] == whole
    assert len(batches) == 3


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_is_our_error(data: tuple[Annotations, Path], workers: int) -> None:
    (data[1] / "2.png").write_bytes(b"not an image")
    batches = Batches(TrainingSet(*data, INPUT, seed=0), batch=2, seed=0, workers=workers)
    with pytest.raises(DataError, match=r"2\.png: image cannot be decoded"):
        list(batches.epoch(0))


class Failing:
    """A torch loader whose next batch fails, with one worker of the given sentinel."""

    def __init__(self, error: Exception, sentinel: int) -> None:
        self._error = error
        self._iterator = SimpleNamespace(_workers=[SimpleNamespace(sentinel=sentinel)])

    def __iter__(self) -> Iterator[object]:
        raise self._error


GUISES = [
    ConnectionResetError(104, "Connection reset by peer"),
    ConnectionRefusedError(111, "Connection refused"),
    FileNotFoundError(2, "No such file or directory"),
    EOFError(),
    RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"),
    UnpicklingError("pickle data was truncated"),
]


@pytest.mark.parametrize("gone", [True, False])
@pytest.mark.parametrize("error", GUISES, ids=lambda error: type(error).__name__)
def test_a_worker_that_has_ended_is_said_whatever_fails_for_it(
    data: tuple[Annotations, Path], monkeypatch: pytest.MonkeyPatch, error: Exception, gone: bool
) -> None:
    """And with all workers alive the same error is something else, and stays what it is."""
    monkeypatch.setattr(loader, "GRACE", 0.05)
    batches = Batches(TrainingSet(*data, INPUT, seed=0), batch=5, seed=0, workers=0)
    sentinel, worker = os.pipe()
    monkeypatch.setattr(batches, "_loader", Failing(error, sentinel))
    if gone:
        os.close(worker)
    expected = WorkerGoneError if gone else type(error)
    with pytest.raises(expected, match="a worker process has gone" if gone else None):
        list(batches.epoch(0))
    os.close(sentinel)
    if not gone:
        os.close(worker)


SIGNALS = """
import signal, sys
from torch.utils.data import DataLoader
from sodkit.data.samples.loader import _signals_kept

before = signal.getsignal(signal.SIGCHLD)
with _signals_kept():
    iterator = iter(DataLoader([1, 2], num_workers=1))
assert signal.getsignal(signal.SIGCHLD) is before
assert list(iterator) == [1, 2]
"""


def test_the_handler_of_signals_stays() -> None:
    """In a process of its own: torch sets its handler once, and another test may have met it."""
    subprocess.run([sys.executable, "-c", SIGNALS], check=True)


@pytest.mark.parametrize("raised", [FileNotFoundError(2, "no such file"), RuntimeError("shapes")])
def test_an_error_in_a_worker_is_not_the_end_of_it(
    data: tuple[Annotations, Path], monkeypatch: pytest.MonkeyPatch, raised: Exception
) -> None:
    def fail(*_: object) -> None:
        raise raised

    monkeypatch.setattr(loader, "GRACE", 0.05)
    monkeypatch.setattr(TrainingSet, "batch", fail)
    batches = Batches(TrainingSet(*data, INPUT, seed=0), batch=5, seed=0, workers=1)
    with pytest.raises(type(raised), match="in DataLoader worker process 0"):
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
        batches = partial(Batches, TrainingSet(*data, INPUT, seed=0), batch=5, seed=0)
        assert len(list(batches(workers=0).epoch(0))) == 1
        if too_long:
            with pytest.raises(UsageError, match=r"set TMPDIR .* --workers 0"):
                batches(workers=1)
        else:
            assert len(list(batches(workers=1).epoch(0))) == 1


def test_batches_carry_oriented_boxes(oriented: tuple[Annotations, Path]) -> None:
    batches = Batches(TrainingSet(*oriented, INPUT, seed=0), batch=5, seed=0, workers=0)
    (batch,) = batches.epoch(0)
    for target in batch.targets:
        assert target.obb is not None
        assert target.obb.dtype == torch.float32
        assert len(target.obb) == len(target.boxes)


def test_no_room_in_shared_memory(
    data: tuple[Annotations, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container with 64 MB of it; torch would print this in the worker and wait."""

    def refuse(*_: object) -> None:
        raise RuntimeError("unable to allocate shared memory(shm)")

    monkeypatch.setattr(torch.UntypedStorage, "_new_shared", refuse)
    batches = Batches(TrainingSet(*data, INPUT, seed=0), batch=5, seed=0, workers=1)
    with pytest.raises(SodkitError, match=r"no shared memory for a batch: unable(.|\n)*--shm"):
        list(batches.epoch(0))


def test_each_process_has_its_share_of_every_batch() -> None:
    """Where there are fewer images than processes, the first image stands in."""
    whole = list(EpochBatches(11, 5, seed=3))
    shares = [list(EpochBatches(11, 5, seed=3, rank=rank, parts=2)) for rank in (0, 1)]
    assert [len(batch) for batch in whole] == [5, 5, 1]
    for batch, first, second in zip(whole[:2], *(each[:2] for each in shares), strict=True):
        assert first + second == batch
    assert shares[0][2] == shares[1][2] == whole[2]
    sampler = EpochBatches(11, 5, seed=3, rank=1, parts=2)
    assert [sampler.images(number) for number in range(len(sampler))] == [5, 5, 1]
