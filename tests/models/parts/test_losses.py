import model_golden as golden
import numpy as np
import torch
from torch.nn import functional as F
from torchvision.ops import generalized_box_iou_loss

from sodkit.models.parts import losses
from sodkit.models.parts.feat2embed import Feat2Embed


def test_iou_loss():
    a = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 1.0, 1.0]])
    b = torch.tensor([[1.0, 0.0, 3.0, 2.0], [5.0, 5.0, 6.0, 6.0]])
    torch.testing.assert_close(losses.iou_loss(a, b), torch.tensor(1 - 1 / 3 + 1))
    assert losses.iou_loss(a[:0], b[:0]) == 0


def test_giou_loss_is_torchvision_s():
    rng = torch.Generator().manual_seed(0)
    corner = 20 * torch.rand(2, 50, 2, generator=rng)
    a, b = torch.cat([corner, corner + 1 + 9 * torch.rand(2, 50, 2, generator=rng)], 2)
    a.requires_grad_()
    found, want = losses.giou_loss(a, b), generalized_box_iou_loss(a, b)
    torch.testing.assert_close(found, want)
    mine, theirs = (torch.autograd.grad(each.sum(), a)[0] for each in (found, want))
    torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-4)
    assert losses.giou_loss(a[:0], b[:0]).shape == (0,)


def test_giou_loss_of_a_box_without_area_has_a_gradient():
    flat = torch.zeros(1, 4, requires_grad=True)
    for other in (torch.zeros(1, 4), torch.tensor([[-1.0, -1.0, 1.0, 1.0]])):
        loss = losses.giou_loss(flat, other).sum()
        assert torch.isfinite(loss)
        assert torch.isfinite(torch.autograd.grad(loss, flat)[0]).all()


def test_objectness_is_the_binary_cross_entropy():
    logits = torch.tensor([2.0, -1.0, 0.5])
    found = losses.objectness(logits, torch.tensor([0]), torch.tensor([1, 2]))
    want = F.binary_cross_entropy_with_logits(
        logits, torch.tensor([1.0, 0.0, 0.0]), reduction="sum"
    )
    torch.testing.assert_close(found, want)


def test_contrast_is_the_release():
    """Seven objects with 128 samples each; the fourth has no positives and counts as 0."""
    want = golden.load("contrast")
    rng = np.random.RandomState(33)
    query = torch.as_tensor(rng.standard_normal((7, 256)).astype(np.float32))
    pool = torch.as_tensor(rng.standard_normal((7, 128, 256)).astype(np.float32))
    positive = torch.as_tensor(rng.uniform(size=(7, 128)) < 0.2)
    positive[3] = False
    np.testing.assert_array_equal(positive, want["signs"])
    embed = Feat2Embed(256)
    part = "roi_head.fc_"
    state = {k[9:]: v for k, v in golden.weights("keys_r18").items() if k.startswith(part)}
    embed.load_state_dict(state, strict=False)
    with torch.no_grad():
        logits = embed.embed(query)[:, None] @ embed.embed(pool).transpose(1, 2) / 0.6
        everyone = torch.ones(7, 128, dtype=torch.bool)
        each, counted = losses.contrastive(logits[:, 0], everyone, positive)
    assert counted.tolist() == [True, True, True, False, True, True, True]
    np.testing.assert_allclose(each, want["loss_each_weight1"], rtol=1e-5)
    mean = (each * torch.as_tensor(want["weights"])).mean()
    np.testing.assert_allclose(mean, want["loss"], rtol=1e-5)


def test_contrast_ignores_samples_of_others():
    logits = torch.randn(2, 6, generator=torch.Generator().manual_seed(0))
    members = torch.tensor([[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]], dtype=torch.bool)
    positives = torch.tensor([[1, 0, 0, 0, 0, 0], [0, 0, 0, 1, 1, 0]], dtype=torch.bool)
    each, _ = losses.contrastive(logits, members, positives)
    torch.testing.assert_close(each[0], -logits[0, :3].log_softmax(0)[0])
    torch.testing.assert_close(each[1], -logits[1, 3:].log_softmax(0)[:2].mean())


def test_contrast_without_samples_has_a_finite_gradient():
    logits = torch.randn(2, 3, requires_grad=True)
    none = torch.zeros(2, 3, dtype=torch.bool)
    each, counted = losses.contrastive(logits, none, none)
    each.sum().backward()
    assert each.tolist() == [0, 0]
    assert not counted.any()
    assert (logits.grad == 0).all()
