"""Repeat factors against a slow reading of the paper, and how they become whole copies."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sodkit.data.records import Annotations
from sodkit.data.samples.loader import Batches, EpochBatches
from sodkit.data.samples.patch_dataset import TrainingSet
from sodkit.data.samples.repeats import by_class, draw_copies, repeats
from sodkit.settings import Input, Schedule


def slowly(labels: list[list[int]], threshold: float) -> list[float]:
    """Section 5.1 of the LVIS paper, word by word."""
    factors = []
    for image in labels:
        factor = 1.0
        for c in image:
            f = sum(c in other for other in labels) / len(labels)
            factor = max(factor, math.sqrt(threshold / f))
        factors.append(factor)
    return factors


@given(st.lists(st.lists(st.integers(0, 5), max_size=4), min_size=1, max_size=8), st.floats(0, 1))
def test_class_balance_is_the_papers(labels: list[list[int]], threshold: float) -> None:
    found = by_class([np.array(one, np.int64) for one in labels], threshold)
    np.testing.assert_allclose(found, slowly(labels, threshold))


@given(st.lists(st.floats(1, 9), min_size=1, max_size=30), st.integers(0, 2**32))
def test_copies_are_the_factor_rounded_and_their_sum_is_fixed(
    factors: list[float], seed: int
) -> None:
    each = np.array(factors)
    copies = draw_copies(each, np.random.default_rng(seed))
    assert copies.sum() == round(each.sum())
    scaled = each * round(each.sum()) / each.sum()
    assert (copies >= np.floor(scaled - 1e-9)).all()
    assert (copies <= np.ceil(scaled + 1e-9)).all()


def test_copies_are_the_factor_on_average() -> None:
    each = np.array([1.0, 1.25, 2.5, 1.75, 3.0, 1.5])
    total = sum(draw_copies(each, np.random.default_rng(k)) for k in range(4000))
    np.testing.assert_allclose(total / 4000, each, atol=0.03)


def test_images_with_a_smallest_object_are_repeated_if_it_is_learnt() -> None:
    rows = [np.array([0]), np.array([1, 2]), np.array([3]), np.array([], np.int64)]
    labels = np.zeros(4, np.int64)
    area = np.array([144.0, 145.0, 20.0, 20.0])
    learnable = np.array([True, True, True, False])
    schedule = Schedule(repeat_es=3.0)
    found = repeats(rows, labels, area, learnable, schedule)
    assert found is not None
    assert found.tolist() == [3, 3, 1, 1]
    both = repeats(rows, labels, area, learnable, Schedule(repeat_es=1.1, class_balance=1.0))
    assert both is not None
    np.testing.assert_allclose(both, [math.sqrt(2), math.sqrt(2), 1, 1])
    assert repeats(rows, labels, area, learnable, Schedule()) is None


def test_an_epoch_takes_every_image_and_repeats_some() -> None:
    sampler = EpochBatches(5, 3, seed=0, repeats=np.array([1.0, 1.0, 2.5, 1.0, 1.5]))
    assert len(sampler) == 3
    seen = []
    for epoch in range(4):
        sampler.epoch, sampler.start = epoch, 0
        keys = [key for batch in sampler for key in batch]
        assert len(keys) == len(set(keys)) == 7
        assert {key[1] for key in keys} == set(range(5))
        assert {key[0] for key in keys} == {epoch}
        for index in range(5):
            copies = sorted(key[2:] for key in keys if key[1] == index)
            assert copies == [(), (1,), (2,)][: len(copies)]
        seen.append(tuple(keys))
        sampler.start = 1
        assert [key for batch in sampler for key in batch] == keys[3:]
    assert len(set(seen)) == 4


def test_repeated_samples_do_not_depend_on_the_workers(data: tuple[Annotations, Path]) -> None:
    settings = Input(scale_range=(0.5, 1.5), quarter_turn=0.5)
    dataset = TrainingSet(*data, settings, seed=3)
    each = dataset.repeats(Schedule(repeat_es=2.0))
    found = [
        [(b.image_ids, b.sizes) for b in batches.epoch(1)]
        for workers in (0, 2)
        for batches in [Batches(dataset, batch=2, seed=3, workers=workers, repeats=each)]
    ]
    assert found[0] == found[1]
    ids = [i for image_ids, _ in found[0] for i in image_ids]
    assert sorted(ids) == [1, 1, 2, 3, 3, 4, 5]
