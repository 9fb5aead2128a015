"""``sodkit predict``: detects objects in whole images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import torch

    from sodkit.data.records import Annotations, Detections
    from sodkit.engine.checkpoint import Checkpoint
    from sodkit.engine.predict import PredictOptions

    Asked = tuple[Annotations, Path, bool]


def predict(
    checkpoint: Annotated[
        Path, typer.Argument(help="A checkpoint, or a run's folder: its best one, else the last.")
    ],
    images: Annotated[
        list[Path], typer.Argument(help="Image files, folders of images, or one ANN.")
    ],
    out: Annotated[Path, typer.Option(help="Predictions: .json, .npz, or .zip (DOTA Task 1).")],
    image_folder: Annotated[
        Path | None, typer.Option("--images", help="Where an ANN's file_name starts.")
    ] = None,
    format_: Annotated[
        str | None, typer.Option("--format", help="An ANN's format, if not recognised.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=1, help="Window side (default: recipe's).")
    ] = None,
    stride: Annotated[int | None, typer.Option(min=1, help="Stride (default: recipe's).")] = None,
    no_split: Annotated[bool, typer.Option("--no-split", help="Whole images at once.")] = False,
    score: Annotated[
        float | None, typer.Option(min=0, max=1, help="Least score kept (recipe's: 0.05).")
    ] = None,
    nms: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="NMS IoU inside a patch (recipe's: 0.5, oriented 0.1)."),
    ] = None,
    merge_nms: Annotated[
        float | None, typer.Option(min=0, max=1, help="NMS IoU across patches (recipe's: 0.5).")
    ] = None,
    max_per_patch: Annotated[
        int | None,
        typer.Option(min=1, help="Most detections a patch (recipe's: 100, oriented 2000)."),
    ] = None,
    proposals: Annotated[
        int | None, typer.Option(min=1, help="Class-agnostic proposals a patch instead.")
    ] = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", help="Take the images in subfolders of folders, too.")
    ] = False,
    batch: Annotated[int | None, typer.Option(min=1, help="Windows a batch.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or gpu, cuda:1 or 1, ...")] = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace predictions at OUT.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Cut images into windows, detect, and merge to predictions on whole images.

    Example: sodkit predict runs/cfinet test.json --out pred.json
    """
    from dataclasses import replace

    from sodkit.engine.checkpoint import load_checkpoint
    from sodkit.engine.device import pick_device
    from sodkit.engine.predict import PredictOptions

    with _output(out, images, overwrite):
        target = pick_device(device)
        loaded = load_checkpoint(_chosen(checkpoint), target)
        asked = _targets(images, image_folder, format_, loaded, recursive)
        _check_zip(out, loaded, asked[0], proposals is not None)
        default = PredictOptions.of(loaded.recipe)
        keep = {"nms": nms, "max_per_patch": max_per_patch, "score": score}
        options = replace(
            default,
            size=None if no_split else size or default.size,
            stride=stride or min(default.stride, size or default.stride),
            merge_nms=default.merge_nms if merge_nms is None else merge_nms,
            batch=batch or default.batch,
            keep=default.keep.model_copy(update={k: v for k, v in keep.items() if v is not None}),
            proposals=proposals,
        )  # fmt: skip
        found = _detect(loaded, asked, target, options)
        _write(out, found, asked, images, proposals is not None)
    _print(out, found, asked[0], as_json)


@contextmanager
def _output(out: Path, read: list[Path], overwrite: bool) -> Iterator[None]:
    """Be the only one that writes these predictions; raise if they may not be written."""
    from sodkit.data.predictions.output_path import check_predictions_path
    from sodkit.lock import lock_file

    check_predictions_path(out, overwrite=overwrite, read=read)
    with lock_file(out):
        check_predictions_path(out, overwrite=overwrite, read=read)  # one may have ended since
        yield


