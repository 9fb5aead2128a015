"""The hourglass network: down to a small map and up again, twice, with shortcuts on every level.

Newell et al., ECCV 2016; as CornerNet changes it (Law and Deng, ECCV 2018, 3.5): strides in place
of pooling, residual blocks of two convolutions.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock

from sodkit.settings.keypoints import CornerNet


class Hourglass(nn.Module):
    """One hourglass: half the map goes through a smaller hourglass, and is added to the whole.

    Args:
        widths: channels of the maps, each with half the rows and columns of the one before.
        blocks: residual blocks on each of them.
    """

    def __init__(self, widths: tuple[int, ...], blocks: tuple[int, ...]) -> None:
        super().__init__()
        (width, smaller), count = widths[:2], blocks[0]
        self.same = residual(width, width, count)
        self.down = residual(width, smaller, count, stride=2)
        self.inner: nn.Module = (
            Hourglass(widths[1:], blocks[1:])
            if len(widths) > 2
            else residual(smaller, smaller, blocks[1])
        )
        self.up = nn.Sequential(
            *residual(smaller, smaller, count - 1), *residual(smaller, width, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of the shape of ``x`` (B, C, H, W)."""
        small: Tensor = self.up(self.inner(self.down(x)))
        whole: Tensor = self.same(x)
        return whole + F.interpolate(small, size=(x.shape[2], x.shape[3]))


class StackedHourglass(nn.Module):
    """Hourglasses on a map of stride 4, each on what the one before has found.

    Args:
        config: widths, blocks, number of hourglasses, channels of the features.
    """

    def __init__(self, config: CornerNet) -> None:
        super().__init__()
        width, stacks = config.widths[0], range(config.stacks)
        self.stem = nn.Sequential(
            conv_norm(3, width // 2, 7, stride=2), *residual(width // 2, width, 1, stride=2)
        )
        self.hourglasses = nn.ModuleList(Hourglass(config.widths, config.blocks) for _ in stacks)
        self.outputs = nn.ModuleList(conv_norm(width, config.channels, 3) for _ in stacks)
        between = stacks[1:]
        self.kept = nn.ModuleList(conv_norm(width, width, 1, relu=False) for _ in between)
        self.found = nn.ModuleList(
            conv_norm(config.channels, width, 1, relu=False) for _ in between
        )
        self.joined = nn.ModuleList(BasicBlock(width, width) for _ in between)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the features of each hourglass, (B, C, ceil(H / 4), ceil(W / 4))."""
        x = self.stem(images)
        features = []
        for number, (hourglass, output) in enumerate(
            zip(self.hourglasses, self.outputs, strict=True)
        ):
            features.append(output(hourglass(x)))
            if number < len(self.joined):
                both = self.kept[number](x) + self.found[number](features[-1])
                x = self.joined[number](both.relu())
        return features


def residual(inputs: int, outputs: int, count: int, stride: int = 1) -> nn.Sequential:
    """Return residual blocks; the first has the stride, and a shortcut where shapes change."""
    blocks = []
    for number in range(count):
        shortcut = None
        if number == 0 and (stride > 1 or inputs != outputs):
            shortcut = conv_norm(inputs, outputs, 1, stride=stride, relu=False)
        first = (inputs, stride) if number == 0 else (outputs, 1)
        blocks.append(BasicBlock(first[0], outputs, first[1], shortcut))
    return nn.Sequential(*blocks)


def conv_norm(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, relu: bool = True
) -> nn.Sequential:
    """Return a convolution without bias, batch norm and, unless it is left out, a ReLU."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    if relu:
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)
