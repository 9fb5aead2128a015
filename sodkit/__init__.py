"""sodkit: small object detection in aerial and driving images.

The public names are imported when first used, so that ``import sodkit`` and ``sodkit --help`` do
not load torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sodkit._version import __version__

if TYPE_CHECKING:
    from sodkit.analysis.anchor_study import analyze_anchors
    from sodkit.config import load_recipe
    from sodkit.data.batches import Batch, PatchDetections, Target
    from sodkit.data.checking.dataset_check import check_dataset
    from sodkit.data.formats import find_images, find_subsets, read_annotations
    from sodkit.data.formats.conversion import convert
    from sodkit.data.predictions.storage import read_predictions, write_predictions
    from sodkit.data.records import Annotations, Category, Detections, ImageRecord
    from sodkit.engine.checkpoint import load_checkpoint
    from sodkit.engine.device import pick_device
    from sodkit.engine.predict import PredictOptions, predict_images
    from sodkit.engine.train import train
    from sodkit.engine.weights_import import import_weights
    from sodkit.evaluation.compare import Run, compare
    from sodkit.evaluation.evaluate import evaluate
    from sodkit.evaluation.protocol import protocol_for
    from sodkit.evaluation.study import study
    from sodkit.models.detector import Detector
    from sodkit.settings import Keep, Recipe
    from sodkit.synthetic import make_dataset
    from sodkit.tiling.settings import SplitSettings
    from sodkit.tiling.split_dataset import split_dataset
    from sodkit.viz.dataset_pictures import visualize
    from sodkit.viz.report import write_comparison, write_report

_HOMES = {
    "Annotations": "sodkit.data.records",
    "Batch": "sodkit.data.batches",
    "Category": "sodkit.data.records",
    "Detections": "sodkit.data.records",
    "Detector": "sodkit.models.detector",
    "ImageRecord": "sodkit.data.records",
    "Keep": "sodkit.settings",
    "PatchDetections": "sodkit.data.batches",
    "PredictOptions": "sodkit.engine.predict",
    "Recipe": "sodkit.settings",
    "Run": "sodkit.evaluation.compare",
    "SplitSettings": "sodkit.tiling.settings",
    "Target": "sodkit.data.batches",
    "analyze_anchors": "sodkit.analysis.anchor_study",
    "check_dataset": "sodkit.data.checking.dataset_check",
    "compare": "sodkit.evaluation.compare",
    "convert": "sodkit.data.formats.conversion",
    "evaluate": "sodkit.evaluation.evaluate",
    "find_images": "sodkit.data.formats",
    "find_subsets": "sodkit.data.formats",
    "import_weights": "sodkit.engine.weights_import",
    "load_checkpoint": "sodkit.engine.checkpoint",
    "load_recipe": "sodkit.config",
    "make_dataset": "sodkit.synthetic",
    "pick_device": "sodkit.engine.device",
    "predict_images": "sodkit.engine.predict",
    "protocol_for": "sodkit.evaluation.protocol",
    "read_annotations": "sodkit.data.formats",
    "read_predictions": "sodkit.data.predictions.storage",
    "split_dataset": "sodkit.tiling.split_dataset",
    "study": "sodkit.evaluation.study",
    "train": "sodkit.engine.train",
    "visualize": "sodkit.viz.dataset_pictures",
    "write_comparison": "sodkit.viz.report",
    "write_predictions": "sodkit.data.predictions.storage",
    "write_report": "sodkit.viz.report",
}

__all__ = [
    "Annotations",
    "Batch",
    "Category",
    "Detections",
    "Detector",
    "ImageRecord",
    "Keep",
    "PatchDetections",
    "PredictOptions",
    "Recipe",
    "Run",
    "SplitSettings",
    "Target",
    "__version__",
    "analyze_anchors",
    "check_dataset",
    "compare",
    "convert",
    "evaluate",
    "find_images",
    "find_subsets",
    "import_weights",
    "load_checkpoint",
    "load_recipe",
    "make_dataset",
    "pick_device",
    "predict_images",
    "protocol_for",
    "read_annotations",
    "read_predictions",
    "split_dataset",
    "study",
    "train",
    "visualize",
    "write_comparison",
    "write_predictions",
    "write_report",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'sodkit' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
