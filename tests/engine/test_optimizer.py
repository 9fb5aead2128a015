"""Learning rates step by step, and the loss scale over a resumption."""

from __future__ import annotations

import math

import pytest
import torch

from sodkit.config import load_recipe
from sodkit.engine.metadata import Progress
from sodkit.engine.optimizer import make_optimizer, note_scale, restore_scale, set_rate
from sodkit.errors import UsageError
from sodkit.models.detector import ParameterGroup
from sodkit.models.zoo import build
from sodkit.settings import Recipe, Schedule
from sodkit.settings.recipe import Group

NORMS = (torch.nn.BatchNorm2d, torch.nn.GroupNorm)


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


YOLOX = Schedule(
    epochs=10, lr=0.01, decay="cosine_after_warmup", final_rate=0.05, constant_epochs=2, warmup=1,
    warmup_in="epochs", warmup_shape="square",
)  # fmt: skip


def test_rates_of_yolox(recipe: Recipe) -> None:
    """mmdetection's: a square warm-up, a cosine, and a constant rate in the end."""
    optimizer = make_optimizer(build(recipe.model, 2), YOLOX)
    for step in range(300):
        rate = set_rate(optimizer, YOLOX, epoch=step // 30, step=step, steps=300)
        if step < 30:
            want = 0.01 * ((step + 1) / 30) ** 2
        elif step >= 240:
            want = 0.0005
        else:
            part = (step + 1 - 30) / (300 - 30 - 60)
            want = 0.0005 + 0.5 * (0.01 - 0.0005) * (1 + math.cos(math.pi * part))
        assert rate == pytest.approx(want, rel=1e-9)


def test_a_cosine_may_end_above_zero_and_stay_there(recipe: Recipe) -> None:
    schedule = Schedule(
        epochs=10, lr=0.01, warmup=0, decay="cosine", final_rate=0.1, constant_epochs=5
    )
    optimizer = make_optimizer(build(recipe.model, 2), schedule)
    rates = [set_rate(optimizer, schedule, epoch=0, step=s, steps=100) for s in (0, 25, 50, 99)]
    assert rates == pytest.approx([0.01, 0.0055, 0.001, 0.001])


def test_a_warm_up_longer_than_the_run(recipe: Recipe) -> None:
    schedule = YOLOX.model_copy(update={"warmup": 20})
    optimizer = make_optimizer(build(recipe.model, 2), schedule)
    rate = set_rate(optimizer, schedule, epoch=9, step=99, steps=100)
    assert rate == pytest.approx(0.01 * (100 / 200) ** 2)


def small(**values: object) -> tuple[torch.nn.Module, dict[str, tuple[float, float]]]:
    """Return a detector, and each parameter's rate and decay by schedule."""
    settings = ("model.backbone.name=resnet18", "model.backbone.weights=null", "model.channels=64")
    detector = build(load_recipe("fcos-r50-soda-d", settings).model, 2)
    schedule = Schedule(lr=0.01, warmup=0, weight_decay=0.5, **values)  # type: ignore[arg-type]
    optimizer = make_optimizer(detector, schedule)
    set_rate(optimizer, schedule, epoch=0, step=0, steps=100)
    names = {id(parameter): name for name, parameter in detector.named_parameters()}
    found = {
        names[id(p)]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for p in group["params"]
    }
    assert set(found) == {n for n, p in detector.named_parameters() if p.requires_grad}
    return detector, found


def test_norms_and_biases_do_not_decay() -> None:
    detector, found = small(decay_norms=False)
    for name, (_, decay) in found.items():
        norm = isinstance(detector.get_submodule(name.rpartition(".")[0]), NORMS)
        assert decay == (0.0 if norm or name.endswith("bias") else 0.5), name
    assert {decay for _, decay in found.values()} == {0.0, 0.5}
    assert found["head.scales.0"] == (0.01, 0.5)


def test_groups_by_name() -> None:
    groups = (Group(names=("backbone.layer*",), rate=0.1), Group(names=("head",), decay=0.2))
    _, found = small(groups=groups)
    assert found["backbone.layer3.0.conv1.weight"] == pytest.approx((0.001, 0.5))
    assert found["fpn.lateral.0.weight"] == (0.01, 0.5)
    assert found["head.cls_tower.0.weight"] == pytest.approx((0.01, 0.1))
    # FCOS' own group: biases of convolutions learn twice as fast; factors multiply
    assert found["head.cls_tower.0.bias"] == pytest.approx((0.02, 0.0))


def test_of_several_groups_the_factors_multiply() -> None:
    groups = (Group(names=("head", "fpn"), rate=0.5), Group(names=("head",), rate=0.5))
    _, found = small(groups=groups)
    assert found["head.cls_tower.0.weight"] == pytest.approx((0.0025, 0.5))
    assert found["fpn.lateral.0.weight"] == pytest.approx((0.005, 0.5))


def test_a_group_that_names_nothing_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"schedule\.groups: no parameter has a name like 'neck'"):
        small(groups=(Group(names=("backbone", "neck"), rate=0.1),))


def test_nesterov(recipe: Recipe) -> None:
    schedule = Schedule(nesterov=True)
    assert all(g["nesterov"] for g in make_optimizer(build(recipe.model, 2), schedule).param_groups)
    with pytest.raises(UsageError, match=r"schedule\.nesterov: there is none without a momentum"):
        load_recipe("yolox-s-soda-d", ["schedule.momentum=0", "schedule.nesterov=true"])


def test_groups_are_read_from_a_recipe() -> None:
    text = "schedule.groups=[{names: [backbone], rate: 0.1}]"
    recipe = load_recipe("retinanet-r50-soda-d", [text])
    assert recipe.schedule.groups == (Group(names=("backbone",), rate=0.1),)
    with pytest.raises(UsageError, match=r"schedule\.groups\.0"):
        load_recipe("retinanet-r50-soda-d", ["schedule.groups=[{names: [], rate: 0.1}]"])


def test_the_loss_scale_goes_on_where_it_was() -> None:
    off = torch.amp.GradScaler("cpu", enabled=False)
    done = Progress(scale=1024.0, growth=7)
    assert note_scale(restore_scale(off, done), done) == done
    on = torch.amp.GradScaler("cpu", enabled=True)
    assert note_scale(restore_scale(on, done), Progress()) == done
