import model_golden as golden
import numpy as np
import pytest
import torch
import torchvision

from sodkit.models.parts import anchors, matchers
from sodkit.models.parts.matchers import IGNORED, NEGATIVE
from sodkit.settings.proposers import Region, Threshold
from tests.fake_cuda import CUDA, FakeCuda

GRID = torch.cat(anchors.grid((256, 256), golden.levels_of(4, 2.0)))
NOTHING = torch.zeros(0, 4)
RULE = {"positive": 0.7, "negative": 0.3, "low_quality": 0.3}


def boxes(*rows):
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def test_threshold_of_the_paper():
    sizes = torch.tensor([3.0, 12.0, 24.0, 48.0])
    found = matchers.dynamic_threshold(Threshold(), sizes)
    torch.testing.assert_close(found, torch.tensor([0.25, 0.25, 0.35, 0.50]))


def test_threshold_of_the_release():
    want = golden.load("assigner")
    rule = Threshold(base=0.25, gamma=0.15, floor=0.20, cap=0.70)
    found = matchers.dynamic_threshold(rule, torch.as_tensor(want["thr_sizes"]))
    torch.testing.assert_close(found, torch.as_tensor(want["thr_sf1.0"]))


def test_fixed_threshold():
    rule = Threshold(base=0.4, gamma=0.0, floor=0.0)
    assert (
        matchers.dynamic_threshold(rule, torch.tensor([5.0, 500.0])).tolist()
        == [pytest.approx(0.4)] * 2
    )


def test_an_anchor_takes_the_best_object_it_is_good_enough_for():
    anchor = boxes([0, 0, 10, 10])
    objects = boxes([0, 0, 10, 4], [0, 0, 10, 3])  # IoU .4 and .3
    found = matchers.match_dynamic(anchor, objects, NOTHING, torch.tensor([0.5, 0.2]))
    assert found.gt.tolist() == [1]
    found = matchers.match_dynamic(anchor, objects, NOTHING, torch.tensor([0.5, 0.35]))
    assert found.gt.tolist() == [IGNORED]


@pytest.mark.parametrize("side", [0.5, 1.0, 3.0])
def test_a_tiny_object_gets_its_best_anchor(side):
    """Defect 8: below 3.6 px (after the resize) no anchor reaches .20."""
    tiny = boxes([101.0, 90.0, 101.0 + side, 90.0 + side])
    threshold = matchers.dynamic_threshold(Threshold(), torch.tensor([side]))
    without = matchers.match_dynamic(GRID, tiny, NOTHING, threshold)
    assert not (without.gt >= 0).any()
    found = matchers.match_dynamic(GRID, tiny, NOTHING, threshold, match_best=True)
    (row,) = torch.nonzero(found.gt >= 0)[:, 0]
    assert found.iou[row] == without.iou.max()


def test_two_tiny_objects_do_not_share_an_anchor():
    tiny = boxes([101, 90, 102, 91], [101, 91, 102, 92])
    found = matchers.match_dynamic(GRID, tiny, NOTHING, torch.ones(2), match_best=True)
    assert sorted(found.gt[found.gt >= 0].tolist()) == [0, 1]


def crowd(count):
    """Return tiny objects that want the same few anchors."""
    rng = torch.Generator().manual_seed(count)
    corner = 60 + 40 * torch.rand(count, 2, generator=rng)
    return torch.cat([corner, corner + 0.5 + 2 * torch.rand(count, 2, generator=rng)], 1)


def test_the_best_free_anchors_are_given_in_the_order_of_the_objects():
    objects, region = crowd(200), boxes([70, 70, 75, 75])
    found = matchers.match_dynamic(GRID, objects, region, torch.ones(200), match_best=True)
    want = matchers.match_dynamic(GRID, objects, region, torch.ones(200)).gt
    free = ~matchers.inside(GRID, region)
    for number, iou in enumerate(matchers.every_iou(objects, GRID)):
        iou = torch.where(free, iou, 0.0)
        row = iou.argmax()
        if iou[row] > 0:
            want[row], free[row] = number, False
    assert torch.equal(found.gt, want)
    assert (want >= 0).sum() > 100


