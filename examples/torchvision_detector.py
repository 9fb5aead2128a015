"""A detector of torchvision, trained, used on whole images and evaluated.

Run: python examples/torchvision_detector.py OUT

``run`` takes any detector: an ``nn.Module`` with ``forward(batch, shuffle)``,
``detect(batch, keep)`` and ``boxes`` (``sodkit.Detector``). ``transformers_detector.py`` gives it
one of Hugging Face.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_fpn

import sodkit
from sodkit.models.adapters.torchvision import TorchvisionDetector


def faster_rcnn(classes: int) -> nn.Module:
    """Return Faster R-CNN on MobileNet, from random weights; torchvision counts the background."""
    return TorchvisionDetector(
        fasterrcnn_mobilenet_v3_large_fpn(
            weights=None, weights_backbone=None, num_classes=classes + 1
        )
    )


def run(
    make: Callable[[int], nn.Module],
    out: Path,
    *,
    images: int = 6,
    epochs: int = 2,
    width: int = 1024,
) -> dict[str, float | None]:
    """Train a detector on synthetic scenes; return its metrics on a held-out one.

    Args:
        make: makes the detector for a number of classes.
        out: the folder for data, patches, run and predictions.
        images: scenes to train on.
        epochs: of the training.
        width: of a scene in px.
    """
    train_file = sodkit.make_dataset(
        out / "data", images=images, subset="train", width=width, seed=0
    )
    test_file = sodkit.make_dataset(out / "data", images=1, subset="test", width=width, seed=0)
    recipe = sodkit.load_recipe(
        "retinanet-r50-soda-d",
        [f"schedule.epochs={epochs}", "input.patch=384", "input.stride=320", "input.scale=1.0",
         "schedule.optimizer=adamw", "schedule.lr=0.0004", "schedule.warmup=20"],
    )  # fmt: skip
    settings = sodkit.SplitSettings(size=recipe.input.patch, stride=recipe.input.stride)
    data = sodkit.read_annotations(train_file)
    sodkit.split_dataset(data, out / "data", out / "patches", settings)
    patches = sodkit.read_annotations(out / "patches")

    torch.manual_seed(0)
    classes = len(patches.categories)
    device = sodkit.pick_device("auto")
    detector = sodkit.train(
        recipe, patches, out / "patches", out / "run", device=device, detector=make(classes)
    )

    test = sodkit.read_annotations(test_file)
    found = sodkit.predict_images(
        detector, recipe, test.images, out / "data", device=device, classes=classes
    )
    sodkit.write_predictions(out / "found.json", found, test.categories)
    return dict(sodkit.evaluate(test, found, sodkit.protocol_for(test.kind)).metrics)


def main(make: Callable[[int], nn.Module], description: str | None) -> None:
    """Read the folder from the command line, run, print the metrics."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("out", type=Path)
    for name, value in run(make, parser.parse_args().out).items():
        print(name, value)


if __name__ == "__main__":
    main(faster_rcnn, __doc__)