def _detect(
    loaded: Checkpoint, asked: Asked, device: torch.device, options: PredictOptions
) -> Detections:
    """Predict on all images, with a bar."""
    from sodkit.cli.common import progress
    from sodkit.engine.failures import explained
    from sodkit.engine.predict import predict_images

    with explained("give a smaller --batch or --size"), progress("predicting") as report:
        return predict_images(
            loaded.detector, loaded.recipe, asked[0].images, asked[1],
            device=device, options=options, progress=report,
            classes=len(loaded.categories),
        )  # fmt: skip


def _chosen(checkpoint: Path) -> Path:
    """Return the checkpoint that a path stands for, and say which one if it is a run's folder."""
    from sodkit.cli.common import note
    from sodkit.engine.run_folder import checkpoint_in

    file = checkpoint_in(checkpoint)
    if file != checkpoint:
        note(f"checkpoint: {file}")
    return file


def _print(out: Path, found: Detections, annotations: Annotations, as_json: bool) -> None:
    """Print how many detections there are of each class."""
    from sodkit.cli.common import print_json, print_table

    if as_json:
        print_json({"out": str(out), "images": len(annotations.images), "detections": len(found)})
        return
    names = [c.name for c in annotations.categories]
    counts = [int((found.labels == k).sum()) for k in range(len(names))]
    rows = [*zip(names, counts, strict=True), ("all", len(found))]
    print_table(f"{out}: {len(annotations.images)} images", ("class", "detections"), rows)


def _check_zip(out: Path, loaded: Checkpoint, annotations: Annotations, proposals: bool) -> None:
    """Raise before predicting what a zip of DOTA's Task 1 could not hold."""
    from sodkit.data.predictions.dota_zip import check_task1
    from sodkit.errors import UsageError

    if out.suffix != ".zip":
        return
    if proposals:
        raise UsageError("proposals have no class: DOTA's format cannot hold them", where=out)
    oriented = loaded.recipe.boxes == "oriented"
    check_task1(out, oriented, annotations.categories, annotations.images)


def _write(out: Path, found: Detections, asked: Asked, read: list[Path], proposals: bool) -> None:
    """Write predictions in the format that the file's name says, and image ids if they are new."""
    from sodkit.data.predictions.dota_zip import write_task1
    from sodkit.data.predictions.output_path import image_ids_file, is_among
    from sodkit.data.predictions.storage import write_predictions

    annotations, folder, named = asked
    if out.suffix == ".zip":
        write_task1(out, found, annotations.categories, annotations.images)
    else:
        write_predictions(out, found, None if proposals else annotations.categories)
    if not named and out.suffix != ".zip":
        _write_names(out, annotations, folder)
    elif not is_among(image_ids_file(out), read):
        image_ids_file(out).unlink(missing_ok=True)  # of earlier predictions, of other images


def _targets(
    paths: list[Path],
    folder: Path | None,
    format_name: str | None,
    loaded: Checkpoint,
    recursive: bool,
) -> Asked:
    """Return what to predict on, its folder, and whether an ANN names it (else plain files do)."""
    from sodkit.cli.common import note
    from sodkit.data.formats import find_images, is_annotations, read_annotations
    from sodkit.data.images.listing import list_images
    from sodkit.engine.training_run import categories_by_name, unannotated

    first = paths[0]
    if len(paths) > 1 or not (format_name or is_annotations(first)):
        records, parent = list_images(paths, recursive=recursive, say=note)
        return unannotated(records, loaded.categories), parent, False
    annotations = read_annotations(first, format=format_name, images=folder)
    classes = categories_by_name(loaded.categories, annotations.categories, str(first))
    folder = folder or find_images(first, annotations)
    return unannotated(annotations.images, classes), folder, True


def _write_names(out: Path, annotations: Annotations, folder: Path) -> None:
    """Write beside the predictions which image has which id, as an ANN without boxes."""
    from sodkit.cli.common import note
    from sodkit.data.formats.coco_write import write
    from sodkit.data.predictions.output_path import image_ids_file

    names = image_ids_file(out)
    write(names, annotations)
    note(f"image ids: {names}; to look: sodkit visualize {names} --images {folder} "
         f"--predictions {out} --out pictures")  # fmt: skip
