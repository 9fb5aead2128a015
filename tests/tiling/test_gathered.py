"""Detections merged in bands are those merged at once, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sodkit.data.records import BoxKind, Detections
from sodkit.geometry.rotated import canonical, obb_to_xywh
from sodkit.tiling import gathered
from sodkit.tiling.gathered import Gathered, ImageResult, merge_gathered
from sodkit.tiling.merge import merge_patches


def scene(seed: int, kind: BoxKind, count: int, *, chain: bool = False) -> list[Detections]:
    """Windows with boxes of two classes; ``chain``: a row of them, each better than the next."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, 400, (count, 2)) * [1, 0.2]
    scores = rng.integers(1, 30, count) / 30  # many are equal
    if chain:
        centres = np.c_[np.arange(count) * 3.0, np.zeros(count)]
        scores = np.linspace(0.9, 0.1, count)
    sizes = rng.uniform(6, 14, (count, 2))
    obb = canonical(np.c_[centres, sizes, rng.uniform(-1.5, 1.5, count)])
    oriented = kind == "oriented"
    xywh = obb_to_xywh(obb) if oriented else np.c_[centres - sizes / 2, sizes]
    labels = np.zeros(count, np.int64) if chain else rng.integers(0, 2, count)
    found = Detections(
        np.full(count, 7), labels, scores, xywh, obb if oriented else None
    )  # fmt: skip
    edges = np.sort(rng.integers(0, count + 1, 4))
    return [found.take(rows) for rows in np.split(np.arange(count), edges)]


def gather(windows: list[Detections]) -> Gathered:
    all_ = Gathered(windows[0].kind)
    for window in windows:
        all_.add(window)
    return all_


def same(one: Detections, other: Detections) -> None:
    for name in ("image_ids", "labels", "scores", "xywh", "obb"):
        a, b = getattr(one, name), getattr(other, name)
        assert (a is None) == (b is None)
        if a is not None:
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", ["horizontal", "oriented"])
@settings(max_examples=20)
@given(
    seed=st.integers(0, 9999), count=st.sampled_from([0, 1, 40, 200]), chain=st.booleans(),
    iou=st.sampled_from([0.0, 0.1, 0.5]), part=st.sampled_from([1, 7, 50, 1000]),
)  # fmt: skip
def test_bands_find_what_is_found_at_once(
    kind: BoxKind, seed: int, count: int, chain: bool, iou: float, part: int
) -> None:
    windows = scene(seed, kind, count, chain=chain)
    everything = gather(windows)
    assert len(everything) == count
    result = ImageResult(everything, merge_gathered(everything, iou, part=part), 7)
    same(result.whole(), merge_patches(Detections.concatenate(windows, kind), iou))


def test_what_one_band_cannot_know_is_done_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain of boxes that decide each other is longer than what a band sees."""
    monkeypatch.setattr(gathered, "_MARGIN", 0.0)
    runs: list[int] = []
    stay = gathered._stay

    def counted(all_: Gathered, rows: np.ndarray, *rest: object) -> np.ndarray:
        runs.append(len(rows))
        return stay(all_, rows, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(gathered, "_stay", counted)
    windows = scene(1, "horizontal", 300, chain=True)
    everything = gather(windows)
    rows = merge_gathered(everything, 0.1, part=20)
    same(
        ImageResult(everything, rows, 7).whole(),
        merge_patches(Detections.concatenate(windows), 0.1),
    )
    assert runs[-1] == 300
    assert max(runs[:-1]) < 100


def test_parts_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathered, "PART", 30)
    everything = gather(scene(2, "oriented", 100))
    result = ImageResult(everything, np.random.default_rng(0).permutation(100), 7)
    parts = list(result.parts())
    assert [len(part) for part in parts] == [30, 30, 30, 10]
    same(Detections.concatenate(parts), result.whole())
    nothing = ImageResult(Gathered("oriented"), np.zeros(0, np.int64), 7)
    assert [len(part) for part in nothing.parts()] == [0]
    assert nothing.whole().kind == "oriented"
