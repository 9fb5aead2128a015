"""``sodkit import-weights``: the authors' released checkpoint as one of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sodkit.cli.options import Changes, Json, Overwrite


def import_weights(
    file: Annotated[Path, typer.Argument(help="Checkpoint saved by mmdetection.")],
    out: Annotated[Path, typer.Option(help="Checkpoint to write, .safetensors.")],
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="Class names, or a text file of them, if the weights have none or other ones.",
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="Recipe it was trained by (default: what names and shapes show)."),
    ] = None,
    overrides: Changes = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Turn released weights (mmdetection's names) into a checkpoint for predict.

    Example: sodkit import-weights cfinet_sodad.pth --out cfinet.safetensors
    """
    from functools import partial

    from sodkit.cli.common import note, print_json
    from sodkit.cli.tables import print_table
    from sodkit.data.formats.class_lists import classes_named
    from sodkit.engine.weights_import import import_weights as run
    from sodkit.engine.weights_import import is_checkpoint
    from sodkit.errors import UsageError
    from sodkit.outputs import check_file, fill_file

    if out.suffix != ".safetensors":
        raise UsageError("is no name for a checkpoint: it ends in .safetensors", where=out)
    names = None if classes is None else classes_named(classes)
    own = partial(
        check_file, out, overwrite=overwrite, is_own=is_checkpoint, what="checkpoint of sodkit"
    )
    with fill_file(out, own):
        done = run(file, out, names, recipe, overrides or ())
    if done.assumed:
        note(f"the file names no classes: {done.assumed}'s nine are assumed; else give --classes")
    if done.also:
        note(
            f"names and shapes are also those of {', '.join(done.also)}: "
            "if it was trained by that, give --recipe"
        )
    if done.other:
        note(
            f"{done.recipe.name} has other settings than the program that trained the weights: "
            f"they detect as there with {' '.join(f'--set {setting}' for setting in done.other)}"
        )
    if as_json:
        print_json(
            {
                "out": str(out),
                "recipe": done.recipe.name,
                "kind": done.recipe.model.kind,
                "also": list(done.also),
                "other": list(done.other),
                "sizes": dict(done.sizes),
                "classes": {str(c.id): c.name for c in done.categories},
                "tensors": done.tensors,
                "parameters": done.parameters,
            }
        )
        return
    rows = [
        ("recipe", done.recipe.name),
        ("detector", done.recipe.model.kind),
        *((key, value) for key, value in done.sizes),
        ("classes", ", ".join(c.name for c in done.categories)),
        ("tensors", done.tensors),
        ("parameters", done.parameters),
    ]
    print_table(str(out), ("imported", ""), rows, texts=range(2))