@pytest.mark.parametrize("match_best", [True, False])
def test_images_together_are_matched_as_each_alone(match_best):
    objects = [crowd(40), NOTHING, boxes([101, 91, 102, 92]), crowd(7)]
    regions = [boxes([70, 70, 75, 75]), NOTHING, NOTHING, boxes([60, 60, 80, 80])]
    ones = [torch.ones(len(own)) for own in objects]
    found = matchers.positives_by_threshold(GRID, objects, regions, ones, match_best=match_best)
    for (match, rows), *image in zip(found, objects, regions, ones, strict=True):
        want = matchers.match_dynamic(GRID, *image, match_best=match_best)
        assert torch.equal(match.gt, want.gt)
        assert torch.equal(match.iou, want.iou)
        assert torch.equal(rows, torch.nonzero(want.gt >= 0)[:, 0])
    assert not match_best or [len(rows) for _, rows in found] == [40, 0, 1, 7]


def test_on_a_gpu_objects_without_an_anchor_cost_three_synchronisations_in_all():
    waits = {}
    for count in (3, 300):
        with FakeCuda() as gpu:
            grid, objects = GRID.to(CUDA), crowd(count).to(CUDA)
            gpu.reset()
            nothing, ones = grid[:0], torch.ones(count, device=CUDA)
            matchers.match_dynamic(grid, objects, nothing, ones, match_best=True)
            waits[count] = gpu.waits.total()
            assert not gpu.copies
            assert gpu.operations < 300
    assert waits == {3: 3, 300: 3}


STRIDES = (4, 8, 16, 32)


