"""``sodkit export``: a detector's graph for runtimes without PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sodkit.cli.options import CheckpointPath, Json, Overwrite


def export(
    checkpoint: CheckpointPath,
    out: Annotated[Path, typer.Option(help="Graph to write, .onnx.")],
    height: Annotated[
        int | None,
        typer.Option(min=1, help="Of the input in px, a multiple of 32 (default: the recipe's)."),
    ] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Likewise.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 1,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write a detector's network up to its first NMS as ONNX: boxes with scores.

    Example: sodkit export runs/cfinet --out cfinet.onnx
    """
    from functools import partial

    import torch

    from sodkit.cli.common import chosen_checkpoint, note, print_json
    from sodkit.cli.tables import print_table
    from sodkit.engine.checkpoint import load_checkpoint
    from sodkit.engine.export import check_export_path, export_checkpoint
    from sodkit.outputs import fill_file

    with fill_file(out, partial(check_export_path, out, overwrite=overwrite)):
        loaded = load_checkpoint(chosen_checkpoint(checkpoint), torch.device("cpu"))
        note("exporting: this takes a minute or less")
        size = export_checkpoint(loaded, out, height=height, width=width, batch=batch)
    shape = [batch, 3, *size]
    kind = loaded.recipe.model.kind
    if as_json:
        print_json({"out": str(out), "kind": kind, "images": shape})
    else:
        print_table(str(out), ("detector", "images"), [(kind, " x ".join(map(str, shape)))])
    note(
        f"next: onnxruntime.InferenceSession({str(out)!r}).run(None, {{'images': images}}) returns "
        "boxes and scores; docs/export.md says what images are"
    )
