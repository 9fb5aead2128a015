import model_golden as golden
import pytest
import torch

from sodkit.config import load_recipe
from sodkit.data.batches import Batch
from sodkit.errors import UsageError
from sodkit.models import zoo
from sodkit.models.parts import heatmap
from sodkit.models.parts.corner_head import CornerMaps
from sodkit.models.parts.matchers import IGNORED
from sodkit.settings import Keep

SMALL = (
    "model.widths=[32, 32]", "model.blocks=[1, 1]", "model.channels=16", "model.pooled=8",
    "model.hidden=16",
)  # fmt: skip
SHAPE = torch.Size((1, 3, 16, 16))


def build(*more):
    torch.manual_seed(0)
    return zoo.build(load_recipe("cornernet-hourglass-soda-d", [*SMALL, *more]).model, 3)


def batch(*targets, side=64):
    images = torch.randn(len(targets), 3, 64, 64, generator=torch.Generator().manual_seed(0))
    return Batch(images, ((side, side),) * len(targets), ((1.0, 1.0),) * len(targets), targets)


def wanted(given, detector=None):
    return (detector or build()).wanted(heatmap.seen(given), given, SHAPE)


def test_corners_are_wanted_in_their_cells():
    first, second = wanted(batch(golden.target([[5, 9, 30, 22], [40, 40, 64, 64]], [0, 2])))
    assert first.place.tolist() == [2 * 16 + 1, 10 * 16 + 10]
    assert second.place.tolist() == [5 * 16 + 7, 15 * 16 + 15]
    torch.testing.assert_close(first.offset, torch.tensor([[0.25, 0.25], [0.0, 0.0]]))
    # the image's border belongs to the last cell
    torch.testing.assert_close(second.offset, torch.tensor([[0.5, 0.5], [1.0, 1.0]]))
    assert (first.heat == 1).nonzero().tolist() == [[0, 0, 2, 1], [0, 2, 10, 10]]
    assert (second.heat == 1).nonzero().tolist() == [[0, 0, 5, 7], [0, 2, 15, 15]]


def test_a_corner_on_the_border_has_the_same_cell_in_a_larger_batch():
    given = batch(golden.target([[4, 4, 32, 32]], [1]), side=32)
    _, second = wanted(given)
    assert second.place.tolist() == [7 * 16 + 7]
    assert second.learnt.all()
    torch.testing.assert_close(second.offset, torch.tensor([[1.0, 1.0]]))


def test_of_two_corners_in_a_cell_the_last_is_learnt():
    first, second = wanted(batch(golden.target([[8, 8, 30, 30], [9, 9, 40, 44]], [0, 0])))
    assert first.learnt.tolist() == [False, True]
    assert second.learnt.tolist() == [True, True]
    assert int((first.heat == 1).sum()) == 1


@pytest.mark.parametrize("corner", [0, 1])
def test_an_object_with_a_corner_in_an_ignore_region_is_not_paired(corner):
    rows = [[4, 4, 14, 14], [40, 40, 50, 50]]
    region = ([38, 38, 45, 45], [45, 45, 53, 53])[corner]
    detector = build()
    given = batch(golden.target(rows, [0, 2], [region]))
    both = wanted(given, detector)
    assert both[corner].learnt.tolist() == [True, False]
    assert both[1 - corner].learnt.tolist() == [True, True]
    inside = both[0].left_out[0]
    # cells whose middles (4 x + 2) are in the region
    cells = ((9, 10), (11, 12))[corner]
    assert inside.nonzero().tolist() == [[y, x] for y in cells for x in cells]
    assert ((both[0].match == IGNORED) == (both[1].match == IGNORED)).all()
    stacks = detector.train().see(given.images)
    for maps in (maps for stack in stacks for maps in stack):
        maps.logits.retain_grad()
        maps.embedding.retain_grad()
    detector.see = lambda images: stacks
    sum(detector(given, golden.in_order).values()).backward()
    for stack in stacks:
        for maps, one in zip(stack, both, strict=True):
            assert (maps.logits.grad[0, :, inside] == 0).all()
            assert (maps.logits.grad[0, :, ~inside] != 0).all()
            touched = maps.embedding.grad[0, 0].flatten().nonzero().flatten().tolist()
            assert touched == [one.place[0].item()]


