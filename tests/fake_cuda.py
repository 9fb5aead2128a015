"""A GPU for machines without one: where tensors would meet wrongly, and where the host would wait.

Within ``FakeCuda`` a tensor that is moved to ``CUDA``, and all that is computed from it, reports
``cuda:0`` as its device, so that code takes its branches for CUDA. The numbers are computed on the
CPU. An operation with tensors of two devices raises ``MixedDevicesError``; what makes the host wait
for a GPU is counted by source line, as ``torch.cuda.set_sync_debug_mode`` would report it:

* synchronisations: ``item``, ``bool``, ``nonzero``, ``unique``, indexing by a mask, NMS, ... and
  every copy to the host;
* blocking copies to the device: ``to`` without ``non_blocking``, tensors made of Python numbers,
  indexing by a tensor of the host.

What ATen decides below the dispatcher (which kernel runs) is not simulated.
"""

from __future__ import annotations

import sys
from collections import Counter
from types import TracebackType
from typing import Any, Self
from unittest.mock import patch

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

CUDA = torch.device("cuda:0")
CPU = torch.device("cpu")
aten = torch.ops.aten

WAITS = {
    "aten::_local_scalar_dense": 1,
    "aten::nonzero": 1,
    "aten::masked_select": 1,
    "aten::_unique2": 1,
    "aten::unique_consecutive": 1,
    "aten::unique_dim": 1,
    "aten::equal": 1,
    "aten::bincount": 2,  # checks the least and reads the greatest value
    "torchvision::nms": 1,
}
"""How often an operation on CUDA waits for its result."""

INDEXING = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}
DEVICE_OF: Any = Tensor.device.__get__  # type: ignore[attr-defined]
IS_CUDA_OF: Any = Tensor.is_cuda.__get__  # type: ignore[attr-defined]
MADE_OF_NUMBERS = (torch.tensor, torch.as_tensor, Tensor.new_tensor)


class MixedDevicesError(RuntimeError):
    """An operation got tensors of two devices."""


class FakeCuda:
    """Context in which tensors may lie on a GPU that is not there.

    Attributes:
        waits: synchronisations by source line.
        copies: blocking copies to the device by source line.
        operations: how many operations ran on the device.
    """

    def __init__(self) -> None:
        self.waits: Counter[str] = Counter()
        self.copies: Counter[str] = Counter()
        self.operations = 0
        self.on_device = True  # whether the call that is running has tensors of the device; the
        # autograd engine, which no call leads to, is on it
        # The weak references keep the addresses from being used again.
        self._storages: dict[int, StorageWeakRef] = {}
        self._modes = (_Operations(self), _Calls(self))
        self._grouping = patch(
            "torch.nn.utils.clip_grad._group_tensors_by_device_and_dtype", self._grouped
        )

    def __enter__(self) -> Self:
        for mode in self._modes:
            mode.__enter__()
        self._grouping.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._grouping.stop()
        for mode in reversed(self._modes):
            mode.__exit__(kind, error, trace)

    def _grouped(self, lists: list[list[Tensor]], with_indices: bool = False) -> Any:
        """Group tensors for clipping by where they are: torch does it in C++, which sees memory."""
        found = torch._C._group_tensors_by_device_and_dtype(lists, with_indices)
        return {
            (CUDA if self.holds(group[0][0]) else device, dtype): (group, indices)
            for (device, dtype), (group, indices) in found.items()
        }

    def reset(self) -> None:
        """Count from 0 again."""
        self.waits.clear()
        self.copies.clear()
        self.operations = 0

    def holds(self, tensor: Tensor) -> bool:
        """Return whether a tensor lies on the device."""
        return tensor.untyped_storage()._cdata in self._storages

    def take(self, tensor: Tensor) -> Tensor:
        """Put a tensor's memory on the device."""
        storage = tensor.untyped_storage()
        self._storages[storage._cdata] = StorageWeakRef(storage)
        return tensor

    def move(
        self,
        tensor: Tensor,
        device: torch.device,
        dtype: torch.dtype | None,
        non_blocking: bool,
        copy: bool = False,
    ) -> Tensor:
        """Return a tensor on ``device``, a copy if it lies elsewhere."""
        there = device.type == "cuda"
        dtype = dtype or tensor.dtype
        if there == self.holds(tensor):
            return tensor.to(dtype, copy=copy)
        self.wait(1) if not there else self.copy(non_blocking)
        moved = tensor.to(dtype, copy=True)
        if there:
            return self.take(moved)
        del self._storages[moved.untyped_storage()._cdata]
        return moved

    def wait(self, times: int) -> None:
        """Count synchronisations."""
        if times:
            self.waits[_line()] += times

    def copy(self, non_blocking: bool) -> None:
        """Count a copy to the device, unless it does not block."""
        if not non_blocking:
            self.copies[_line()] += 1


