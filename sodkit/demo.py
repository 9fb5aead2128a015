"""The demo: every stage of the pipeline in a row, on synthetic scenes, by the Python API.

Read ``run_demo`` as a tour of the API: make data, split, train, predict, evaluate, look.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sodkit import (
    AnchorQuality,
    BoxKind,
    DataPaths,
    Evaluation,
    Recipe,
    Row,
    RunPlan,
    SplitSettings,
    StepReport,
    UsageError,
    analyze_anchors,
    evaluate,
    fill_folder,
    load_checkpoint,
    load_recipe,
    make_dataset,
    pick_device,
    plot_anchor_quality,
    predict_images,
    protocol_for,
    read_annotations,
    run_training,
    scene_name,
    split_dataset,
    visualize,
    write_predictions,
)

Say = Callable[[str], None]
RECIPES: dict[BoxKind, str] = {
    "horizontal": "cfinet-r18-demo",
    "oriented": "cfinet-r18-demo-oriented",
}


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """What the demo does; see ``sodkit demo --help``. Recipe None: the one for ``boxes``."""

    out: str | Path
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

    def __repr__(self) -> str:
        name, value = self.evaluation.first
        return f"<DemoResult: {name} {value}, {self.checkpoint}>"


def run_demo(
    plan: DemoPlan,
    *,
    say: Say = lambda message: None,
    on_step: Callable[[StepReport], None] = lambda report: None,
    on_epoch: Callable[[Row], None] = lambda row: None,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> DemoResult:
    """Run the whole pipeline.

    Args:
        plan: what to do; ``plan.out`` is absent, empty or, with ``plan.overwrite``, holds an
            earlier demo; the recipe learns ``plan.boxes``.
        say: called with a sentence as each stage begins.
        on_step: called after every training step.
        on_epoch: called after every epoch.
        progress: called with (what, done, total) as other stages go on.

    Raises:
        UsageError: ``plan.out`` may not be written, or the recipe learns another kind of box.
    """
    name = plan.recipe or RECIPES[plan.boxes]
    recipe = load_recipe(name, [f"seed={plan.seed}", *plan.overrides])
    if recipe.boxes != plan.boxes:
        raise UsageError(
            f"the recipe {name} learns {recipe.boxes} boxes, not {plan.boxes} ones",
            hint=f"give --boxes {recipe.boxes}, or another --recipe",
        )
    out = Path(plan.out)
    with fill_folder(out, "demo", _own_files(plan), overwrite=plan.overwrite):
        return _run_demo(plan, out, recipe, say, on_step, on_epoch, progress)


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
    out: Path,
    recipe: Recipe,
    say: Say,
    on_step: Callable[[StepReport], None],
    on_epoch: Callable[[Row], None],
    progress: Callable[[str, int, int], None],
) -> DemoResult:
    """Run the stages, one after the other."""
    device = pick_device(plan.device)
    data, run, pictures = (out / name for name in ("data", "run", "pictures"))

    say(f"making {plan.train_images} + {plan.test_images} scenes in {data}")
    make = partial(
        make_dataset, data, seed=plan.seed, width=plan.width, height=plan.height,
        boxes=plan.boxes, overwrite=plan.overwrite, progress=partial(progress, "making"),
    )  # fmt: skip
    train_file = make(images=plan.train_images, subset="train")
    test_file = make(images=plan.test_images, subset="test")

    say(f"splitting into patches of {recipe.input.patch} px, stride {recipe.input.stride}")
    patches = out / "patches"
    settings = SplitSettings(size=recipe.input.patch, stride=recipe.input.stride)
    split_dataset(
        read_annotations(train_file), data, patches, settings,
        overwrite=plan.overwrite, progress=partial(progress, "splitting"),
    )  # fmt: skip

    say(f"training {recipe.name}: {recipe.description}")
    paths = DataPaths(str(patches))
    run_training(
        RunPlan(recipe, paths, run, resume=False, overwrite=plan.overwrite), device=plan.device,
        on_step=on_step, on_epoch=on_epoch,
    )  # fmt: skip

    say("predicting and evaluating on the held-out scenes")
    checkpoint = run / "checkpoints" / "last.safetensors"
    loaded = load_checkpoint(checkpoint, device)
    test = read_annotations(test_file)
    found = predict_images(
        loaded.detector, loaded.recipe, test.images, data,
        device=device, progress=partial(progress, "predicting"),
    )  # fmt: skip
    write_predictions(out / "predictions.json", found, test.categories)
    evaluation = evaluate(test, found, protocol_for(test.kind))

    say("drawing")
    visualize(test, data, pictures, detections=found, overwrite=plan.overwrite)
    anchors = analyze_anchors(test, recipe)
    plot_anchor_quality(anchors, pictures / "anchors.png")
    return DemoResult(evaluation, anchors, checkpoint, out / "predictions.json", pictures)
