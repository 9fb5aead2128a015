"""``sodkit demo``: the whole pipeline on data it makes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from sodkit.cli.options import Changes, Device, Json, Overwrite


def demo(
    out: Annotated[Path, typer.Option(help="Folder for data, run and pictures.")] = Path("demo"),
    seed: Annotated[int, typer.Option(min=0, help="Of data and training.")] = 0,
    boxes: Annotated[
        Literal["horizontal", "oriented"], typer.Option(help="Of the data it makes.")
    ] = "horizontal",
    recipe: Annotated[
        str | None, typer.Option(help="Recipe to train (default: cfinet-r18-demo[-oriented]).")
    ] = None,
    overrides: Changes = None,
    train_images: Annotated[int, typer.Option(min=1, help="Images to train on.")] = 8,
    test_images: Annotated[int, typer.Option(min=1, help="Images held out.")] = 3,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Make a small data set, then split, train, predict, eval, visualize, analyze-anchors on it.

    Example: sodkit demo --out demo
    """
    from sodkit.cli.common import note, print_json
    from sodkit.cli.eval_output import note_left_out, print_evaluation
    from sodkit.cli.train_view import train_view
    from sodkit.demo import DemoPlan, run_demo

    plan = DemoPlan(
        out=out, boxes=boxes, recipe=recipe, overrides=tuple(overrides or ()), seed=seed,
        train_images=train_images, test_images=test_images, device=device,
        overwrite=overwrite,
    )  # fmt: skip
    with train_view() as view:
        result = run_demo(
            plan, say=note, on_step=view.step, on_epoch=view.epoch, progress=view.progress
        )
    paths = {
        "checkpoint": str(result.checkpoint),
        "predictions": str(result.predictions),
        "pictures": str(result.pictures),
    }
    if as_json:
        print_json({**result.evaluation.as_dict(), **paths})
        return
    note_left_out(result.evaluation)
    print_evaluation(result.evaluation)
    print(f"pictures: {result.pictures}")
