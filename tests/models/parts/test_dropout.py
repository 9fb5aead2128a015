import torch

from sodkit.models.parts.dropout import dropping, nothing
from sodkit.models.parts.sampling import Draws

CPU = torch.device("cpu")


def dropped(seed=0, step=0, first=0, images=4, share=0.25):
    drop = dropping(share, Draws(seed, step, first), images, CPU)
    return [drop(torch.ones(images, 50, 20)) for _ in range(2)]


def test_a_share_is_dropped_and_the_rest_scaled_up():
    for x in dropped():
        torch.testing.assert_close(x.unique(), torch.tensor([0.0, 1 / 0.75]))
        assert abs((x == 0).float().mean() - 0.25) < 0.03


def test_images_and_calls_drop_differently():
    first, second = dropped()
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, dropped(step=1)[0])


def test_a_step_may_be_divided():
    whole, parts = dropped(), [dropped(first=0, images=1), dropped(first=1, images=3)]
    for call in range(2):
        assert torch.equal(whole[call], torch.cat([part[call] for part in parts]))


def test_the_gradient_is_that_of_what_is_left():
    drop, x = dropping(0.5, Draws(0, 0), 2, CPU), torch.ones(2, 30, requires_grad=True)
    y = drop(x)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())


def test_the_type_stays():
    drop = dropping(0.5, Draws(0, 0), 2, CPU)
    assert drop(torch.ones(2, 30, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_nothing_is_drawn_for_no_share():
    def never(count):
        raise AssertionError(count)

    assert dropping(0.0, never, 2, CPU) is nothing
