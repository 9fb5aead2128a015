"""``sodkit export``: a detector for runtimes without PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sodkit.cli.options import CheckpointPath, Json, Overwrite


def export(
    checkpoint: CheckpointPath,
    out: Annotated[
        Path, typer.Option(help="Graph to write, .onnx; a Python file of its name goes beside it.")
    ],
    height: Annotated[
        int | None,
        typer.Option(min=1, help="Of the input in px, a multiple of 32 (default: the recipe's)."),
    ] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Likewise.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 1,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write a detector as ONNX, and a Python file of one page that detects with it.

    Example: sodkit export runs/cfinet --out cfinet.onnx
    """
    from functools import partial

    import torch

    from sodkit.cli.common import chosen_checkpoint, note, print_json
    from sodkit.cli.tables import print_table
    from sodkit.engine.checkpoint import load_checkpoint
    from sodkit.engine.export import check_export_path, check_exportable, export_checkpoint
    from sodkit.outputs import fill_file

    with fill_file(out, partial(check_export_path, out, overwrite=overwrite)):
        loaded = load_checkpoint(chosen_checkpoint(checkpoint), torch.device("cpu"))
        check_exportable(loaded.recipe)
        note("exporting: this takes up to two minutes")
        done = export_checkpoint(loaded, out, height=height, width=width, batch=batch)
    recipe, sizes = loaded.recipe, done.frame
    shape, kind = [batch, 3, *sizes.padded[::-1]], recipe.model.kind
    if as_json:
        print_json(
            {"out": str(out), "page": str(done.page), "kind": kind, "images": shape,
             "window": sizes.window, "stride": sizes.stride}
        )  # fmt: skip
    else:
        row = (kind, " x ".join(map(str, shape)), " x ".join(map(str, sizes.window)))
        print_table(str(out), ("detector", "images", "window, px"), [row])
    if recipe.merge.method != "nms":
        note(f"the recipe merges windows by {recipe.merge.method}, {done.page.name} does by nms")
    box = "centre x, y, width, height, angle" if recipe.boxes == "oriented" else "the box's corners"
    note(f"next: python {done.page} IMAGE prints class, score and {box} of what is found")