def regions_one_by_one(objects, inner, outer):
    """Cascade RPN's assignment on GRID as its steps read: object by object, level by level."""
    levels = [np.full((256 // s, 256 // s), NEGATIVE) for s in STRIDES]
    beside = [np.zeros_like(level, dtype=bool) for level in levels]
    for number, (x1, y1, x2, y2) in enumerate(objects.tolist()):
        side = ((x2 - x1) * (y2 - y1)) ** 0.5
        own = int(min(max(np.floor(np.log2(side / 8) + 0.5), 0), 3))

        def window(share, level, box=(x1, y1, x2, y2)):
            first, last = [], []
            for low, high in ((box[1], box[3]), (box[0], box[2])):
                margin = (1 - share) / 2 * (high - low)
                first.append(max(int(np.round((low + margin) / STRIDES[level])), 0))
                last.append(int(np.round((high - margin) / STRIDES[level])))
            return slice(first[0], last[0] + 1), slice(first[1], last[1] + 1)

        levels[own][window(outer, own)] = IGNORED
        levels[own][window(inner, own)] = number
        for other in (own - 1, own + 1):
            if 0 <= other < 4:
                beside[other][window(outer, other)] = True
    for level, near in zip(levels, beside, strict=True):
        level[near] = IGNORED
    return np.concatenate([level.reshape(-1) for level in levels])


@pytest.mark.parametrize("pair", [(0.2, 0.5), (0.5, 0.8), (0.8, 1.0)])
@pytest.mark.parametrize("count", [0, 1, 60])
def test_regions(pair, count):
    generator = torch.Generator().manual_seed(count)
    corner = torch.rand(count, 2, generator=generator) * 200
    size = 2 + 70 * torch.rand(count, 2, generator=generator) ** 2
    objects = torch.cat([corner, (corner + size).clamp(max=256)], 1)
    region = Region(positive=pair[0], ignored=pair[1])
    found = matchers.match_region(GRID, objects, NOTHING, region, 2.0, STRIDES)
    np.testing.assert_array_equal(found.gt, regions_one_by_one(objects, *pair))


def test_a_region_is_on_one_level_and_never_empty():
    """A box of 16 px has the anchors of stride 8; a box of 1 px still has one location."""
    region = Region(positive=0.2, ignored=0.5)
    for box, first, last in (([97, 97, 113, 113], 4096, 5120), ([57, 57, 58, 58], 0, 4096)):
        found = matchers.match_region(GRID, boxes(box), NOTHING, region, 2.0, STRIDES)
        rows = torch.nonzero(found.gt == 0)[:, 0].tolist()
        assert len(rows) == 1
        assert first <= rows[0] < last
    ignored = boxes([90, 90, 120, 120])
    found = matchers.match_region(GRID, boxes([97, 97, 113, 113]), ignored, region, 2.0, STRIDES)
    assert not (found.gt == 0).any()


def test_low_quality_matches():
    anchor = boxes([0, 0, 10, 10], [0, 0, 10, 8], [20, 20, 30, 30])
    found = matchers.match_iou(anchor, boxes([0, 0, 10, 4]), NOTHING, **RULE)
    assert found.gt.tolist() == [IGNORED, 0, NEGATIVE]  # IoU .4, .5
    strict = RULE | {"low_quality": None}
    found = matchers.match_iou(anchor, boxes([0, 0, 10, 4]), NOTHING, **strict)
    assert found.gt.tolist() == [IGNORED, IGNORED, NEGATIVE]


def test_every_best_box_of_an_object_is_positive_and_the_last_object_wins():
    anchor = boxes([0, 0, 10, 10], [0, 0, 10, 10])
    objects = boxes([0, 0, 10, 4], [0, 6, 10, 10])
    assert matchers.match_iou(anchor, objects, NOTHING, **RULE).gt.tolist() == [1, 1]


@pytest.mark.parametrize("matcher", ["dynamic", "iou"])
def test_most_of_the_area_in_an_ignore_box_is_neither_positive_nor_negative(matcher):
    """Defect 7: ignore annotations never reach an assigner of the release."""
    anchor = boxes([0, 0, 10, 10], [0, 0, 10, 10.5], [100, 0, 110, 10], [104, 0, 114, 10])
    region = boxes([0, 0, 10, 5.2], [90, 0, 109.5, 20])
    objects = boxes([100, 0, 110, 10])
    args = (anchor, objects, region)
    if matcher == "dynamic":
        found = matchers.match_dynamic(*args, torch.tensor([0.25]), match_best=True)
        assert found.gt.tolist() == [IGNORED, NEGATIVE, IGNORED, IGNORED]
    else:
        found = matchers.match_iou(*args, **RULE)
        assert found.gt.tolist() == [IGNORED, NEGATIVE, IGNORED, IGNORED]


def test_an_object_keeps_its_best_box_outside_of_an_ignore_box():
    anchor = boxes([0, 0, 10, 10], [0, 0, 10, 20])
    region = boxes([0, 0, 10, 6])  # .6 of the first, .3 of the second
    found = matchers.match_iou(anchor, boxes([0, 0, 10, 10]), region, **RULE)
    assert found.gt.tolist() == [IGNORED, 0]


@pytest.mark.parametrize("count", [0, 1, 700])
def test_blocks_give_what_one_matrix_gives(count, monkeypatch):
    generator = torch.Generator().manual_seed(3)
    corner = torch.rand(count, 2, generator=generator) * 240
    objects = torch.cat([corner, corner + 1 + torch.rand(count, 2, generator=generator) * 30], 1)
    thresholds = torch.full((count,), 0.25)
    region = boxes([50, 50, 120, 100])
    strict = RULE | {"low_quality": None, "positive": 0.5}
    cascade = Region(positive=0.5, ignored=0.8)

    def match_all():
        return [
            matchers.match_dynamic(GRID, objects, region, thresholds, match_best=True),
            matchers.match_iou(GRID, objects, region, **RULE),
            matchers.match_iou(GRID, objects, region, **strict),
            matchers.match_region(GRID, objects, region, cascade, 2.0, STRIDES),
        ]

    once = match_all()
    assert count < 700 or all((found.gt >= 0).any() for found in once)
    monkeypatch.setattr("sodkit.models.kernels.blocks.CELLS", 7 * len(GRID))
    for a, b in zip(once, match_all(), strict=True):
        assert torch.equal(a.gt, b.gt)
        assert torch.equal(a.iou, b.iou)


def test_no_boxes_at_all():
    assert len(matchers.match_iou(NOTHING, boxes([0, 0, 1, 1]), NOTHING, **RULE).gt) == 0
    found = matchers.match_dynamic(
        NOTHING, boxes([0, 0, 1, 1]), NOTHING, torch.ones(1), match_best=False
    )
    assert len(found.gt) == 0


def test_the_first_object_stays_positive_above_the_negative_threshold():
    anchor = boxes([0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60])
    found = matchers.match_dynamic(
        anchor, boxes([0, 0, 10, 10]), NOTHING, torch.tensor([0.5]), negative=0.15
    )
    assert found.gt.tolist() == [0, 0, NEGATIVE]


def test_anchors_that_leave_the_image_are_ignored():
    anchors = boxes((0, 0, 8, 8), (-1, 0, 7, 8), (4, 0, 12, 8), (20, 0, 28, 9.5))
    gt = boxes((-1, 0, 7, 8), (20, 0, 28, 9))
    found = matchers.match_iou(anchors, gt, NOTHING, **RULE, within=(9, 30))
    # the first object's best anchor leaves the image, so it takes the best one inside
    assert found.gt.tolist() == [0, IGNORED, NEGATIVE, IGNORED]
    assert matchers.match_iou(anchors, gt, NOTHING, **RULE).gt.tolist() == [0, 0, NEGATIVE, 1]


def test_an_iou_on_a_threshold_reaches_it():
    anchor = boxes([0, 0, 10, 10])
    quarter = boxes([0, 0, 10, 2.5])
    found = matchers.match_dynamic(anchor, quarter, NOTHING, torch.tensor([0.25]))
    assert found.gt.tolist() == [0]
    high = torch.tensor([0.9])
    for negative, wanted in ((0.25, IGNORED), (0.2500001, NEGATIVE)):
        found = matchers.match_dynamic(anchor, quarter, NOTHING, high, negative=negative)
        assert found.gt.tolist() == [wanted]
    for changes, wanted in (
        ({"positive": 0.25, "negative": 0.1}, 0),
        ({"positive": 0.3, "negative": 0.25}, IGNORED),
        ({"positive": 0.3, "negative": 0.26}, NEGATIVE),
    ):
        rule = RULE | {"low_quality": None, **changes}
        assert matchers.match_iou(anchor, quarter, NOTHING, **rule).gt.tolist() == [wanted]
    low = RULE | {"low_quality": 0.25}
    assert matchers.match_iou(anchor, quarter, NOTHING, **low).gt.tolist() == [0]
    low = RULE | {"low_quality": 0.26}
    assert matchers.match_iou(anchor, quarter, NOTHING, **low).gt.tolist() == [NEGATIVE]


def test_the_best_iou_is_torchvisions():
    generator = torch.Generator().manual_seed(1)
    corner = torch.rand(50, 2, generator=generator) * 200
    objects = torch.cat([corner, corner + 4 + torch.rand(50, 2, generator=generator) * 60], 1)
    best, _ = torchvision.ops.box_iou(objects, GRID).max(0)
    for found in (
        matchers.match_iou(GRID, objects, NOTHING, **RULE),
        matchers.match_dynamic(GRID, objects, NOTHING, torch.full((50,), 0.3)),
        matchers.match_region(
            GRID, objects, NOTHING, Region(positive=0.2, ignored=0.5), 2.0, STRIDES
        ),
    ):
        torch.testing.assert_close(found.iou, best)


SHAPES = torch.cat(anchors.grid((256, 256), golden.levels_of(4, 2.0, (0.5, 2.0)))).reshape(-1, 2, 4)
WAYS = {
    "iou": lambda *given: matchers.match_iou(*given, **RULE),
    "no low quality": lambda *given: matchers.match_iou(*given, positive=0.5, negative=0.4),
    "best of two": lambda *given: matchers.match_iou(*given, **RULE, shapes=SHAPES.to(given[0])),
    "dynamic": lambda grid, objects, regions: matchers.match_dynamic(
        grid, objects, regions, torch.full_like(objects[:, 0], 0.3)
    ),
    "region": lambda *given: matchers.match_region(*given, Region(), 2.0, STRIDES),
}


@pytest.mark.parametrize(
    "objects", [3 * crowd(60) - 100, boxes([900, 900, 910, 910])], ids=["near", "far"]
)
@pytest.mark.parametrize("way", WAYS)
def test_what_no_object_touches_need_not_be_compared(way, objects):
    """On the CPU it is left out; a device compares all."""
    region = boxes([110, 110, 125, 125])
    found = WAYS[way](GRID, objects, region)
    with FakeCuda() as gpu:
        given = [tensor.to(CUDA) for tensor in (GRID, objects, region)]
        gpu.reset()
        every = WAYS[way](*given)
        assert gpu.waits.total() == 0
    assert torch.equal(found.gt, every.gt)
    assert torch.equal(found.iou, every.iou)
    assert (found.gt >= 0).any() == (objects[0, 0] < 256)
