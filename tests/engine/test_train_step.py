"""One step in parts: of detectors that are not ours, and with counts of every kind."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from sodkit.data.batches import Batch, Target
from sodkit.engine.parts import Counting, Together
from sodkit.engine.train_step import Share, Trained, seeded, train_step
from sodkit.engine.world import ALONE, World
from sodkit.errors import SodkitError
from sodkit.models.parts.sampling import Shuffle
from sodkit.settings import Schedule

IMAGES = 5


class ByImages(nn.Module):
    """Takes the mean over the images of the batch, as models of other libraries do."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.5, -1.0]))

    def each(self, batch: Batch) -> Tensor:
        """Return a loss (B,) of each image."""
        bright = batch.images.mean((1, 2, 3))
        return (self.weight[0] * bright + self.weight[1] - torch.arange(1.0, 2.0)) ** 2

    def forward(self, batch: Batch, shuffle: Shuffle) -> dict[str, Tensor]:
        return {"loss": self.each(batch).mean()}


class Counted(ByImages):
    """Divides by counts of objects: as a number, as a tensor, by none at all, and by weights."""

    def forward(self, batch: Batch, shuffle: Shuffle) -> dict[str, Tensor]:
        objects = torch.tensor([len(target.labels) for target in batch.targets])
        each = self.each(batch)
        return {
            "loss_a": (each * objects).sum() / batch.step.total(int(objects.sum())),
            "loss_b": (each * objects).sum() / batch.step.total(objects.sum()),
            "loss_c": each.sum() / batch.step.total(0, least=7),
            "loss_d": each.sum() / batch.step.total(objects.sum() * 0.25),
            "loss_e": each.sum() / batch.step.total(objects.sum() * 0.0, least=0.5),
        }


def batch() -> Batch:
    images = torch.randn(IMAGES, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    targets = tuple(
        Target(torch.zeros(k, 4), torch.zeros(k, dtype=torch.int64), torch.zeros(0, 4))
        for k in (0, 3, 0, 1, 6)
    )
    size, scale = ((8, 8),) * IMAGES, ((1.0, 1.0),) * IMAGES
    return Batch(images, size, scale, targets, tuple(range(1, IMAGES + 1)))


def stepped(make: Callable[[], nn.Module], parts: int) -> tuple[dict[str, float], Tensor]:
    """Return the losses of a step, and the parameters after it."""
    module = make()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    schedule = Schedule(accumulate=parts)
    trained = Trained.of(module, optimizer, scaler, schedule, seed=0)  # type: ignore[arg-type]
    losses = train_step(trained, Share(batch(), 0, IMAGES))
    return losses, torch.cat([p.detach() for p in module.parameters()])


@pytest.mark.parametrize("make", [ByImages, Counted])
@pytest.mark.parametrize("parts", [2, 3, 5, 9])
def test_parts_of_unequal_size_are_one_batch(make: Callable[[], nn.Module], parts: int) -> None:
    wanted, weights = stepped(make, 1)
    losses, found = stepped(make, parts)
    assert losses == pytest.approx(wanted, rel=1e-5)
    torch.testing.assert_close(found, weights, rtol=1e-5, atol=0)


def test_a_loss_that_is_not_finite_names_the_images() -> None:
    class Wild(ByImages):
        def each(self, batch: Batch) -> Tensor:
            return super().each(batch) / 0

    for parts in (1, 2):
        with pytest.raises(SodkitError, match=r"not finite on the images with ids 1, 2, 3, 4, 5"):
            stepped(Wild, parts)


def test_counts_are_over_the_step_and_at_least_so_many() -> None:
    noted = Counting()
    assert noted.total(3) == noted.total(torch.tensor(0), least=2) - 1 == 1
    assert [int(count) for count in noted.counts] == [3, 0]
    known = Together(World(0, 4), counts=[8, torch.tensor(0), torch.tensor(6)])
    assert known.total(2) == 2.0
    assert known.total(torch.tensor(0)) == 0.25
    assert known.total(torch.tensor(1)) == 1.5
    assert known.asked == 3


def test_a_process_without_images_counts_nothing_of_whatever_type() -> None:
    idle = Together(World(0, 1), idle=True)
    assert idle.total(3, least=0) == 0
    for count in (torch.tensor(3), torch.tensor(2.5)):
        found = idle.total(count, least=0)
        assert isinstance(found, torch.Tensor)
        assert found == 0


def test_rows_are_kept_until_the_last_part() -> None:
    step = Together(ALONE, last=False)
    features, labels = torch.arange(3.0)[:, None], torch.tensor([4, 5, 6])
    assert len(step.rows(features[:2], labels[:2])[0]) == 0
    step.last = True
    found = step.rows(features[2:], labels[2:])
    assert torch.equal(found[0], features)
    assert torch.equal(found[1], labels)
    idle = Together(ALONE, idle=True)
    assert len(idle.rows(features, labels)[1]) == 0


def test_generators_differ_from_process_to_process() -> None:
    def drawn(place: int) -> float:
        seeded(0, 3, place)
        return float(torch.rand(()))

    assert drawn(0) == drawn(0) != drawn(2)
