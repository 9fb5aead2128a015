from __future__ import annotations

import pytest
import torch

from sodkit.engine.device import pick_device
from sodkit.engine.world import ALONE, World, named_world
from sodkit.errors import UsageError

NAMED = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}


def test_torchruns_variables_name_the_world() -> None:
    assert named_world(NAMED) == World(rank=3, size=4, local=1, here=2)
    assert named_world({}) == named_world({"RANK": "0"}) == ALONE
    assert not named_world(NAMED).first


@pytest.mark.parametrize(
    "change",
    [{"RANK": "4"}, {"RANK": "x"}, {"LOCAL_RANK": "2"}, {"LOCAL_WORLD_SIZE": "5"}, {"RANK": "-1"}],
)
def test_variables_that_do_not_go_together(change: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="do not go together") as error:
        named_world(NAMED | change)
    assert next(iter(change)) + "=" in str(error.value)
    with pytest.raises(UsageError, match="LOCAL_RANK=None"):
        named_world({"RANK": "0", "WORLD_SIZE": "2"})


def test_a_process_alone_needs_no_connection() -> None:
    assert ALONE.gathered("item") == ALONE.to_first("item") == ["item"]
    assert ALONE.from_first(lambda: 7) == 7
    values = torch.tensor([1.0, 2.0])
    assert torch.equal(ALONE.sum(values), values)
    assert ALONE.sum(values) is not values


def test_each_process_of_a_machine_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    two = World(rank=1, size=2, local=1, here=2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto", two) == pick_device("cpu", two) == torch.device("cpu")
    with pytest.raises(UsageError, match="2 processes, and 0 GPUs"):
        pick_device("cuda", two)
    with pytest.raises(UsageError, match="all 2 processes of this machine would use it"):
        pick_device("cuda:0", two)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UsageError, match="2 processes, and 1 GPUs") as error:
        pick_device("auto", two)
    assert "--nproc-per-node 1" in str(error.value)
    asked: list[str] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr("sodkit.engine.device.devices", lambda: ["cpu", "cuda:0", "cuda:1"])
    monkeypatch.setattr(torch, "empty", lambda *_, device: asked.append(str(device)))
    assert pick_device("gpu", two) == torch.device("cuda:1")
    assert asked == ["cuda:1"]