class _Operations(TorchDispatchMode):
    """Checks and counts every operation, those of backward too."""

    def __init__(self, gpu: FakeCuda) -> None:
        super().__init__()
        self.gpu = gpu

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        gpu, kwargs = self.gpu, kwargs or {}
        given = _tensors((args, kwargs))
        if not given:  # ATen makes a tensor: where the tensors are that it is called with
            result = func(*args, **kwargs)
            return gpu.take(result) if gpu.on_device and isinstance(result, Tensor) else result
        if not any(map(gpu.holds, given)):
            return func(*args, **kwargs)
        gpu.operations += 1
        name = func._schema.name
        if name == "aten::copy_":
            self._copy(*args, **kwargs)
        else:
            self._count(name, args, kwargs)
            self._check(func, args, kwargs)
        result = func(*args, **kwargs)
        for tensor in _tensors(result):
            gpu.take(tensor)
        return result

    def _copy(self, target: Tensor, source: Tensor, non_blocking: bool = False) -> None:
        there, here = self.gpu.holds(target), self.gpu.holds(source)
        if there and not here and source.dim():
            self.gpu.copy(non_blocking)
        elif here and not there:
            raise MixedDevicesError("copy_ to the host is better written as .cpu()")

    def _count(self, name: str, args: Any, kwargs: Any) -> None:
        gpu = self.gpu
        gpu.wait(WAITS.get(name, 0))
        if name == "aten::repeat_interleave" and kwargs.get("output_size") is None:
            gpu.wait(1)
        if name in INDEXING:
            indices = _tensors(args[1])
            masks = [one for one in indices if one.dtype in (torch.bool, torch.uint8)]
            # CUDA fills by one mask without looking for its rows
            filled = name != "aten::index" and len(indices) == 1 and args[2].numel() == 1
            gpu.wait(0 if filled else len(masks))
            for one in indices:
                gpu.copy(gpu.holds(one))

    def _check(self, func: Any, args: Any, kwargs: Any) -> None:
        """Raise for tensors of two devices; numbers (0 dimensions) of the host are no obstacle."""
        name = func._schema.name
        checked = (args[0], *args[2:], kwargs) if name in INDEXING else (args, kwargs)
        for tensor in _tensors(checked):
            written = name.endswith("_") and tensor is args[0]
            if (tensor.dim() or written) and not self.gpu.holds(tensor):
                shapes = [(tuple(one.shape), self.gpu.holds(one)) for one in _tensors(args)]
                raise MixedDevicesError(f"{func} at {_line()}: {shapes}")


class _Calls(TorchFunctionMode):
    """Answers where a tensor is, and moves it."""

    def __init__(self, gpu: FakeCuda) -> None:
        super().__init__()
        self.gpu = gpu

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        gpu, kwargs = self.gpu, dict(kwargs or {})
        if func == Tensor.backward:
            return self._backward(args[0])
        outer, gpu.on_device = gpu.on_device, any(map(gpu.holds, _tensors((args, kwargs))))
        try:
            return self._call(func, args, kwargs)
        finally:
            gpu.on_device = outer

    def _backward(self, loss: Tensor) -> None:
        """Run backward with this mode on, for functions with a backward pass in Python."""
        engine, start = torch.autograd.Variable._execution_engine, torch.ones_like(loss)
        self.gpu.take(start)
        with self:
            engine.run_backward(
                (loss,), (start,), False, False, (), allow_unreachable=True, accumulate_grad=True
            )

    def _call(self, func: Any, args: Any, kwargs: dict[str, Any]) -> object:
        gpu = self.gpu
        if func in (Tensor.to, Tensor.cpu, Tensor.cuda):
            return self._move(func, args, kwargs)
        if args and isinstance(args[0], Tensor) and gpu.holds(args[0]):
            if func == DEVICE_OF:
                return CUDA
            if func == IS_CUDA_OF:
                return True
            if func == Tensor.numpy:
                raise TypeError("can't convert cuda:0 device type tensor to numpy")
            if func == Tensor.tolist:
                gpu.wait(1)
        device = kwargs.get("device")
        on_device = device is not None and torch.device(device).type == "cuda"
        if on_device:
            kwargs["device"] = CPU
        if func in MADE_OF_NUMBERS and (on_device or (args and _held(gpu, args[0]))):
            gpu.copy(False)
            on_device = True
        result = func(*args, **kwargs)
        return gpu.take(result) if on_device and isinstance(result, Tensor) else result

    def _move(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        gpu, (tensor, *how) = self.gpu, args
        if func != Tensor.to:
            return gpu.move(tensor, CPU if func == Tensor.cpu else CUDA, None, False)
        if how and isinstance(how[0], Tensor):
            device = CUDA if gpu.holds(how[0]) else CPU
            return gpu.move(tensor, device, how[0].dtype, False)
        copy = kwargs.pop("copy", False)
        device, dtype, non_blocking, _ = torch._C._nn._parse_to(*how, **kwargs)
        if device is None or (device.type == "cuda") == gpu.holds(tensor):
            kept = [one for one in how if isinstance(one, torch.dtype)]
            kwargs.pop("device", None)
            kwargs.pop("non_blocking", None)
            return tensor.to(*kept, **kwargs, copy=copy) if kept or kwargs or copy else tensor
        return gpu.move(tensor, device, dtype, non_blocking)


def _held(gpu: FakeCuda, value: object) -> bool:
    return isinstance(value, Tensor) and gpu.holds(value)


def _tensors(tree: object) -> list[Tensor]:
    """Return the tensors in arguments; torch's tree_leaves took a third of the tests' time."""
    if isinstance(tree, Tensor):
        return [tree]
    if isinstance(tree, dict):
        tree = tree.values()
    elif not isinstance(tree, tuple | list):
        return []
    return [tensor for part in tree for tensor in _tensors(part)]


def _line() -> str:
    """Return file and line of the innermost frame that is neither torch's nor this file's."""
    frame, last = sys._getframe(1), None
    while frame is not None:
        name = frame.f_code.co_filename
        last = f"{name.rpartition('/sodkit/')[2].rpartition('/tests/')[2]}:{frame.f_lineno}"
        if name != __file__ and "site-packages" not in name:
            return last
        frame = frame.f_back
    return last or "?"
