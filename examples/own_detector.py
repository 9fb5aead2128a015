"""A detector that is not sodkit's: one of torchvision, trained, asked and evaluated.

Run: python examples/own_detector.py OUT

Anything with forward(batch, shuffle) and detect(batch, keep) can take its place; so can models of
Hugging Face, by ``sodkit.models.adapters.transformers``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_fpn

import sodkit
from sodkit.models.adapters.torchvision import TorchvisionDetector


def run(
    out: Path, *, images: int = 6, epochs: int = 2, width: int = 1024
) -> dict[str, float | None]:
    """Train Faster R-CNN on MobileNet on synthetic scenes; return metrics on a held-out one."""
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
    detector = TorchvisionDetector(
        fasterrcnn_mobilenet_v3_large_fpn(
            weights=None, weights_backbone=None, num_classes=classes + 1
        )
    )
    device = sodkit.pick_device("auto")
    sodkit.train(recipe, patches, out / "patches", out / "run", device=device, detector=detector)

    test = sodkit.read_annotations(test_file)
    found = sodkit.predict_images(
        detector, recipe, test.images, out / "data", device=device, classes=classes
    )
    sodkit.write_predictions(out / "found.json", found, test.categories)
    return dict(sodkit.evaluate(test, found, sodkit.protocol_for(test.kind)).metrics)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    for name, value in run(parser.parse_args().out).items():
        print(name, value)
