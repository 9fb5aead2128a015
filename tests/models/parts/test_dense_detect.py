"""What every dense detector does with its head's output, on numbers that can be checked by eye."""

import pytest
import torch

from sodkit.data.batches import Batch
from sodkit.models.parts.dense_detect import (
    best_of_all_pairs,
    best_pairs,
    candidates,
    candidates_each,
)
from sodkit.models.parts.dense_head import DenseOutput
from sodkit.models.parts.postprocess import detections
from sodkit.settings import Keep

BOXES = [
    torch.tensor([[0.0, 0.0, 10.0, 10.0], [1.0, 0.0, 11.0, 10.0], [30.0, 30.0, 90.0, 50.0]]),
    torch.tensor([[5.0, 40.0, 15.0, 45.0]]),
]
SCORES = [torch.tensor([[0.9, 0.1], [0.8, 0.7], [0.3, 0.02]]), torch.tensor([[0.04, 0.6]])]


def output(centerness=None):
    """Return one image on two levels, three locations and one, two classes."""
    factors = None if centerness is None else [c.logit()[None] for c in centerness]
    logits = [scores.logit()[None] for scores in SCORES]
    return DenseOutput(logits, [boxes[None] for boxes in BOXES], factors)


def detect(output, batch, keep):
    """Do what a one-stage detector does after its head."""
    return detections(candidates_each(output, batch, keep.score, 1000, decode), batch, keep)


def decode(level, rows, deltas):
    assert torch.equal(deltas, BOXES[level][rows])
    return deltas


def rounded(tensor):
    return [round(value, 3) for value in tensor.tolist()]


def test_pairs_above_the_threshold_the_best_of_each_level_first():
    found = candidates(output(), 0, 0.05, 3, decode)
    assert rounded(found.scores) == [0.9, 0.8, 0.7, 0.6]
    assert found.groups.tolist() == [0, 0, 1, 1]
    assert torch.equal(found.boxes, torch.stack([*BOXES[0][[0, 1, 1]], BOXES[1][0]]))
    assert found.usable.all()
    every = candidates(output(), 0, 0.05, 100, decode)
    assert rounded(every.scores) == [0.9, 0.8, 0.7, 0.3, 0.1, 0.6]


@pytest.mark.parametrize("count", [1, 3, 6, 100])
def test_the_best_of_all_pairs_as_on_a_gpu_are_those_above_the_threshold(count):
    """The others among them come last; those that are no numbers are among them."""
    rng = torch.Generator().manual_seed(0)
    logits = torch.randint(-30, 30, (40, 3), generator=rng) / 10  # many are equal
    logits[3, 1] = torch.nan
    wanted = best_pairs(logits, 0.7, count)
    found = best_of_all_pairs(logits.sigmoid(), 0.7, count)
    above = found[0] > 0.7
    assert 0 < above.sum() == len(wanted[0]) <= count
    assert above[: len(wanted[0])].all()
    for one, other in zip(found, wanted, strict=True):
        assert torch.equal(one[above], other)


def test_centerness_changes_the_score_but_not_what_is_taken():
    factors = [torch.tensor([0.5, 0.01, 0.5]), torch.tensor([0.9])]
    found = candidates(output(factors), 0, 0.05, 3, decode)
    assert rounded(found.scores) == [0.45, 0.008, 0.007, 0.54]
    assert found.groups.tolist() == [0, 0, 1, 1]


def test_boxes_of_a_class_suppress_each_other_and_are_clipped_and_brought_back():
    batch = Batch(torch.zeros(1, 3, 64, 64), ((60, 50),), ((2.0, 2.0),))
    (found,) = detect(output(), batch, Keep(nms=0.5, max_per_patch=4))
    assert rounded(found.scores) == [0.9, 0.7, 0.6, 0.3]
    assert found.labels.tolist() == [0, 1, 1, 0]
    assert found.boxes.tolist() == [
        [0, 0, 5, 5], [0.5, 0, 5.5, 5], [2.5, 20, 7.5, 22.5], [15, 15, 25, 25],
    ]  # fmt: skip


def test_by_the_centerness_another_box_is_the_better_one():
    batch = Batch(torch.zeros(1, 3, 64, 64), ((60, 50),), ((1.0, 1.0),))
    factors = [torch.tensor([0.5, 0.9, 0.5]), torch.tensor([0.9])]
    (found,) = detect(output(factors), batch, Keep(nms=0.5))
    assert rounded(found.scores) == [0.72, 0.63, 0.54, 0.15]
