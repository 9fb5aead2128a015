import pytest
import torch

from sodkit.models.parts.reppoints_head import RepPointsHead


def head(offset_gradient=0.1, moment_gradient=0.01):
    torch.manual_seed(0)
    return RepPointsHead(16, 1, 3, 0.01, offset_gradient, moment_gradient)


def test_boxes_are_mean_and_deviation_of_the_points():
    module = head()
    with torch.no_grad():
        module.moment.copy_(torch.tensor([0.2, -0.3]))
    sets = torch.randn(5, 9, 2)
    boxes = module.boxes(sets)
    y, x = sets.unbind(-1)
    width, height = x.std(1) * torch.tensor(0.2).exp(), y.std(1) * torch.tensor(-0.3).exp()
    want = [x.mean(1) - width, y.mean(1) - height, x.mean(1) + width, y.mean(1) + height]
    torch.testing.assert_close(boxes, torch.stack(want, 1))


def test_nine_equal_points_have_a_gradient():
    sets = torch.ones(2, 9, 2, requires_grad=True)
    head().boxes(sets).pow(2).sum().backward()
    assert torch.isfinite(sets.grad).all()


def test_factors_of_the_moments_get_a_share_of_their_gradient():
    sets = torch.randn(5, 9, 2)
    grads = []
    for share in (1.0, 0.01):
        module = head(moment_gradient=share)
        module.boxes(sets).pow(2).sum().backward()
        grads.append(module.moment.grad)
    assert (grads[0] != 0).all()
    torch.testing.assert_close(grads[1], 0.01 * grads[0])


def initial_gradient(share, of):
    """Return the gradient that an output gives the layer of the initial points."""
    module = head(offset_gradient=share)
    with torch.no_grad():
        module.cls_out.weight.mul_(100)
    output = module([torch.randn(1, 16, 6, 7, generator=torch.Generator().manual_seed(1))])
    getattr(output, of)[0].square().sum().backward()
    return module.initial_out.weight.grad


def test_initial_points_get_a_share_of_the_gradient_as_offsets():
    whole, tenth = (initial_gradient(share, "logits") for share in (1.0, 0.1))
    assert whole.abs().max() > 1e-3
    torch.testing.assert_close(tenth, 0.1 * whole, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.1])
def test_refined_points_move_initial_ones_only_as_offsets(share):
    grad = initial_gradient(share, "refined")
    assert (grad.abs().max() > 0) == (share > 0)


def test_shapes_and_scores_at_the_start():
    output = head()([torch.randn(2, 16, 6, 7), torch.randn(2, 16, 3, 4)])
    assert [x.shape for x in output.logits] == [(2, 42, 3), (2, 12, 3)]
    for sets in (output.initial, output.refined):
        assert [x.shape for x in sets] == [(2, 42, 9, 2), (2, 12, 9, 2)]
    assert output.logits[0].sigmoid().mean().item() == pytest.approx(0.01, rel=0.05)
