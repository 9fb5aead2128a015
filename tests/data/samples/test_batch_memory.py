"""Memory of batches goes round, and no batch ever changes while someone has it."""

from __future__ import annotations

import gc
import pickle
from pathlib import Path

import pytest
import torch

from sodkit.data.batches import Batch, Target
from sodkit.data.records import Annotations
from sodkit.data.samples import loader
from sodkit.data.samples.batch_memory import PIECES, Delivery, Pieces, Returns
from sodkit.data.samples.loader import Batches
from sodkit.data.samples.patch_dataset import TrainingSet
from sodkit.settings import Input

INPUT = Input(scale=1.5, vertical_flip=0.5, quarter_turn=0.5)


def batches(data: tuple[Annotations, Path], workers: int) -> Batches:
    return Batches(TrainingSet(*data, INPUT, seed=0), batch=1, seed=0, workers=workers)


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_that_are_kept_stay_what_they_are(
    data: tuple[Annotations, Path], workers: int
) -> None:
    """More of them than there are pieces, beside batches that are given up."""
    alone, given = batches(data, 0), batches(data, workers)
    wanted = [b.images.clone() for epoch in range(6) for b in alone.epoch(epoch)]
    kept = {
        place: batch
        for place, batch in enumerate(b for epoch in range(6) for b in given.epoch(epoch))
        if place % 3
    }
    assert len(kept) > 2 * PIECES
    for place, batch in kept.items():
        assert torch.equal(batch.images, wanted[place])


@pytest.mark.parametrize("workers", [0, 1])
def test_a_part_of_a_batch_is_enough_to_keep_its_memory(
    data: tuple[Annotations, Path], workers: int
) -> None:
    given = batches(data, workers)
    pixel = next(iter(given.epoch(0))).images[0, :, 3:5, 3:5].flatten(1)[:, 1:]
    before = pixel.clone()
    for epoch in range(1, 8):
        for _ in given.epoch(epoch):
            assert torch.equal(pixel, before)


@pytest.mark.parametrize(("workers", "name"), [(0, "_new_memory"), (2, "_new_shared_memory")])
def test_memory_of_batches_that_are_given_up_is_used_again(
    data: tuple[Annotations, Path], monkeypatch: pytest.MonkeyPatch, workers: int, name: str
) -> None:
    """Pieces grow with the batches they have to hold; after some epochs there is no new memory."""
    made = torch.zeros(PIECES, dtype=torch.int64).share_memory_()  # workers write to it, too
    new = getattr(loader, name)

    def counted(count: int) -> torch.Tensor:
        info = torch.utils.data.get_worker_info()
        made[0 if info is None else info.id] += 1
        return new(count)

    monkeypatch.setattr(loader, name, counted)
    given = batches(data, workers)
    counts = []
    for epoch in range(24):
        for batch in given.epoch(epoch):
            assert batch.images.any()
        counts.append(int(made.sum()))
    assert 0 < counts[0] <= PIECES * max(workers, 1)
    assert counts[-1] == counts[-6]


def pieces() -> tuple[torch.Tensor, Pieces]:
    marks = torch.zeros(1, 2, dtype=torch.uint8)
    return marks, Pieces(marks[0], lambda count: torch.zeros(count, dtype=torch.uint8))


def deliver(held: Pieces, value: int) -> Delivery:
    number = held.free()
    images = held.memory(number, (1, 2, 4, 3)).fill_(value).permute(0, 3, 1, 2)
    held.use(number)
    return Delivery(Batch(images, ((2, 4),), ((1.0, 1.0),)), 0, number, images)


def test_a_piece_is_free_with_the_last_reference_to_it() -> None:
    marks, held = pieces()
    returns = Returns(marks)
    first, second = (returns.batch(deliver(held, value)) for value in (1, 2))
    assert marks.tolist() == [[1, 1]]
    assert held.free() is None
    third = returns.batch(deliver(held, 3))  # in memory of its own
    view = first.images[0, 1]
    del first
    gc.collect()
    assert marks.tolist() == [[1, 1]]
    assert view.tolist() == [[1] * 4] * 2
    del view
    gc.collect()
    assert marks.tolist() == [[0, 1]]
    fourth = returns.batch(deliver(held, 4))
    assert [int(b.images.unique()) for b in (second, third, fourth)] == [2, 3, 4]


def test_a_piece_is_free_when_its_batch_was_copied() -> None:
    """As to pinned memory, in a thread of torch's."""
    marks, held = pieces()
    delivery = deliver(held, 1)
    copied = Delivery(delivery.batch.each(torch.clone), 0, delivery.piece, delivery.images)
    batch = Returns(marks).batch(copied)
    assert marks.tolist() == [[0, 0]]
    deliver(held, 2)
    assert int(batch.images.unique()) == 1


def test_a_piece_grows() -> None:
    _, held = pieces()
    small = held.memory(0, (1, 2, 2, 3))
    assert held.memory(0, (1, 1, 2, 3)).data_ptr() == small.data_ptr()
    assert held.memory(0, (2, 2, 2, 3)).shape == (2, 2, 2, 3)


@pytest.mark.parametrize("obb", [None, torch.rand(2, 5)])
def test_a_target_travels_by_value(obb: torch.Tensor | None) -> None:
    target = Target(torch.rand(2, 4), torch.tensor([1, 0]), torch.zeros(0, 4), obb)
    found = pickle.loads(pickle.dumps(target))
    for one, other in zip(found.tensors(), target.tensors(), strict=True):
        assert torch.equal(one, other)
        assert one.dtype == other.dtype
        one += 1  # it is memory of its own, and may be written
    assert (found.obb is None) == (obb is None)
