"""``sodkit analyze-anchors``: how well anchors meet the objects (the paper's Figure 1)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sodkit.cli.options import (
    Angle,
    Ann,
    Area,
    Changes,
    Classes,
    Difficult,
    Format,
    Json,
    Oriented,
    Overwrite,
    SkipBad,
    Subset,
)

if TYPE_CHECKING:
    from sodkit.analysis.anchor_study import AnchorQuality
    from sodkit.analysis.suggest import Suggestion
    from sodkit.data.records import Annotations
    from sodkit.settings import Recipe

ANCHOR_FILES = (
    "left_out.csv",
    "suggested.yaml",
    *(f"{name}.{form}" for name in ("anchors", "sizes") for form in ("csv", "png", "svg")),
)
"""What is written to --out."""


def analyze_anchors(
    ann: Ann,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Gives anchors and resize factor: a name or a YAML file (default: CFINet for "
            "the data's kind of box)."
        ),
    ] = None,
    overrides: Changes = None,
    suggest: Annotated[
        bool,
        typer.Option(
            "--suggest",
            help="Suggest anchors, dynamic threshold, resize factor and patches for these data, as "
            "--set lines; with --out as a recipe, too.",
        ),
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for plots and CSV.")] = None,
    images: Annotated[
        Path | None, typer.Option(help="Where file_name starts, if sizes must be looked up.")
    ] = None,
    format_: Format = None,
    difficult: Difficult = None,
    area: Area = None,
    angle: Angle = None,
    oriented: Oriented = False,
    skip_bad: SkipBad = False,
    subset: Subset = None,
    classes: Classes = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Measure the best IoU an anchor reaches for every object, by size class.

    Oriented objects count by their enclosing boxes; their best rotated IoU is shown besides.

    Also how many positive anchors an object gets: under fixed thresholds, the dynamic one of
    paper, release and recipe, and Cascade RPN's centre regions. And how many from every system,
    with that system's own anchors and rule.

    --suggest searches a small grid for settings that fit the objects better (docs/anchors.md).

    Example: sodkit analyze-anchors train.json --recipe cfinet-r50-soda-d --out anchors
    """
    from sodkit.cli.common import list_left_out, note, output_folder
    from sodkit.config import DEFAULT_RECIPES, load_recipe
    from sodkit.data.formats import Reading
    from sodkit.data.formats.subsets import TRAINED
    from sodkit.data.left_out import LeftOut
    from sodkit.data.opening import Source, of_one_subset, open_source

    left, reading = LeftOut(bad=skip_bad), Reading(difficult, area, angle, oriented)
    source = Source(ann, format_, images, subset, reading, classes)
    annotations = open_source(of_one_subset(source, note, TRAINED), left, note)
    loaded = load_recipe(recipe or DEFAULT_RECIPES[annotations.kind], overrides or ())
    with output_folder(out, "analyze-anchors", ANCHOR_FILES, overwrite=overwrite):
        list_left_out(left, out)
        suggestion = _suggest(annotations, loaded) if suggest else None
        quality = _analyse(annotations, loaded, only_small=suggestion is None)
        if out is not None:
            _save(out, annotations, quality, suggestion)
    _print(quality, suggestion, as_json=as_json)


def _suggest(annotations: Annotations, recipe: Recipe) -> Suggestion:
    from sodkit.analysis.suggest import suggest_settings
    from sodkit.cli.common import progress

    with progress("searching") as report:
        return suggest_settings(annotations, recipe, progress=report)


def _analyse(annotations: Annotations, recipe: Recipe, *, only_small: bool) -> AnchorQuality | None:
    """Return the analysis; None, unless ``only_small``: all objects are larger than N."""
    from sodkit.analysis.anchor_study import analyze_anchors as analyze
    from sodkit.analysis.anchor_study import has_counted
    from sodkit.cli.common import note, progress

    if not only_small and not has_counted(annotations):
        note("all objects are larger than N: there is a suggestion, but no analysis by size class")
        return None
    with progress("analysing") as report:
        return analyze(annotations, recipe, progress=report)


def _save(
    out: Path,
    annotations: Annotations,
    quality: AnchorQuality | None,
    suggestion: Suggestion | None,
) -> None:
    """Write what there is into --out."""
    from sodkit.config import dump_recipe
    from sodkit.files import write_text
    from sodkit.viz.plots import save_anchor_report

    if suggestion is not None:
        write_text(out / "suggested.yaml", dump_recipe(suggestion.recipe))
    if quality is not None:
        save_anchor_report(quality, annotations, out)


def _print(quality: AnchorQuality | None, suggestion: Suggestion | None, *, as_json: bool) -> None:
    from sodkit.analysis.anchor_study import quality_as_dict
    from sodkit.analysis.suggest import suggestion_as_dict
    from sodkit.cli.common import print_json
    from sodkit.cli.suggestion_view import print_suggestion

    if as_json:
        data = {"sizes": {}} if quality is None else quality_as_dict(quality)
        if suggestion is not None:
            data = {"recipe": suggestion.recipe.name, **data}
            data["suggestion"] = suggestion_as_dict(suggestion)
        print_json(data)
        return
    if quality is not None:
        _print_quality(quality)
    if suggestion is not None:
        print_suggestion(suggestion)


def _print_quality(quality: AnchorQuality) -> None:
    """Print the tables of best IoU and of positives; say what is left out."""
    from sodkit.cli.common import note
    from sodkit.cli.tables import print_table

    for table in quality.tables():
        print_table(table.title, table.columns, table.rows)
    note(f"left out: {quality.larger} larger than N, {quality.ignored} ignored")
