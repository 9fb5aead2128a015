"""The readers of weights: our checkpoints and states, files of torch, the cache of torchvision."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.error import URLError

import torch
from torch import Tensor, nn
from torchvision.models import get_model_weights

from sodkit.config import load_recipe
from sodkit.data.records import Category
from sodkit.engine import checkpoint, weights_import
from sodkit.engine.same_run import run_info
from sodkit.errors import ModelError
from sodkit.models.parts import backbone
from sodkit.settings.base import Backbone as BackboneSettings
from sodkit.settings.detectors import Model

from . import made
from .reader import Files, Reader

_CPU = torch.device("cpu")
_RECIPE = load_recipe("cfinet-r18-demo", ["model.backbone.weights=null"])
_TURNED = load_recipe("cfinet-r18-demo-oriented", ["model.backbone.weights=null"])
_MODELS = (_RECIPE.model, _TURNED.model)
_CLASSES = (Category(1, "ship"), Category(3, "large vehicle"))
_HEADS = {
    "crpn.coarse_conv.weight": (2, 2), "crpn.fine_conv.bias": (2,), "roi.cls.bias": (3,),
    "imitation.feat2embed.fc_proj.weight": (2, 2),
}  # fmt: skip
_OURS = {
    "backbone.conv1.weight": (2, 3),
    **{f"backbone.layer{n}.{k}.conv1.weight": (1, 2) for n in range(1, 5) for k in (0, 1)},
    **_HEADS,
}  # fmt: skip
_THEIRS = {
    "crpn.coarse_conv": "rpn_head.stages.0.rpn_conv.conv",
    "crpn.fine_conv": "rpn_head.stages.1.rpn_conv.conv",
    "roi.cls": "roi_head.bbox_head.fc_cls",
    "imitation.feat2embed.": "roi_head.",
}


class _Small(nn.Module):
    """Stands for a detector or backbone: names and shapes of a few tensors, nothing to compute."""

    def __init__(self) -> None:
        super().__init__()
        self._tensors = {name: torch.zeros(shape) for name, shape in _OURS.items()}

    def state_dict(self, *_: Any, **__: Any) -> dict[str, Any]:
        return dict(self._tensors)

    def load_state_dict(self, state: Any, *_: Any, **__: Any) -> Any:
        """Take a state as torch does: it must be of the same names and shapes."""
        for name in self._tensors.keys() ^ state.keys():
            raise RuntimeError(f"missing or unexpected: {name}")
        for name, tensor in self._tensors.items():
            if tensor.shape != state[name].shape:
                raise RuntimeError(f"size mismatch for {name}")
            tensor.clone().copy_(state[name])


def _checkpoints() -> tuple[Files, ...]:
    def write(folder: Path) -> None:
        checkpoint.save_checkpoint(folder / "c.safetensors", _Small(), _RECIPE, _CLASSES)

    def other(folder: Path) -> None:
        checkpoint.save_checkpoint(folder / "c.safetensors", _Small(), _TURNED, _CLASSES[:1])

    return made.written(write), made.written(other)


def _load_checkpoint(folder: Path) -> None:
    """Load a checkpoint; only a recipe that was changed builds its detector, however large."""
    build = checkpoint.build

    def small(model: Model, *others: Any) -> nn.Module:
        return _Small() if model in _MODELS else build(model, *others)

    with patch.object(checkpoint, "build", small):
        checkpoint.load_checkpoint(folder / "c.safetensors", _CPU)


def _trained(optimizer: str) -> tuple[nn.Module, torch.optim.Optimizer]:
    model = nn.Linear(3, 2)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    if optimizer == "sgd":
        return model, torch.optim.SGD(model.parameters(), 0.1, 0.9)
    return model, torch.optim.AdamW(model.parameters())


def _states() -> tuple[Files, ...]:
    valid = []
    for name in ("sgd", "adamw"):
        model, optimizer = _trained(name)
        model(torch.ones(1, 3)).sum().backward()
        optimizer.step()

        def write(folder: Path, model: nn.Module = model, own: Any = optimizer) -> None:
            data, recipe = made.horizontal(), load_recipe("cfinet-r18-demo")
            checkpoint.save_state(
                folder / "s.safetensors", model, own,
                checkpoint.Progress(epoch=2, step=3, sums={"loss": 0.1}, seconds=2.5),
                run_info(recipe, data, data),
            )  # fmt: skip

        valid.append(made.written(write))
    return tuple(valid)


def _load_state(folder: Path) -> None:
    """Resume with the optimiser that the state is of, and make the next step."""
    errors = []
    for name in ("sgd", "adamw"):
        model, optimizer = _trained(name)
        try:
            checkpoint.load_run(folder / "s.safetensors")
            checkpoint.load_state(folder / "s.safetensors", model, optimizer)
        except ModelError as error:
            errors.append(error)
            continue
        model(torch.ones(1, 3)).sum().backward()
        optimizer.step()
    if len(errors) == 2:
        raise errors[0]


def _saved(content: Callable[[dict[str, Tensor]], Any], state: dict[str, Tensor]) -> list[bytes]:
    """Return what ``torch.save`` makes of weights, in the zip of today and the form before it."""
    zipped = made.written(lambda folder: torch.save(content(state), folder / "w.pth"))["w.pth"]
    # The form before names each storage by its address: there is one, and it is renamed.
    rooms = torch.zeros(sum(tensor.numel() for tensor in state.values()))
    parts = rooms.split([tensor.numel() for tensor in state.values()])
    views = {
        name: part.view(tensor.shape)
        for part, (name, tensor) in zip(parts, state.items(), strict=True)
    }
    before = made.written(
        lambda folder: torch.save(
            content(views), folder / "w.pth", _use_new_zipfile_serialization=False
        )
    )["w.pth"]
    address = re.findall(rb"X.\0\0\0\d{9,20}", before, re.DOTALL)[0]
    return [zipped, before.replace(address, b"X\x08\0\0\x0000000001")]


def _theirs() -> dict[str, Tensor]:
    renamed = {}
    for name, tensor in _Small().state_dict().items():
        for ours, theirs in _THEIRS.items():
            name = name.replace(ours, theirs)
        renamed[name] = tensor
    return renamed


def _released() -> tuple[Files, ...]:
    state = _theirs()
    meta = {"CLASSES": ("ship", "large vehicle"), "epoch": 12, "mmdet": "2.25"}
    files = [
        *_saved(lambda own: {"meta": meta, "state_dict": own}, state),
        *_saved(lambda own: {"state_dict": own}, state),
    ]
    return tuple({"w.pth": data} for data in files)


def _import(folder: Path) -> None:
    names = None if b"CLASSES" in (folder / "w.pth").read_bytes() else ("a", "b")
    with patch.object(weights_import.zoo, "build", lambda *_: _Small()):
        weights_import.import_weights(folder / "w.pth", folder / "out.safetensors", names)


def _pretrained() -> tuple[Files, ...]:
    state = {**_Small().state_dict(), "fc.weight": torch.zeros(2, 2)}
    return tuple({"w.pth": data} for data in _saved(lambda own: own, state))


def _load_file(folder: Path) -> None:
    _load_backbone(str(folder / "w.pth"))


def _load_backbone(weights: str) -> None:
    config = BackboneSettings(name="resnet18", weights=weights)
    backbone.load_weights(_Small(), config)  # type: ignore[arg-type]


def _cached() -> tuple[Files, ...]:
    """Return torch's cache with ImageNet weights in it; their hash is not looked at here."""
    url = get_model_weights("resnet18").IMAGENET1K_V1.url
    name = url.rsplit("/", 1)[1]
    return tuple({f"checkpoints/{name}": files["w.pth"]} for files in _pretrained())


def _load_cache(folder: Path) -> None:
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(folder))
    try:
        with (
            patch.object(torch.hub, "download_url_to_file", side_effect=URLError("no network")),
            patch.object(backbone, "is_published", lambda path: True),
        ):
            _load_backbone("imagenet")
    finally:
        torch.hub.set_dir(before)


READERS = (
    Reader("checkpoint", _checkpoints, _load_checkpoint, share=50),
    Reader("state", _states, _load_state),
    Reader("import-weights", _released, _import, ("w.pth",), share=50, writes=True),
    Reader("backbone-weights", _pretrained, _load_file),
    Reader("cached-weights", _cached, _load_cache),
)
