"""Train on your own COCO data and evaluate on whole images, by the Python API.

    python examples/train_and_evaluate.py train.json test.json OUT

Both files are COCO JSON (``ignore`` flags and an ``ignore`` category are understood); images are
found beside them. The recipe is small, so that a few images on a CPU give a first impression;
change ``RECIPE`` and ``CHANGES`` for a real training.
"""

from __future__ import annotations

import sys
from pathlib import Path

import sodkit

RECIPE = "cfinet-r18-demo"
CHANGES = ["schedule.epochs=12", "input.vertical_flip=0.0"]


def main(train_file: Path, test_file: Path, out: Path) -> None:
    recipe = sodkit.load_recipe(RECIPE, CHANGES)
    device = sodkit.pick_device("auto")

    # large images -> patches; the report counts every object
    source = sodkit.read_annotations(train_file)
    settings = sodkit.SplitSettings(size=recipe.input.patch, stride=recipe.input.stride)
    images = sodkit.find_images(train_file, source)
    sodkit.split_dataset(source, images, out / "patches", settings)

    # patches -> detector; checkpoints and logs go to OUT/run
    patches = sodkit.read_annotations(out / "patches")
    detector = sodkit.train(recipe, patches, out / "patches", out / "run", device=device)

    # whole images -> windows -> merged detections -> metrics over Small objects
    test = sodkit.read_annotations(test_file)
    folder = sodkit.find_images(test_file, test)
    found = sodkit.predict_images(detector, recipe, test.images, folder, device=device)
    result = sodkit.evaluate(test, found, sodkit.protocol_for(test.kind))
    for name, value in result.metrics.items():
        print(f"{name:10} {'-' if value is None else format(value, '.3f')}")

    sodkit.visualize(test, folder, out / "pictures", detections=found)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*map(Path, sys.argv[1:]))
