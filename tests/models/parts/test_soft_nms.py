import math

import pytest
import torch
from torchvision.ops import box_iou

from sodkit.models.parts.soft_nms import LEAST, soft_nms
from tests.fake_cuda import CUDA, FakeCuda


def some(count=40, seed=0):
    rng = torch.Generator().manual_seed(seed)
    corner = 30 * torch.rand(1, count, 2, generator=rng)
    boxes = torch.cat([corner, corner + 5 + 20 * torch.rand(1, count, 2, generator=rng)], 2)
    scores = torch.rand(1, count, generator=rng)
    return boxes, scores, torch.randint(0, 3, (1, count), generator=rng)


def slowly(boxes, scores, labels, sigma, limit):
    left, rows, found = dict(enumerate(scores.tolist())), [], []
    iou = box_iou(boxes, boxes)
    while left and len(rows) < limit:
        best = max(left, key=left.__getitem__)
        rows.append(best)
        found.append(left.pop(best))
        for row in list(left):
            if labels[row] == labels[best]:
                left[row] *= math.exp(-(iou[row, best].item() ** 2) / sigma)
            if left[row] < LEAST:
                del left[row]
    return rows, found


@pytest.mark.parametrize("limit", [7, 100])
@pytest.mark.parametrize("sigma", [0.02, 0.5])
def test_it_takes_the_best_and_weakens_its_neighbours(sigma, limit):
    boxes, scores, labels = some()
    rows, found = soft_nms(boxes, scores, labels, sigma, limit)
    there = found[0] > 0
    want = slowly(boxes[0], scores[0], labels[0], sigma, limit)
    assert rows[0, there].tolist() == want[0]
    torch.testing.assert_close(found[0, there], torch.tensor(want[1]))
    assert (len(want[0]) < 40) == (sigma == 0.02 or limit == 7)


def test_images_are_apart_and_what_plays_no_part_is_not_found():
    first, second = some(), some(seed=1)
    both = [torch.cat(pair) for pair in zip(first, second, strict=True)]
    both[1][1, 5:] = -1
    rows, found = soft_nms(*both, 0.5, 100)
    alone = soft_nms(*first, 0.5, 100)
    count = alone[0].shape[1]
    assert torch.equal(rows[0, :count], alone[0][0])
    assert torch.equal(found[0, :count], alone[1][0])
    assert set(rows[1, found[1] > 0].tolist()) <= set(range(5))


def test_without_boxes():
    rows, found = soft_nms(torch.zeros(2, 0, 4), torch.zeros(2, 0), torch.zeros(2, 0).long(), 1, 9)
    assert rows.shape == found.shape == (2, 0)


def test_on_a_device_nothing_is_waited_for():
    given = some()
    rows, found = soft_nms(*given, 0.02, 30)
    with FakeCuda() as gpu:
        moved = [one.to(CUDA) for one in given]
        gpu.reset()
        other, scores = soft_nms(*moved, 0.02, 30)
        assert not gpu.copies
        assert gpu.waits.total() == 0
    count = rows.shape[1]
    assert torch.equal(other[:, :count], rows)
    assert torch.equal(scores[:, :count], found)
    assert (scores[:, count:] < 0).all()
