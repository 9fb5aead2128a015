"""What a run found on its validation images; those of its best epoch stay in its folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from sodkit.data.predictions.storage import read_predictions, write_predictions
from sodkit.data.records import Annotations, Detections
from sodkit.engine.predict import predict_images
from sodkit.engine.world import ALONE, World
from sodkit.evaluation.evaluate import evaluate
from sodkit.evaluation.protocol import Protocol
from sodkit.models.detector import DetectorModule
from sodkit.settings import Recipe

NAME = "validation.npz"


@dataclass(frozen=True, slots=True, eq=False)
class Validated:
    """Detections on validation images.

    Attributes:
        annotations: of those images, with the trained classes.
        images: the folder where ``file_name`` starts.
        found: the best epoch's detections.
    """

    annotations: Annotations
    images: Path
    found: Detections


def metric_names(protocol: Protocol) -> list[str]:
    """Return the metrics that a validation returns: every AP."""
    return [metric.name for metric in protocol.metrics if metric.kind == "AP"]


class Validation:
    """Predicts on a run's validation images and measures.

    Args:
        run: the run's folder.
        recipe: how to predict.
        annotations: of the images, with the trained classes.
        images: the folder where ``file_name`` starts.
        protocol: what is measured.
        device: where to compute.
        progress: called with (done, total) images.
        world: the processes that predict together.
    """

    def __init__(
        self,
        run: Path,
        recipe: Recipe,
        annotations: Annotations,
        images: Path,
        protocol: Protocol,
        device: torch.device,
        progress: Callable[[int, int], None],
        world: World = ALONE,
    ) -> None:
        self._run, self._recipe, self._protocol = run, recipe, protocol
        self.annotations, self._images = annotations, images
        self._device, self._progress, self._world = device, progress, world
        self._found: Detections | None = None

    def __call__(self, detector: DetectorModule) -> dict[str, float | None]:
        """Return every AP of a detector."""
        found = predict_images(
            detector, self._recipe, self.annotations.images, self._images,
            device=self._device, progress=self._progress, world=self._world,
        )  # fmt: skip
        self._found = found
        metrics = self._world.from_first(
            lambda: evaluate(self.annotations, found, self._protocol).metrics
        )
        return {name: metrics[name] for name in metric_names(self._protocol)}

    def keep(self) -> None:
        """Write the last detections into the run's folder, in place of earlier ones."""
        path, found = self._run / NAME, self._found
        if found is not None and len(found.scores):
            write_predictions(path, found, self.annotations.categories)
        else:
            path.unlink(missing_ok=True)

    def kept(self) -> Validated:
        """Return what the run's folder holds; no detections if it holds no file."""
        path = self._run / NAME
        none = Detections.empty(self.annotations.kind)
        found = read_predictions(path, self.annotations) if path.is_file() else none
        return Validated(self.annotations, self._images, found)
