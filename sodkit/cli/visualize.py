"""``sodkit visualize``: draws ground truth and predictions on images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sodkit.cli.options import (
    Angle,
    Ann,
    Area,
    BitDepth,
    CategoryIds,
    Classes,
    Difficult,
    Format,
    Images,
    Json,
    Oriented,
    Overwrite,
    PredictionsAngle,
    Scores,
    SkipBad,
    Subset,
)

if TYPE_CHECKING:
    from sodkit.data.left_out import LeftOut
    from sodkit.data.opening import Source
    from sodkit.data.records import Annotations, Detections


Predictions = Annotated[
    list[Path] | None,
    typer.Option(help="Predictions to draw, too; given twice: on the left and on the right."),
]
IgnoreChoice = Annotated[
    Literal["mask", "outline", "hide"],
    typer.Option(help="What is ignored: masked, outlined or hidden."),
]
LabelChoice = Annotated[
    Literal["none", "class", "score", "both"], typer.Option(help="What stands beside boxes.")
]
Compare = Annotated[
    bool, typer.Option("--compare", help="Closed boxes: found; dashed: false; corners: missed.")
]
OnlyChoice = Annotated[
    Literal["missed", "false"] | None,
    typer.Option(help="Of a comparison these boxes only, and images that have some."),
]
Html = Annotated[
    bool, typer.Option("--html", help="One page for a browser, OUT/viewer.html, not pictures.")
]
SheetOf = Annotated[
    str | None,
    typer.Option("--sheet", help="One picture of this class's smallest objects, OUT/sheet.png."),
]
HtmlSize = Annotated[
    int | None,
    typer.Option(min=64, help="Longest side of the page's images in px; 4096 unless given."),
]


def visualize(
    ann: Ann,
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")],
    images: Images = None,
    predictions: Predictions = None,
    score: Annotated[float, typer.Option(min=0, max=1, help="Least score drawn.")] = 0.3,
    scores: Scores = None,
    ignore: IgnoreChoice = "mask",
    zoom: Annotated[int, typer.Option(min=0, help="Zoom-ins of so many smallest objects.")] = 0,
    labels: LabelChoice = "none",
    compare: Compare = False,
    only: OnlyChoice = None,
    min_area: Annotated[float, typer.Option(min=0, help="Least area drawn, px^2.")] = 0.0,
    max_area: Annotated[float | None, typer.Option(min=0, help="Largest area drawn, px^2.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first images.")] = None,
    html: Html = False,
    html_size: HtmlSize = None,
    sheet: SheetOf = None,
    format_: Format = None,
    difficult: Difficult = None,
    area: Area = None,
    angle: Angle = None,
    predictions_angle: PredictionsAngle = None,
    category_ids: CategoryIds = None,
    oriented: Oriented = False,
    bit_depth: BitDepth = None,
    skip_bad: SkipBad = False,
    subset: Subset = None,
    classes: Classes = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Draw boxes coloured by class, ignored parts masked, as in the paper's Figure 5.

    With predictions, these are closed boxes, and ground truth is the corners around them.
    --compare matches both at an IoU of .5. --html: in a browser, to zoom and choose.

    Example: sodkit visualize test.json --images images --predictions pred.json --out pictures
    """
    from sodkit.cli.common import list_left_out, note, print_json, progress
    from sodkit.cli.tables import print_table
    from sodkit.data.formats import Reading
    from sodkit.data.left_out import LeftOut
    from sodkit.data.opening import Source
    from sodkit.errors import UsageError
    from sodkit.viz.content import Style

    _check_together(html, html_size, sheet, compare, predictions or ())
    if scores is not None and not predictions:
        raise UsageError("--scores is about predictions, and there are none", hint="--predictions")
    left = LeftOut(bad=skip_bad, bit_depth=bit_depth)
    reading = Reading(difficult, area, angle, oriented)
    source = Source(ann, format_, images, subset, reading, classes)
    stated = (predictions_angle, category_ids)
    annotations, folder, found = _read(source, left, predictions or (), stated, (scores, score))
    score = score if scores is None else 0.0  # what is too low is gone
    areas = (min_area, float("inf") if max_area is None else max_area)
    style = Style(score, ignore, zoom, labels, only, areas)
    with progress("drawing") as report:
        write = _pictures(compare, found[1] if len(found) == 2 else None)
        if html:
            write = _page(html_size, ann.name)
        elif sheet is not None:
            write = _sheet(sheet)
        written = write(
            annotations, folder, out, detections=found[0] if found else None, style=style,
            limit=limit, overwrite=overwrite, bit_depth=bit_depth, progress=report,
        )  # fmt: skip
    list_left_out(left, out)
    if not written.count and only is not None:
        note(f"no image has a box that is {only}: nothing is drawn")
    if as_json:
        print_json(written.data)
    else:
        print_table("", written.head, [written.row])


