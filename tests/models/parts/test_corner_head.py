import pytest
import torch

from sodkit.models.parts.corner_head import embedding_losses, running_max


def test_greatest_values_run_away_from_the_object():
    row = torch.tensor([1.0, 3.0, 2.0, 5.0, 4.0]).reshape(1, 1, 1, 5)
    assert running_max(row, 3, backwards=False).flatten().tolist() == [1, 3, 3, 5, 5]
    assert running_max(row, 3, backwards=True).flatten().tolist() == [5, 5, 5, 5, 4]
    column = row.transpose(2, 3)
    assert running_max(column, 2, backwards=True).flatten().tolist() == [5, 5, 5, 5, 4]
    assert torch.equal(running_max(row, 2, backwards=True), row)


def slowly(first, second, image):
    """Return the losses image by image and pair by pair (CornerNet, Eqs. 4 and 5)."""
    pull = push = 0.0
    for number in set(image.tolist()):
        rows = [k for k, i in enumerate(image.tolist()) if i == number]
        middle = {k: (first[k] + second[k]).item() / 2 for k in rows}
        for k in rows:
            near = (first[k].item() - middle[k]) ** 2 + (second[k].item() - middle[k]) ** 2
            pull += near / len(rows)
            for other in rows:
                if other != k:
                    gap = max(0.0, 1 - abs(middle[k] - middle[other]))
                    push += gap / (len(rows) * (len(rows) - 1))
    return pull, push


def test_corners_are_pulled_together_and_objects_apart():
    rng = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 9, generator=rng)
    image = torch.tensor([0, 0, 0, 0, 1, 2, 2, 2, 0])
    found = embedding_losses(first, second, image, torch.ones(9, dtype=torch.bool))
    for have, want in zip(found, slowly(first, second, image), strict=True):
        assert have.item() == pytest.approx(want, rel=1e-5)
    assert found[1] > 0


def test_objects_that_play_no_part():
    rng = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 5, generator=rng)
    image, used = torch.zeros(5).long(), torch.tensor([True, False, True, True, False])
    found = embedding_losses(first, second, image, used)
    want = embedding_losses(first[used], second[used], image[used], used[used])
    torch.testing.assert_close(found, want)


def test_of_no_object_nothing_is_lost():
    empty = torch.zeros(0, requires_grad=True)
    none = torch.zeros(0).long()
    pull, push = embedding_losses(empty, empty, none, none.bool())
    assert pull.item() == push.item() == 0
    (pull + push).backward()
