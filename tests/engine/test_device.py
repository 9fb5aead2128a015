"""Devices by name; those that are not here in one line that says what is."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from sodkit.engine import device
from sodkit.engine.device import autocast, computed_in, describe, devices, pick_device
from sodkit.errors import UsageError


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with nothing but a CPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: None)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two GPUs, as far as names go."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    gpu = SimpleNamespace(type="cuda")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: gpu)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    monkeypatch.setattr(device.torch, "empty", lambda *_, **__: None)


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize(
    "name",
    ["mps", "gpu", "0", "cuda", "cuda:0", "cuda:99", "99", "meta", "xpu", "hpu", "", "  ", "CPU",
     "cuda:", "cuda:-1", "-1", "cpu:1", "\u0663", "9" * 5000],
)  # fmt: skip
def test_what_is_not_here(name: str) -> None:
    with pytest.raises(UsageError, match="no such device here; there is cpu") as error:
        pick_device(name)
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("bare")
def test_the_cpu() -> None:
    assert pick_device("auto") == pick_device("cpu") == torch.device("cpu")
    assert describe(torch.device("cpu")) == f"cpu ({torch.get_num_threads()} threads)"


@pytest.mark.parametrize(
    ("kind", "precision", "fast", "computed"),
    [("cpu", "float32", False, "float32"), ("cpu", "bfloat16", True, "bfloat16"),
     ("cpu", "bfloat16", False, "float32"), ("cpu", "float16", True, "float32"),
     ("cuda", "bfloat16", False, "bfloat16"), ("cuda", "float16", False, "float16")],
)  # fmt: skip
def test_what_is_computed_in(
    monkeypatch: pytest.MonkeyPatch, kind: str, precision: str, fast: bool, computed: str
) -> None:
    monkeypatch.setattr(
        torch.ops, "mkldnn", SimpleNamespace(_is_mkldnn_bf16_supported=lambda: fast)
    )
    where = torch.device(kind)
    assert computed_in(where, precision) == computed
    if kind == "cpu":
        note = f"; {computed}, as it has no fast {precision}"
        assert describe(where, precision).endswith(note) == (computed != precision)
        with autocast(where, precision):
            assert torch.is_autocast_enabled("cpu") == (computed != "float32")


def test_a_pytorch_without_that_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace())
    assert computed_in(torch.device("cpu"), "bfloat16") == "float32"


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("name", "picked"),
    [("auto", "cuda"), ("gpu", "cuda"), ("cuda", "cuda"), ("0", "cuda:0"), ("1", "cuda:1"),
     ("01", "cuda:1"), ("cuda:1", "cuda:1"), ("cpu", "cpu")],
)  # fmt: skip
def test_gpus_by_name_and_number(name: str, picked: str) -> None:
    assert pick_device(name) == torch.device(picked)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("name", ["2", "cuda:2", "mps", "meta"])
def test_one_gpu_too_many(name: str) -> None:
    with pytest.raises(UsageError, match=r"there is cpu, cuda:0, cuda:1$"):
        pick_device(name)


def test_a_gpu_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA error: all devices are busy\nmore lines")

    monkeypatch.setattr(device.torch, "empty", busy)
    with pytest.raises(UsageError, match=r"--device cpu: CUDA error: all devices are busy\n.*free"):
        pick_device("cpu")


def test_this_machine() -> None:
    assert devices()[0] == "cpu"
    for name in devices():
        assert pick_device(name) == torch.device(name)
