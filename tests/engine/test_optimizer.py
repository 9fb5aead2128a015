"""Learning rates step by step, and the loss scale over a resumption."""

from __future__ import annotations

import pytest
import torch

from sodkit.config import load_recipe
from sodkit.engine.metadata import Progress
from sodkit.engine.optimizer import make_optimizer, note_scale, restore_scale, set_rate
from sodkit.models.detector import ParameterGroup
from sodkit.models.zoo import build
from sodkit.settings import Recipe, Schedule


def test_rates(recipe: Recipe) -> None:
    schedule = Schedule(epochs=12, lr=0.01, warmup=500, warmup_factor=0.001, steps=(8, 11))
    optimizer = make_optimizer(build(recipe.model, 2), schedule)
    assert set_rate(optimizer, schedule, epoch=0, step=0, steps=9999) == pytest.approx(1e-5)
    assert set_rate(optimizer, schedule, epoch=0, step=250, steps=9999) == pytest.approx(
        0.01 * 0.5005
    )
    assert set_rate(optimizer, schedule, epoch=7, step=9000, steps=9999) == pytest.approx(0.01)
    assert set_rate(optimizer, schedule, epoch=8, step=9000, steps=9999) == pytest.approx(0.001)
    assert set_rate(optimizer, schedule, epoch=11, step=9000, steps=9999) == pytest.approx(0.0001)
    assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([1e-4, 5e-6])
    assert sum(len(g["params"]) for g in optimizer.param_groups) == sum(
        p.requires_grad for p in build(recipe.model, 2).parameters()
    )


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_a_group_has_a_rate_and_a_decay_of_its_own(kind: str) -> None:
    """FCOS: the biases of convolutions learn twice as fast, and do not decay."""
    small = ("model.backbone.name=resnet18", "model.backbone.weights=null", "model.channels=64")
    detector = build(load_recipe("fcos-r50-soda-d", small).model, 2)
    schedule = Schedule(lr=0.01, warmup=0, weight_decay=0.5, optimizer=kind)  # type: ignore[arg-type]
    optimizer = make_optimizer(detector, schedule)
    set_rate(optimizer, schedule, epoch=0, step=0, steps=9)
    rest, biases = optimizer.param_groups
    assert [(g["lr"], g["weight_decay"]) for g in (rest, biases)] == [(0.01, 0.5), (0.02, 0.0)]
    names = {id(parameter): name for name, parameter in detector.named_parameters()}
    found = {names[id(parameter)] for parameter in biases["params"]}
    convs = {n for n, m in detector.named_modules() if isinstance(m, torch.nn.Conv2d)}
    assert found == {name for name in names.values() if name.removesuffix(".bias") in convs}
    assert "head.cls_tower.1.bias" in {names[id(parameter)] for parameter in rest["params"]}


def test_what_does_not_decay_stays_where_no_gradient_moves_it() -> None:
    class Two(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.free, self.bound = (torch.nn.Parameter(torch.ones(1)) for _ in range(2))

        def groups(self) -> list[ParameterGroup]:
            return [ParameterGroup([self.free], decay=0.0)]

    module = Two()
    optimizer = make_optimizer(module, Schedule(lr=0.1, weight_decay=0.5))  # type: ignore[arg-type]
    (module.free * 0 + module.bound * 0).sum().backward()
    optimizer.step()
    assert (module.free.item(), module.bound.item()) == (1.0, pytest.approx(0.95))


def test_steps_by_iteration(recipe: Recipe) -> None:
    schedule = Schedule(lr=0.01, warmup=0, steps=(100, 250), steps_in="iterations")
    optimizer = make_optimizer(build(recipe.model, 2), schedule)
    rates = [set_rate(optimizer, schedule, epoch=9, step=s, steps=300) for s in (0, 99, 100, 250)]
    assert rates == pytest.approx([0.01, 0.01, 0.001, 0.0001])


def test_a_cosine_goes_by_iteration(recipe: Recipe) -> None:
    schedule = Schedule(lr=0.01, warmup=0, decay="cosine")
    optimizer = make_optimizer(build(recipe.model, 2), schedule)
    rates = [set_rate(optimizer, schedule, epoch=0, step=s, steps=300) for s in (0, 75, 150, 299)]
    assert rates == pytest.approx([0.01, 0.0085355, 0.005, 2.7415e-07], rel=1e-4)


def test_the_loss_scale_goes_on_where_it_was() -> None:
    off = torch.amp.GradScaler("cpu", enabled=False)
    done = Progress(scale=1024.0, growth=7)
    assert note_scale(restore_scale(off, done), done) == done
    on = torch.amp.GradScaler("cpu", enabled=True)
    assert note_scale(restore_scale(on, done), Progress()) == done