def drawn(corners):
    """Return maps (1, 3, 16, 16) with peaks at cells (column, row) of class 1."""
    logits = torch.full(SHAPE, -20.0)
    for score, (column, row) in enumerate(reversed(corners)):
        logits[0, 1, row, column] = score
    return CornerMaps(logits, torch.zeros(1, 1, 16, 16), torch.zeros(1, 2, 16, 16))


def test_an_object_as_large_as_its_image_is_found_in_a_larger_batch():
    # of 64 px the image has 32: its lower right corner is the first point of cell (8, 8)
    detector = build("model.mirror=false")
    detector.see = lambda images: [(drawn([(8, 2), (0, 0)]), drawn([(9, 4), (8, 8)]))]
    (found,) = detector.detect(batch(golden.target([]), side=32), Keep(score=0.4))
    assert found.boxes.tolist() == [[0, 0, 32, 32]]
    assert found.labels.tolist() == [1]


def test_of_the_mirror_image_its_padding_is_left_out():
    # mirrored, the image of 32 px lies right of its padding: from column 8 on
    detector, given = build(), batch(golden.target([]), side=32)
    detector.see = lambda images: [(drawn([(3, 0), (9, 1)]), drawn([(5, 6), (15, 6)]))]
    found = detector.pairs(given, mirrored=True)
    kept = found.scores > 0.4
    assert found.boxes[kept].tolist() == [[64 - 60, 4, 64 - 36, 24]]


def test_a_pair_beyond_the_image_is_none():
    # the top left corner lies in the last cell but is moved by 1.5 cells: to 34 of 32 px
    detector, given = build(), batch(golden.target([]), side=32)
    first, second = drawn([(7, 7)]), drawn([(8, 8)])
    first.offset[:] = 1.5
    second.offset[:] = 1.75
    detector.see = lambda images: [(first, second)]
    assert (detector.pairs(given).scores < 0.5).all()
    first.offset[:] = 0.5
    assert detector.pairs(given).scores.max() == 0.5


@pytest.mark.parametrize("mirror", [False, True])
def test_nothing_is_detected_beyond_the_image(mirror):
    detector = build(f"model.mirror={str(mirror).lower()}").eval()
    (found,) = detector.detect(batch(golden.target([]), side=30), Keep(score=0))
    assert len(found.boxes) > 5
    assert found.boxes.max() <= 30
    assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()
    # all of the image is searched: its right and lower border, too
    assert found.boxes[:, 2:].amax() > 26


def test_a_mirrored_image_gives_mirrored_detections():
    detector = build().eval()
    given = batch(golden.target([]))
    other = Batch(given.images.flip(3), given.sizes, given.scales)
    (first,), (second,) = (detector.detect(one, Keep(score=0)) for one in (given, other))
    left, top, right, bottom = second.boxes.unbind(1)
    turned = torch.stack([64 - right, top, 64 - left, bottom], 1)
    assert len(first.scores) == len(second.scores) == 100
    torch.testing.assert_close(first.scores, second.scores, atol=1e-5, rtol=1e-4)
    close = (turned - first.boxes).abs().amax(1) < 1e-2
    assert close.float().mean() > 0.95  # a few scores are equal, in another order


def test_every_class_begins_with_the_prior():
    for branch in (*build().top_left, *build().bottom_right):
        torch.testing.assert_close(branch.heat[2].bias.sigmoid(), torch.full((3,), 0.1))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("model.blocks=[1, 1, 1]", "2 widths need as many numbers of blocks"),
        ("model.widths=[32]", "at least 2"),
        ("model.widths=[16, 32]", "greater than or equal to 32"),
    ],
)
def test_settings_that_do_not_fit_are_refused(setting, message):
    with pytest.raises(UsageError, match=message):
        load_recipe("cornernet-hourglass-soda-d", [*SMALL, setting])
