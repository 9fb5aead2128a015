from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sodkit.data.predictions.dota_zip import write_task1
from sodkit.data.predictions.writing import write_parts
from sodkit.data.records import BoxKind, Category, Detections, ImageRecord
from sodkit.geometry.rotated import obb_to_xywh

CLASSES = (Category(3, "car"), Category(7, "ship"))
ENDINGS = {"horizontal": (".json", ".npz"), "oriented": (".json", ".npz", ".zip")}


def detections(count: int, kind: BoxKind) -> Detections:
    rng = np.random.default_rng(count)
    obb = np.c_[rng.uniform(0, 900, (count, 2)), rng.uniform(9, 10, (count, 2)), np.zeros(count)]
    return Detections(
        image_ids=np.sort(rng.integers(1, 4, count)),
        labels=rng.integers(0, 2, count),
        scores=rng.random(count),
        xywh=obb_to_xywh(obb),
        obb=obb if kind == "oriented" else None,
    )


@pytest.mark.parametrize("kind", ["horizontal", "oriented"])
@given(cuts=st.lists(st.integers(0, 50), max_size=4), count=st.sampled_from([0, 1, 50]))
def test_a_file_is_the_same_however_rows_are_divided(
    kind: BoxKind, cuts: list[int], count: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("parts")
    found = detections(count, kind)
    edges = [0, *sorted(min(cut, count) for cut in cuts), count]
    parts = [found.take(np.arange(a, b)) for a, b in itertools.pairwise(edges)]
    images = [ImageRecord(k, f"{k}.png", 900, 900) for k in (1, 2, 3)]
    for ending in ENDINGS[kind]:
        for name, rows in (("one", [found]), ("many", parts)):
            if ending == ".zip":
                write_task1(folder / (name + ending), rows, CLASSES, images)
            else:
                write_parts(folder / (name + ending), rows, CLASSES)
        assert (folder / f"one{ending}").read_bytes() == (folder / f"many{ending}").read_bytes()


def test_columns_are_numpys_archive_to_the_byte(tmp_path: Path) -> None:
    found = detections(5000, "horizontal")
    write_parts(
        tmp_path / "a.npz", [found.take(np.arange(7)), found.take(np.arange(7, 5000))], None
    )
    np.savez_compressed(
        tmp_path / "b.npz", image_id=found.image_ids, score=found.scores, bbox=found.xywh
    )
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
