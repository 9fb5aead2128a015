"""IoUs of tensors against torchvision's, and of oriented boxes against upright ones."""

import torch
from torchvision.ops import box_area, box_iou

from sodkit.models.parts.box_iou import area, every_iou, intersection, paired_iou
from sodkit.models.parts.rotated_coders import upright


def boxes(count, seed):
    corner, size = torch.rand(2, count, 2, generator=torch.Generator().manual_seed(seed)) * 40
    return torch.cat([corner, corner + size + 1], 1)


def test_every_pair():
    a, b = boxes(20, 0), boxes(30, 1)
    torch.testing.assert_close(every_iou(a, b), box_iou(a, b))
    torch.testing.assert_close(area(a), box_area(a))
    assert intersection(a, a + 100).max() == 0
    assert every_iou(a, b[:0]).shape == (20, 0)


def test_pairs_of_rows_upright_and_oriented():
    a, b = boxes(20, 0), boxes(20, 1)
    want = box_iou(a, b).diagonal()
    torch.testing.assert_close(paired_iou(a, b), want)
    torch.testing.assert_close(paired_iou(upright(a), upright(b)), want, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(area(upright(a)), area(a))


def test_boxes_without_area_overlap_nothing_and_have_a_gradient():
    flat = torch.tensor([[3.0, 3, 3, 3]], requires_grad=True)
    iou = paired_iou(flat, flat)
    assert iou.item() == 0
    iou.sum().backward()
    assert torch.isfinite(flat.grad).all()
