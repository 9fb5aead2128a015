"""A detector has two methods; abilities that only some have are small protocols of their own.

Training, prediction, checkpoints and resuming use a detector as a ``Detector`` only. What needs
more checks for it by ``isinstance``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from torch import Tensor, nn

from sodkit.data.batches import Batch, PatchDetections
from sodkit.models.kernels.grouped_nms import Candidates
from sodkit.models.parts.sampling import Shuffle
from sodkit.settings import Keep
from sodkit.settings.base import BoxKind


@runtime_checkable
class Detector(Protocol):
    """An ``nn.Module`` that learns from batches and detects in them.

    Attributes:
        boxes: the kind of box it learns and detects.
    """

    boxes: BoxKind

    def forward(self, batch: Batch, shuffle: Shuffle) -> dict[str, Tensor]:
        """Return the weighted losses by name, each a scalar; their sum is minimised.

        Every parameter that is trained gets a gradient, of images without objects too. A loss is
        a sum divided by ``batch.step.total(count)``: the count over all processes and parts of
        the step. One that never asks for it is taken as the mean over the images of the batch.

        Args:
            batch: images with targets.
            shuffle: draws all that is random.
        """

    def detect(self, batch: Batch, keep: Keep) -> list[PatchDetections]:
        """Return the detections of each image, best first, in pixels before resizing.

        Args:
            batch: images; targets are not used.
            keep: score threshold, NMS and limit.
        """


class DetectorModule(nn.Module, ABC):
    """The type of what is both ``nn.Module`` and ``Detector``; only our detectors derive from it.

    See ``Detector`` for the meaning of ``boxes`` and the methods.

    Attributes:
        suppresses: boxes that overlap suppress each other: ``Keep.nms`` is used.
    """

    boxes: BoxKind
    suppresses: ClassVar[bool] = True

    @abstractmethod
    def forward(self, batch: Batch, shuffle: Shuffle) -> dict[str, Tensor]:
        """See ``Detector.forward``."""

    @abstractmethod
    def detect(self, batch: Batch, keep: Keep) -> list[PatchDetections]:
        """See ``Detector.detect``."""


@runtime_checkable
class Proposes(Protocol):
    """A detector with class-agnostic proposals (recall: Table 4, Figure 4)."""

    def propose(self, batch: Batch, limit: int) -> list[PatchDetections]:
        """Return the best ``limit`` proposals of each image, scored by objectness.

        In pixels before resizing; all labels are 0. Of an oriented detector they are oriented.
        """


@runtime_checkable
class DropsUnused(Protocol):
    """A detector that holds what only its training reads, such as exemplars."""

    def drop_unused(self) -> None:
        """Give that memory back; the detector detects as before, and is not trained any more."""


@dataclass(frozen=True, slots=True, eq=False)
class ParameterGroup:
    """Parameters that are trained otherwise than the rest.

    Attributes:
        parameters: those that are frozen may be among them.
        rate: factor on the learning rate.
        decay: factor on the weight decay.
    """

    parameters: list[nn.Parameter]
    rate: float = 1.0
    decay: float = 1.0


@runtime_checkable
class Grouped(Protocol):
    """A detector some of whose parameters have a learning rate or weight decay of their own."""

    def groups(self) -> list[ParameterGroup]:
        """Return these parameters; none is in two groups."""


@runtime_checkable
class Exportable(Protocol):
    """A detector that can be written as a graph of fixed shapes: all of it but the last NMS."""

    def candidates(self, batch: Batch, keep: Keep) -> list[Candidates]:
        """Return the boxes of each image as the last NMS compares them, with labels as groups.

        While a graph is traced (``torch.compiler.is_compiling``) their number follows from sizes
        alone; what is no detection is not usable.

        Args:
            batch: images; targets are not used.
            keep: score threshold and, where there is no NMS (``suppresses``), limit.
        """
