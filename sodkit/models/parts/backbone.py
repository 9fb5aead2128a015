"""The backbone: torchvision's ResNets as C2..C5, batch norm folded into the convolutions.

With stored statistics (``norm: frozen``, and always in eval mode) a batch norm is an affine map of
the channels, so it is multiplied into the weights before each convolution: the gradients of its
weight and bias stay exact, and no activation is read, written or kept for it.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import get_model, get_model_weights
from torchvision.models.resnet import BasicBlock, Bottleneck

from sodkit.errors import ModelError
from sodkit.models.importers import torch_file
from sodkit.models.kernels import pointwise
from sodkit.settings.base import Backbone as BackboneSettings

STRIDES = (4, 8, 16, 32)
"""Of C2..C5, in px of the input."""


class Backbone(nn.Module):
    """A ResNet without its classifier; parameters carry torchvision's names.

    Args:
        config: which ResNet, how many stages are frozen, and how batch norm behaves.

    ``norm: frozen`` uses the stored statistics also in training, with weight and bias trained
    (release), ``norm: fixed`` without; ``norm: batch`` is ordinary batch norm. Frozen stages always
    use stored ones.
    """

    def __init__(self, config: BackboneSettings) -> None:
        super().__init__()
        body = get_model(config.name, weights=None)
        self.conv1, self.bn1 = body.conv1, body.bn1
        self.layer1, self.layer2 = body.layer1, body.layer2
        self.layer3, self.layer4 = body.layer3, body.layer4
        self.channels: list[int] = [body.fc.in_features // 2**i for i in (3, 2, 1, 0)]
        self._frozen_norm = config.norm != "batch"
        self._frozen = self._stages()[: config.frozen_stages]
        for module in self._frozen:
            module.requires_grad_(False)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d) and config.norm == "fixed":
                module.requires_grad_(False)
            if isinstance(module, Bottleneck) and config.stride_in == "1x1":
                module.conv1.stride, module.conv2.stride = module.conv2.stride, module.conv1.stride
        self.train()

    def _stages(self) -> list[nn.Module]:
        stem = nn.ModuleList([self.conv1, self.bn1])
        return [stem, self.layer1, self.layer2, self.layer3, self.layer4]

    def train(self, mode: bool = True) -> Backbone:
        """Set training mode; norms that use stored statistics stay in eval mode."""
        super().train(mode)
        if self._frozen_norm:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        for stage in self._frozen:
            stage.eval()
        return self

    def forward(self, images: Tensor) -> list[Tensor]:
        """Turn images (B, 3, H, W) into C2..C5, each (B, C, ceil(H / stride), ceil(W / stride))."""
        images = images.contiguous(memory_format=torch.channels_last)
        x = _conv_norm(images, self.conv1, self.bn1).relu_()
        x = F.max_pool2d(x, 3, 2, 1)
        outputs = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            for block in stage:
                x = _block(x, block)
            outputs.append(x)
        return outputs


def _block(x: Tensor, block: nn.Module) -> Tensor:
    """Run a residual block of torchvision's."""
    if isinstance(block, Bottleneck):
        y = _conv_norm(x, block.conv1, block.bn1).relu_()
        y = _conv_norm(y, block.conv2, block.bn2).relu_()
        y = _conv_norm(y, block.conv3, block.bn3)
    else:
        assert isinstance(block, BasicBlock)
        y = _conv_norm(x, block.conv1, block.bn1).relu_()
        y = _conv_norm(y, block.conv2, block.bn2)
    if block.downsample is not None:
        conv, norm = block.downsample
        x = _conv_norm(x, conv, norm)
    return y.add_(x).relu_()


def _conv_norm(x: Tensor, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> Tensor:
    """Convolve and normalise; in one step where the norm uses its stored statistics."""
    if norm.training:
        normed: Tensor = norm(conv(x))
        return normed
    assert norm.running_mean is not None
    assert norm.running_var is not None
    factor = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    shift = norm.bias - norm.running_mean * factor
    weight = conv.weight * factor[:, None, None, None]
    spread = pointwise.dilation(x, conv)
    return F.conv2d(x, weight, shift, conv.stride, conv.padding, spread, conv.groups)


def load_weights(backbone: Backbone, config: BackboneSettings) -> None:
    """Load pretrained weights as ``config.weights`` says; the classifier's are left out.

    Raises:
        ModelError: if they cannot be downloaded or read, or do not fit the network.
    """
    if config.weights is None:
        return
    state = _imagenet(config.name) if config.weights == "imagenet" else _read(Path(config.weights))
    state = OrderedDict((k, v) for k, v in state.items() if not k.startswith("fc."))
    hint = "model.backbone.weights must hold torchvision's ResNet weights of that name"
    problems = _misfits(state, backbone.state_dict())
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        what = f"the weights do not fit {config.name}: {problems[0]}{more}"
        raise ModelError(what, where=config.weights, hint=hint)
    try:
        backbone.load_state_dict(state)
    except (RuntimeError, AttributeError, TypeError) as error:
        what = "the weights cannot be copied: a tensor is sparse or has no content"
        raise ModelError(what, where=config.weights, hint=hint) from error


def _misfits(state: Mapping[str, Tensor], want: Mapping[str, Tensor]) -> list[str]:
    """Return which tensors are missing, unknown or of another shape."""
    counters = ".num_batches_tracked"  # not used here, and older files lack them
    return [
        *(f"no {key}" for key in want if key not in state and not key.endswith(counters)),
        *(f"unknown {key[:80]!r}" for key in state if key not in want),
        *(
            f"{key} has shape {tuple(state[key].shape)}, not {tuple(value.shape)}"
            for key, value in want.items()
            if key in state and state[key].shape != value.shape
        ),
    ]


def _imagenet(name: str) -> OrderedDict[str, Tensor]:
    """Return torchvision's ImageNet weights (version 1, as in the release), from its cache."""
    return _read(_downloaded(get_model_weights(name).IMAGENET1K_V1.url))


def _downloaded(url: str) -> Path:
    """Return the path of a URL's file in torch's cache; download it if it is not there.

    The name ends in the first digits of the file's sha256, as torch's published weights do.

    Raises:
        ModelError: it cannot be downloaded, or its sha256 is not that of its name.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    published = path.stem.rpartition("-")[2]
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), published, progress=False)
    except (OSError, RuntimeError, HTTPException) as error:
        raise ModelError(
            f"the ImageNet weights cannot be downloaded: {error}",
            where=url,
            hint=f"download the file elsewhere and put it at {path}, or give it: "
            "--set model.backbone.weights=FILE; "
            "or start from random weights: --set model.backbone.weights=null",
        ) from error
    if not is_published(path):
        raise ModelError(
            f"is not the file that was published: its sha256 does not begin with {published}",
            where=path,
            hint="remove it, and it is downloaded anew; or copy it again",
        )
    return path


def is_published(path: Path) -> bool:
    """Return whether a file's sha256 begins with the digits at the end of its name.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror}", where=path) from error
    return digest.startswith(path.stem.rpartition("-")[2])


def _read(path: Path) -> OrderedDict[str, Tensor]:
    state = torch_file.read(
        path,
        "the backbone's weights",
        "a file saved by torch.save(state_dict), as torchvision distributes them",
    )
    if not isinstance(state, dict) or not all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()
    ):
        raise ModelError("holds no state_dict of tensors", where=path)
    return OrderedDict(state)