@dataclass(frozen=True)
class _Written:
    """What a way of drawing wrote: for ``--json``, as a row of a table, and how much of it."""

    data: dict[str, Any]
    head: tuple[str, ...]
    row: tuple[object, ...]
    count: int


def _check_together(
    html: bool, html_size: int | None, sheet: str | None, compare: bool, predictions: Sequence[Path]
) -> None:
    """Raise UsageError for options that do not go together."""
    from sodkit.errors import UsageError

    if html and sheet is not None:
        raise UsageError("--html and --sheet are two outputs", hint="give one, then the other")
    if html_size is not None and not html:
        raise UsageError("--html-size is of the page that --html writes", hint="add --html")
    if len(predictions) > (1 if html or sheet is not None else 2):
        raise UsageError(
            f"{len(predictions)} files of predictions are too many",
            hint="two are drawn side by side, --html and --sheet show one",
        )
    if compare and not predictions:
        raise UsageError("a comparison needs predictions", hint="--predictions says which")


def _pictures(compare: bool, beside: Detections | None) -> Callable[..., _Written]:
    """Return what draws a picture an image."""
    from sodkit.viz.dataset_pictures import visualize as draw

    def write(annotations: Annotations, folder: Path, out: Path, **more: Any) -> _Written:
        paths = draw(annotations, folder, out, compare=compare, beside=beside, **more)
        data = {"pictures": [str(path) for path in paths]}
        return _Written(data, ("folder", "pictures"), (out, len(paths)), len(paths))

    return write


def _page(longest: int | None, title: str) -> Callable[..., _Written]:
    """Return what writes the viewer."""
    from sodkit.viz.viewer import LONGEST, write_viewer

    def write(annotations: Annotations, folder: Path, out: Path, **more: Any) -> _Written:
        longest_ = longest or LONGEST
        page = write_viewer(annotations, folder, out, longest=longest_, title=title, **more)
        data = {"viewer": str(page.path), "images": page.images}
        return _Written(data, ("page", "images"), (page.path, page.images), page.images)

    return write


def _sheet(name: str) -> Callable[..., _Written]:
    """Return what draws the contact sheet of a class."""
    from sodkit.viz.contact_sheet import write_sheet

    def write(annotations: Annotations, folder: Path, out: Path, **more: Any) -> _Written:
        sheet = write_sheet(annotations, folder, out, name=name, **more)
        data = {"sheet": str(sheet.path), "shown": sheet.shown, "boxes": sheet.total}
        row = (sheet.path, sheet.shown, sheet.total)
        return _Written(data, ("sheet", "shown", "boxes"), row, sheet.shown)

    return write


def _read(
    source: Source,
    left: LeftOut,
    predictions: Sequence[Path],
    stated: tuple[PredictionsAngle, CategoryIds],
    least: tuple[Path | None, float],
) -> tuple[Annotations, Path, list[Detections]]:
    """Return annotations, their images' folder, and each file's predictions.

    Args:
        source: of the annotations.
        left: collects what is left out.
        predictions: their files.
        stated: what the options say of the predictions' angles and class numbers.
        least: file of the least score of each class (None: all predictions), and the score of
            classes that it does not name.
    """
    from sodkit.cli.common import note
    from sodkit.data.class_scores import read_class_scores
    from sodkit.data.opening import of_one_subset, open_source
    from sodkit.data.predictions.columns import Stated
    from sodkit.data.predictions.storage import read_predicted
    from sodkit.data.restriction import chosen_labels, only_labels, only_scores

    source, classes = of_one_subset(source, note), source.classes
    annotations = open_source(source, left, note, all_classes=True)
    found = [
        read_predicted(
            path, annotations, drop_other_classes=classes is not None,
            stated=Stated(*stated), say=note,
        ).detections
        for path in predictions
    ]  # fmt: skip
    if least[0] is not None:
        names = [category.name for category in annotations.categories]
        scores = read_class_scores(least[0], names, least[1], note)
        found = [only_scores(one, scores) for one in found]
    if classes is not None:
        count = len(annotations.categories)
        labels = chosen_labels(classes, annotations.categories, str(source.path), note)
        found = [only_labels(one, labels, count) for one in found]
        annotations = only_labels(annotations, labels, count)
    folder = source.folder(annotations)
    return left.readable(annotations, folder), folder, found
