import model_golden as golden
import pytest
import torch

from sodkit.models.kernels.blocks import blocks
from sodkit.models.parts import contrast, sampling
from sodkit.models.parts.contrast import EXEMPLAR, HIGH, LOW, MIDDLE, Objects, Samples
from sodkit.settings.two_stage import Imitation

CONFIG = Imitation(samples=8, low_positive_share=0.5, middle_positive_share=0.25)


def ints(*values):
    return torch.tensor(values, dtype=torch.int64)


def test_groups():
    iq = torch.tensor([0.0, 0.24, 0.25, 0.64, 0.65, 0.65, 0.9])
    found = contrast.groups(iq, ints(0, 9, 9, 9, 7, 8, 20), Imitation())
    assert found.tolist() == [LOW, LOW, MIDDLE, MIDDLE, MIDDLE, HIGH, HIGH]


def test_copies_move_in_their_own_direction():
    """Defect 3: the release shifts x by the height and y by the width."""
    found = contrast.copies(torch.tensor([[0.0, 0.0, 20.0, 10.0]]), Imitation())[0]
    assert found.shape == (10, 4)
    centre, size = (found[:, :2] + found[:, 2:]) / 2, found[:, 2:] - found[:, :2]
    shift = centre - torch.tensor([10.0, 5.0])
    want = [[6, 0], [-6, 0], [10, 0], [-10, 0], [0, 3], [0, -3], [0, 5], [0, -5], [0, 0], [0, 0]]
    torch.testing.assert_close(shift, torch.tensor(want, dtype=torch.float32))
    torch.testing.assert_close(size[:8], torch.tensor([[20.0, 10.0]] * 8))
    torch.testing.assert_close(size[8:], torch.tensor([[19.4, 9.7], [20.6, 10.3]]))


def test_copies_belong_to_their_box():
    """Defect 3: with two boxes the release deals rescaled copies to the wrong one."""
    boxes = torch.tensor([[0.0, 0.0, 20.0, 10.0], [100.0, 100.0, 110.0, 130.0]])
    both = contrast.copies(boxes, Imitation())
    for number in (0, 1):
        alone = contrast.copies(boxes[number : number + 1], Imitation())
        torch.testing.assert_close(both[number], alone[0])


def samples():
    """Image 0: rows 0..3; image 1: rows 4..6; exemplars 7..12; copies of object 2: 13, 14."""
    return Samples(
        labels=ints(0, 9, 9, 1, 9, 9, 2, 0, 0, 0, 0, 0, 1, 2, 2),
        image=ints(0, 0, 0, 0, 1, 1, 1, *[EXEMPLAR] * 6, 1, 1),
        source=ints(*[-1] * 13, 2, 2),
    )


OBJECTS = Objects(
    labels=ints(0, 1, 2, 3), image=ints(0, 0, 1, 1), group=ints(LOW, MIDDLE, HIGH, LOW)
)


def choose(order):
    """Return members and positives as masks (objects, samples)."""
    found = contrast.choose(OBJECTS, samples(), CONFIG, contrast.order(samples().image, order))
    masks = torch.zeros(2, 4, 15, dtype=torch.bool)
    for mask, places in zip(masks, (found.members, found.positives), strict=True):
        row, place = torch.nonzero(places, as_tuple=True)
        mask[row, found.columns[row, place]] = True
        assert mask.sum() == places.sum()  # nothing twice
    return masks


def rows(mask):
    return torch.nonzero(mask)[:, 0].tolist()


def test_who_is_compared_with_whom():
    members, positives = choose(golden.in_order)
    assert rows(positives[0]) == [7, 8, 9, 10]  # half of 8
    assert rows(members[0]) == [1, 2, 3, 7, 8, 9, 10, 12]
    assert rows(positives[1]) == [12]
    assert rows(members[1]) == [0, 1, 2, 7, 8, 9, 10, 12]  # fills up to 8
    assert rows(positives[2]) == [13, 14]
    assert rows(members[2]) == [4, 5, 7, 8, 9, 10, 13, 14]
    assert rows(positives[3]) == []  # no exemplar of class 3


def test_nothing_of_another_image():
    for seed in range(20):
        order = sampling.random_order(torch.Generator().manual_seed(seed))
        members, positives = choose(order)
        assert not members[:2, 4:7].any()
        assert not members[:2, 13:].any()
        assert not members[2:, :4].any()
        assert (positives & ~members).sum() == 0
        assert (members.sum(1) <= 8).all()
        assert positives.sum(1).tolist() == [4, 1, 2, 0]


def test_each_draw_is_uniform():
    """Of five exemplars four are chosen: each in four of five draws."""
    order = sampling.random_order(torch.Generator().manual_seed(0))
    hits = torch.zeros(15)
    for _ in range(500):
        hits += choose(order)[1][0]
    assert hits[7:12].tolist() == [pytest.approx(400, abs=40)] * 5


def test_in_blocks_or_at_once(monkeypatch):
    """Crowded images are looked at in parts, with the same result."""

    def order(count):
        return torch.randperm(count, generator=torch.Generator().manual_seed(3))

    at_once = contrast.choose(OBJECTS, samples(), CONFIG, contrast.order(samples().image, order))
    for cells in (1, 15, 40):
        monkeypatch.setattr("sodkit.models.kernels.blocks.CELLS", cells)
        assert len(blocks(4, 15)) == {1: 4, 15: 4, 40: 2}[cells]
        parts = contrast.choose(OBJECTS, samples(), CONFIG, contrast.order(samples().image, order))
        for name in ("columns", "members", "positives"):
            assert torch.equal(getattr(parts, name), getattr(at_once, name))


def test_an_images_order_does_not_depend_on_the_images_beside_it():
    image = ints(0, 0, 2, 0, 1, 2, 2, EXEMPLAR, EXEMPLAR, EXEMPLAR, 2, 0)
    whole = contrast.order(image, sampling.Draws(0, 3))
    assert sorted(whole.tolist()) == list(range(len(image)))
    for number in (0, 1, 2):
        mine = torch.nonzero((image == number) | (image == EXEMPLAR))[:, 0]
        alone = image[mine].where(image[mine] == EXEMPLAR, 0)
        order = mine[contrast.order(alone, sampling.Draws(0, 3, first=number))]
        assert order.tolist() == [row for row in whole.tolist() if row in mine.tolist()]


def test_orders_are_uniform():
    """Of one image's two samples and two exemplars, each of 24 orders comes as often."""
    image = ints(0, 0, EXEMPLAR, EXEMPLAR)
    counts = {}
    for step in range(2400):
        order = tuple(contrast.order(image, sampling.Draws(0, step)).tolist())
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 24
    assert sum((count - 100) ** 2 / 100 for count in counts.values()) < 49.7  # chi^2, p = .001


def test_in_index_order_an_image_sees_its_samples_before_exemplars():
    image = ints(1, EXEMPLAR, 0, 1, EXEMPLAR, 0)
    order = contrast.order(image, golden.in_order).tolist()
    for number, wanted in ((0, [2, 5, 1, 4]), (1, [0, 3, 1, 4])):
        assert [row for row in order if image[row] in (number, EXEMPLAR)] == wanted
    assert contrast.order(ints(), golden.in_order).tolist() == []
