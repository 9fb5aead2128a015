"""The demo: every stage of the pipeline in a row, on synthetic scenes, by the Python API.

Read ``run_demo`` as a tour of the API: make data, split, train, predict, evaluate, look.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sodkit.analysis.anchor_study import AnchorQuality, analyze_anchors
from sodkit.config import load_recipe
from sodkit.data.formats import read_annotations
from sodkit.data.predictions.storage import write_predictions
from sodkit.data.records import BoxKind
from sodkit.engine.checkpoint import load_checkpoint
from sodkit.engine.device import pick_device
from sodkit.engine.log import Row
from sodkit.engine.paths import DataPaths
from sodkit.engine.predict import predict_images
from sodkit.engine.train import StepReport
from sodkit.engine.training_run import RunPlan, execute
from sodkit.errors import UsageError
from sodkit.evaluation.evaluate import Evaluation, evaluate
from sodkit.evaluation.protocol import protocol_for
from sodkit.outputs import fill_folder
from sodkit.settings import Recipe
from sodkit.synthetic.generate import make_dataset, scene_name
from sodkit.tiling.settings import SplitSettings
from sodkit.tiling.split_dataset import split_dataset
from sodkit.viz.dataset_pictures import visualize
from sodkit.viz.plots import plot_anchor_quality

Say = Callable[[str], None]
RECIPES: dict[BoxKind, str] = {
    "horizontal": "cfinet-r18-demo",
    "oriented": "cfinet-r18-demo-oriented",
}


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """What the demo is to do; see ``sodkit demo --help``. Recipe None: the one for ``boxes``."""

    out: Path
    boxes: BoxKind = "horizontal"
    recipe: str | None = None
    overrides: tuple[str, ...] = ()
    seed: int = 0
    train_images: int = 8
    test_images: int = 3
    width: int = 2048
    height: int = 1536
    device: str = "auto"
    overwrite: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class DemoResult:
    """What came out: metrics on the held-out images, and where to look."""

    evaluation: Evaluation
    anchors: AnchorQuality
    checkpoint: Path
    predictions: Path
    pictures: Path


def run_demo(
    plan: DemoPlan,
    *,
    say: Say = lambda message: None,
    on_step: Callable[[StepReport], None] = lambda report: None,
    on_epoch: Callable[[Row], None] = lambda row: None,
) -> DemoResult:
    """Run the whole pipeline.

    Args:
        plan: what to do; ``plan.out`` must not hold anything but, with ``plan.overwrite``, an
            earlier demo; the recipe must learn ``plan.boxes``.
        say: told what is being done.
        on_step: told of every training step.
        on_epoch: told of every epoch.
    """
    name = plan.recipe or RECIPES[plan.boxes]
    recipe = load_recipe(name, [f"seed={plan.seed}", *plan.overrides])
    if recipe.boxes != plan.boxes:
        raise UsageError(
            f"the recipe {name} learns {recipe.boxes} boxes, not {plan.boxes} ones",
            hint=f"give --boxes {recipe.boxes}, or another --recipe",
        )
    with fill_folder(plan.out, "demo", _own_files(plan), overwrite=plan.overwrite):
        return _run_demo(plan, recipe, say, on_step, on_epoch)


def _own_files(plan: DemoPlan) -> list[str]:
    """Return what the demo writes beside what its stages claim as theirs."""
    counts = {"train": plan.train_images, "test": plan.test_images}
    return [
        "predictions.json",
        "pictures/anchors.png",
        *(f"data/{subset}.json" for subset in counts),
        *(f"data/{scene_name(s, k)}" for s, count in counts.items() for k in range(1, count + 1)),
    ]


def _run_demo(
    plan: DemoPlan,
    recipe: Recipe,
    say: Say,
    on_step: Callable[[StepReport], None],
    on_epoch: Callable[[Row], None],
) -> DemoResult:
    """Run the stages, one after the other."""
    device = pick_device(plan.device)
    data, run, pictures = (plan.out / name for name in ("data", "run", "pictures"))

    say(f"making {plan.train_images} + {plan.test_images} scenes in {data}")
    train_file, test_file = (
        make_dataset(
            data,
            images=count,
            seed=plan.seed,
            subset=subset,
            width=plan.width,
            height=plan.height,
            boxes=plan.boxes,
            overwrite=plan.overwrite,
        )
        for subset, count in (("train", plan.train_images), ("test", plan.test_images))
    )

    say(f"splitting into patches of {recipe.input.patch} px, stride {recipe.input.stride}")
    patches = plan.out / "patches"
    settings = SplitSettings(size=recipe.input.patch, stride=recipe.input.stride)
    split_dataset(read_annotations(train_file), data, patches, settings, overwrite=plan.overwrite)

    say(f"training {recipe.name}: {recipe.description}")
    paths = DataPaths(str(patches), None, None, None, None)
    execute(
        RunPlan(recipe, paths, run, resume=False, overwrite=plan.overwrite), device=plan.device,
        on_step=on_step, on_epoch=on_epoch,
    )  # fmt: skip

    say("predicting and evaluating on the held-out scenes")
    checkpoint = run / "checkpoints" / "last.safetensors"
    loaded = load_checkpoint(checkpoint, device)
    test = read_annotations(test_file)
    found = predict_images(loaded.detector, loaded.recipe, test.images, data, device=device)
    write_predictions(plan.out / "predictions.json", found, test.categories)
    evaluation = evaluate(test, found, protocol_for(test.kind))

    say("drawing")
    visualize(test, data, pictures, detections=found, overwrite=plan.overwrite)
    anchors = analyze_anchors(test, recipe)
    plot_anchor_quality(anchors, pictures / "anchors.png")
    return DemoResult(evaluation, anchors, checkpoint, plan.out / "predictions.json", pictures)
