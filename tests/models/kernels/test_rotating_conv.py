"""The active rotating filter: its turns are those of the original's table and of the image."""

import torch
from torch.nn import functional as F

from sodkit.models.kernels.rotating_conv import TURNS, RotatingConv, strongest_turn, turned_places

TABLE = (  # where the weight at each place of a filter goes, both numbered from 1 row by row
    (1, 2, 3, 4, 5, 6, 7, 8, 9),
    (2, 3, 6, 1, 5, 9, 4, 7, 8),
    (3, 6, 9, 2, 5, 8, 1, 4, 7),
    (6, 9, 8, 3, 5, 7, 2, 1, 4),
    (9, 8, 7, 6, 5, 4, 3, 2, 1),
    (8, 7, 4, 9, 5, 1, 6, 3, 2),
    (7, 4, 1, 8, 5, 2, 9, 6, 3),
    (4, 1, 2, 7, 5, 3, 8, 9, 6),
)


def conv(filters=2, inputs=3):
    torch.manual_seed(0)
    made = RotatingConv(inputs, filters * TURNS)
    torch.nn.init.normal_(made.weight)
    torch.nn.init.normal_(made.bias)
    return made


def test_turns_are_those_of_the_original():
    found = turned_places()
    for turn, row in enumerate(TABLE):
        for place, goes_to in enumerate(row):
            assert found[turn, goes_to - 1] == place


def test_it_is_a_convolution_with_each_filter_in_eight_turns():
    made, features = conv(), torch.randn(1, 3, 5, 6)
    found = made(features)
    for number, weight in enumerate(made.weight.detach()):
        for turn, row in enumerate(TABLE):
            turned = torch.zeros(3, 9)
            for place, goes_to in enumerate(row):
                turned[:, goes_to - 1] = weight.reshape(3, 9)[:, place]
            channel = number * TURNS + turn
            wanted = F.conv2d(features, turned.reshape(1, 3, 3, 3), padding=1)
            wanted = wanted + made.bias[channel]
            torch.testing.assert_close(found[:, channel : channel + 1], wanted)


def test_a_quarter_turn_of_the_image_is_two_turns_of_the_filters():
    made, features = conv(), torch.randn(2, 3, 7, 7)
    torch.nn.init.zeros_(made.bias)
    found = made(features).reshape(2, 2, TURNS, 7, 7)
    turned = made(features.rot90(-1, (2, 3))).reshape(2, 2, TURNS, 7, 7)
    torch.testing.assert_close(turned, found.rot90(-1, (3, 4)).roll(2, 2))
    strongest = strongest_turn(found.flatten(1, 2))
    torch.testing.assert_close(strongest_turn(turned.flatten(1, 2)), strongest.rot90(-1, (2, 3)))
    assert strongest.shape == (2, 2, 7, 7)


def test_gradients():
    made = conv(1, 2).double()
    features = torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)

    def run(features, weight):
        made.weight.data = weight
        return torch.func.functional_call(made, {"weight": weight}, (features,))

    weight = made.weight.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(run, (features, weight))
