import model_golden as golden
import pytest
import torch

from sodkit.config import load_recipe
from sodkit.errors import UsageError
from sodkit.models import zoo
from sodkit.models.parts.deformable_transformer import DeformableAttention
from sodkit.models.parts.dropout import nothing
from sodkit.models.parts.sampling import Draws

SMALL = (
    "model.backbone.name=resnet18", "model.backbone.weights=null", "model.channels=32",
    "model.norm_groups=8", "model.queries=6", "model.encoder=1", "model.decoder=2",
    "model.hidden=32", "model.attention_heads=4",
)  # fmt: skip


def build(*more):
    torch.manual_seed(0)
    return zoo.build(load_recipe("deformable-detr-r50-soda-d", [*SMALL, *more]).model, 3)


def given():
    target = golden.target([[20, 20, 60, 50], [100, 90, 140, 120]], [0, 2])
    return golden.batch_b((target, target))


def losses(detector, shuffle=golden.in_order, batch=None):
    return torch.stack(list(detector(batch or given(), shuffle).values()))


def test_boxes_begin_about_their_points_as_an_eighth_of_the_image():
    detector = build().eval()
    with torch.no_grad():
        one = detector.see(golden.batch_b(), nothing)[-1]
    side = 2 * torch.tensor(-2.0).sigmoid() / 2
    for boxes, (height, width) in zip(one.boxes, ((256, 256), (240, 248)), strict=True):
        size = boxes[:, 2:] - boxes[:, :2]
        torch.testing.assert_close(size, (side * torch.tensor([width, height])).expand(6, 2))
        points = detector.points(detector.queries[:, :32]).sigmoid()
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2
        torch.testing.assert_close(middle, points.detach() * torch.tensor([width, height]))


def test_heads_begin_in_directions_of_their_own():
    attention = next(m for m in build().modules() if isinstance(m, DeformableAttention))
    start = attention.offsets.bias.detach().reshape(4, 4, 4, 2)
    steps = torch.arange(1.0, 5)[:, None]
    for head, direction in enumerate(((1, 0), (0, 1), (-1, 0), (0, -1))):
        want = (steps * torch.tensor(direction)).expand(4, 4, 2)
        torch.testing.assert_close(start[head], want.float(), atol=1e-5, rtol=0)


def test_every_class_begins_with_the_prior():
    torch.testing.assert_close(build().cls.bias.sigmoid(), torch.full((3,), 0.01))


def test_padding_is_not_looked_at():
    # the second image has 240 x 248 px of 256 x 256: cells beyond may hold anything
    detector, batch = build().eval(), golden.batch_b()
    for layer in detector.modules():
        if isinstance(layer, DeformableAttention):
            torch.nn.init.normal_(layer.offsets.weight, std=0.3)
    rng = torch.Generator().manual_seed(0)
    maps = [torch.randn(2, 32, 256 // s, 256 // s, generator=rng) for s in (4, 8, 16, 32)]
    other = [level.clone() for level in maps]
    for level, valid in zip(other, ((60, 62), (30, 31), (15, 16), (8, 8)), strict=True):
        level[1, :, valid[0] :] += 100
        level[1, :, :, valid[1] :] += 100
    with torch.no_grad():
        first, second = (
            detector.decode(*detector.encode(given, batch, nothing), batch, nothing)[-1]
            for given in (maps, other)
        )
    assert not torch.equal(maps[0], other[0])
    assert torch.equal(first.logits, second.logits)
    assert torch.equal(first.boxes, second.boxes)
    other[0][1, :, 30, 30] += 100
    with torch.no_grad():
        third = detector.decode(*detector.encode(other, batch, nothing), batch, nothing)[-1]
    assert not torch.equal(first.logits[1], third.logits[1])
    assert torch.equal(first.logits[0], third.logits[0])


def test_dropout_follows_the_draws_of_each_image():
    detector = build("model.dropout=0.3").train()
    first, again, other = (losses(detector, Draws(0, step)) for step in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    exact = losses(detector.eval(), Draws(0, 0))
    assert not torch.allclose(first, exact, rtol=1e-3)
    assert torch.equal(exact, losses(detector, Draws(0, 1)))


def test_dropout_is_after_each_attention_and_in_each_feed_forward_network():
    shapes = []

    def spy(x):
        shapes.append(tuple(x.shape[1:]))
        return x

    with torch.no_grad():
        build("model.hidden=48").see(golden.batch_b(), spy)
    cells = 64 * 64 + 32 * 32 + 16 * 16 + 8 * 8
    encoder = [(cells, 32), (cells, 48), (cells, 32)]
    decoder = [(4, 6, 6), (6, 32), (6, 32), (6, 48), (6, 32)]
    assert shapes == encoder + 2 * decoder


def test_dropout_is_the_same_however_a_step_is_divided():
    detector, batch = build("model.dropout=0.3").train(), given()
    whole = losses(detector, Draws(0, 0), batch)
    parts = [losses(detector, Draws(0, 0, i), batch.part(range(i, i + 1))) for i in (0, 1)]
    # each is divided by its own two objects, the whole by four
    torch.testing.assert_close((parts[0] + parts[1]) / 2, whole, rtol=1e-4, atol=1e-5)


def test_backbone_and_places_learn_slowly():
    detector = build("model.slow_rate=0.2")
    (group,) = detector.groups()
    names = {id(p): name for name, p in detector.named_parameters()}
    found = {names[id(p)] for p in group.parameters}
    assert group.rate == 0.2
    assert found == {
        name
        for name in names.values()
        if name.startswith(("backbone.", "points.")) or ".offsets." in name
    }
    assert "decoder.1.cross.offsets.bias" in found


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("model.attention_heads=5", "32 channels cannot be divided by 5 heads"),
        ("model.norm_groups=5", "32 channels cannot be 5 groups"),
        ("model.dropout=1.0", "less than 1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(setting, message):
    with pytest.raises(UsageError, match=message):
        load_recipe("deformable-detr-r50-soda-d", [*SMALL, setting])
