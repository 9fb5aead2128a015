import model_golden as golden
import torch

from sodkit.models.parts import sampling
from sodkit.models.parts.matchers import NEGATIVE
from sodkit.settings.base import Sampling

RULE = Sampling(samples=8, positive_share=0.5)


def test_sampling_fills_up_with_negatives():
    gt = torch.tensor([0, -1, 1, 2, -2, 0, 3, 3, -1, -1, -1, -1, -1])
    ((positives, negatives),) = sampling.sample([gt], RULE, golden.in_order)
    assert positives.tolist() == [0, 2, 3, 5]
    assert negatives.tolist() == [1, 8, 9, 10]
    few = gt.clone()
    few[5:] = -1
    ((positives, negatives),) = sampling.sample([few], RULE, golden.in_order)
    assert (len(positives), len(negatives)) == (3, 5)


def test_sampling_is_random_and_repeatable():
    gt = torch.full((1000,), NEGATIVE)

    def draw(seed):
        order = sampling.random_order(torch.Generator().manual_seed(seed))
        return sampling.sample([gt], RULE, order)[0][1].tolist()

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    assert draw(1) == sorted(set(draw(1)))


def test_what_is_drawn_for_an_image_follows_from_its_place_in_the_step():
    whole, second = sampling.Draws(0, 5), sampling.Draws(0, 5, first=2)
    for count in (50, 60):  # it goes on from draw to draw
        whole_of = [sampling.of_image(whole, number)(count).tolist() for number in range(4)]
        assert [sampling.of_image(second, k)(count).tolist() for k in (1, 0)] == [*whole_of[:1:-1]]
        assert len({tuple(order) for order in whole_of}) == 4
    common = whole(40).tolist()
    assert second(40).tolist() == common
    assert common not in ([sampling.Draws(0, 5).of(0)(40).tolist()], sampling.Draws(0, 6)(40))
    assert sampling.of_image(golden.in_order, 3) is golden.in_order
