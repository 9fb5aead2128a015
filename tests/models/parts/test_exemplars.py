import torch

from sodkit.models.parts.exemplars import Exemplars


def numbered(numbers):
    return torch.tensor(numbers, dtype=torch.float32).reshape(-1, 1, 1, 1).expand(-1, 2, 1, 1)


def test_the_newest_stay():
    """Defect 1: at one more than it holds, the release's queue falls to one."""
    queue = Exemplars(3, 256, (2, 1, 1))
    for number in range(257):
        queue.push(numbered([number]), torch.tensor([1]))
    assert queue.counts.tolist() == [0, 256, 0]
    held = queue.get(*torch.nonzero(queue.held(), as_tuple=True))[:, 0, 0, 0]
    assert sorted(held.tolist()) == list(range(1, 257))


def test_more_at_once_than_it_holds():
    queue = Exemplars(2, 4, (2, 1, 1))
    queue.push(numbered(range(10)), torch.tensor([0, 1] * 5))
    queue.push(numbered(range(20, 29)), torch.zeros(9, dtype=torch.int64))
    label, slot = torch.nonzero(queue.held(), as_tuple=True)
    held = queue.get(label, slot)[:, 0, 0, 0]
    assert sorted(held[label == 0].tolist()) == [25, 26, 27, 28]
    assert sorted(held[label == 1].tolist()) == [3, 5, 7, 9]


def test_it_is_part_of_the_checkpoint():
    queue, other = Exemplars(2, 4, (2, 3, 3)), Exemplars(2, 4, (2, 3, 3))
    queue.push(torch.randn(3, 2, 3, 3), torch.tensor([0, 0, 1]))
    other.load_state_dict(queue.state_dict())
    assert other.counts.tolist() == [2, 1]
    assert torch.equal(
        other.get(*torch.nonzero(other.held(), as_tuple=True)),
        queue.get(*torch.nonzero(queue.held(), as_tuple=True)),
    )


def test_drop_gives_the_memory_back():
    queue = Exemplars(2, 4, (2, 1, 1))
    queue.push(numbered(range(3)), torch.tensor([0, 0, 1]))
    queue.drop()
    assert queue.features.numel() == queue.features.untyped_storage().nbytes() == 0
    assert not queue.held().any()
