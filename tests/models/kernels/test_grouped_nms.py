import pytest
import torch

from sodkit.models.kernels import grouped_nms as module
from sodkit.models.kernels.grouped_nms import (
    Candidates,
    grouped_nms,
    nms_apart,
    nms_each,
    nms_together,
)


def test_only_boxes_of_one_group_suppress_each_other():
    boxes = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 9], [50, 50, 60, 60.0]])
    scores = torch.tensor([0.5, 0.9, 0.7, 0.6])
    groups = torch.tensor([0, 0, 4, 0])
    assert grouped_nms(boxes, scores, groups, 0.5).tolist() == [1, 2, 3]


def test_nothing():
    empty = torch.zeros(0)
    assert grouped_nms(empty.reshape(0, 4), empty, empty.long(), 0.5).tolist() == []


def test_far_groups_do_not_change_the_overlap_of_small_boxes():
    """Shifting groups apart by thousands of px in float32 would change this IoU of .5."""
    boxes = torch.tensor([[1000.01, 7.0, 1003.01, 8.0], [1001.01, 7.0, 1004.01, 8.0]])
    iou = float(2 / 4)
    groups = torch.tensor([300, 300])
    assert len(grouped_nms(boxes, torch.tensor([0.9, 0.8]), groups, iou + 1e-4)) == 2
    assert len(grouped_nms(boxes, torch.tensor([0.9, 0.8]), groups, iou - 1e-4)) == 1


@pytest.mark.parametrize("seed", range(20))
def test_in_one_call_as_on_a_gpu_the_same_boxes_are_kept_in_the_same_order(seed):
    rng = torch.Generator().manual_seed(seed)
    corner = 3000 + 12 * torch.rand(300, 2, generator=rng)
    boxes = torch.cat([corner, corner + 0.3 + 6 * torch.rand(300, 2, generator=rng)], 1)
    scores = torch.randint(0, 20, (300,), generator=rng) / 20  # many are equal
    groups = torch.randint(0, 90, (300,), generator=rng) // 10
    for threshold in (0.3, 0.5, 0.7):
        want = grouped_nms(boxes, scores, groups, threshold)
        assert torch.equal(nms_apart(boxes, scores, groups, threshold), want)
        assert len(want) < (300 if threshold < 0.5 else 301)


def test_nothing_in_one_call():
    empty = torch.zeros(0)
    assert nms_apart(empty.reshape(0, 4), empty, empty.long(), 0.5).tolist() == []


def images(seed, *counts):
    """Return boxes of several images, some of them not usable, NaN among those."""
    rng = torch.Generator().manual_seed(seed)
    found = []
    for count in counts:
        corner = 30 * torch.rand(count, 2, generator=rng)
        boxes = torch.cat([corner, corner + 0.3 + 12 * torch.rand(count, 2, generator=rng)], 1)
        scores = torch.randint(0, 20, (count,), generator=rng) / 20
        usable = torch.rand(count, generator=rng) < 0.9
        boxes[~usable] = torch.nan
        found.append(
            Candidates(boxes, scores, torch.randint(0, 3, (count,), generator=rng), usable)
        )
    return found


@pytest.mark.parametrize("together", [module.TOGETHER, 100])
@pytest.mark.parametrize("limit", [1, 12, 1000])
def test_images_together_as_on_a_gpu_keep_what_each_keeps(limit, together, monkeypatch):
    monkeypatch.setattr(module, "TOGETHER", together)
    given = images(limit, 90, 0, 40, 1, 60)
    for threshold in (0.3, 0.7):
        want = nms_each(given, threshold, limit)
        assert max(map(len, want)) <= limit
        assert sum(map(len, want)) > 2
        found = nms_together(given, threshold, limit)
        for one, other, image in zip(found, want, given, strict=True):
            assert torch.equal(one, other)
            assert image.usable[one].all()


def test_no_boxes_of_any_image():
    assert [rows.tolist() for rows in nms_together(images(0, 0, 0), 0.5, 5)] == [[], []]
