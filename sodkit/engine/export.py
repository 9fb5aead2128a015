"""A detector as an ONNX file, and a page of Python beside it that detects with it."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn

from sodkit.engine.checkpoint import Checkpoint
from sodkit.engine.export_frame import Frame, frame
from sodkit.engine.failures import explained
from sodkit.errors import MissingExtraError, SodkitError, UsageError
from sodkit.files import StrPath, atomic_path, write_text
from sodkit.models.detector import Exportable
from sodkit.models.parts.graph import DetectionGraph
from sodkit.outputs import check_file
from sodkit.settings import Recipe

KINDS = (
    "atss", "centernet", "cfinet", "deformable-detr", "dhrec", "dyhead", "faster-rcnn", "fcos",
    "oriented-rcnn", "oriented-reppoints", "reppoints", "retinanet", "roi-transformer",
    "rotated-reppoints", "rotated-retinanet", "s2anet", "sparse-rcnn", "yolox",
)  # fmt: skip
"""The kinds of detector that can be exported."""

REFUSED = {
    "cornernet": "its soft NMS goes box after box, which a graph would repeat for every detection",
    "dodet": "its graph is so long that ONNX Runtime has not been compared with predict",
    "outside": "it is made by a factory outside of sodkit, which knows how",
}
"""The kinds that cannot, and why."""

_PRODUCER = "sodkit"
_PAGE = Path(__file__).with_name("onnx_page.py")
_PAGE_MARK = "Written by `sodkit export`"


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        graph: the ONNX file.
        page: the Python file that detects with it.
        frame: the sizes.
    """

    graph: Path
    page: Path
    frame: Frame


def page_of(graph: Path) -> Path:
    """Return where the Python file of an ONNX file lies."""
    return graph.with_suffix(".py")


def refusal(recipe: Recipe) -> str | None:
    """Return why a recipe's detector cannot be exported, None: it can."""
    return REFUSED.get(recipe.model.kind)


def check_exportable(recipe: Recipe) -> None:
    """Raise UsageError if the recipe's detector cannot be exported."""
    if (why := refusal(recipe)) is not None:
        raise UsageError(
            f"{recipe.name}, a detector of kind {recipe.model.kind}, cannot be exported: {why}",
            hint=f"kinds that can: {', '.join(KINDS)}",
        )


def export_checkpoint(
    checkpoint: Checkpoint,
    out: StrPath,
    *,
    height: int | None = None,
    width: int | None = None,
    batch: int = 1,
) -> Exported:
    """Write a checkpoint's detector as ONNX, and a page of Python beside it, on the CPU.

    The file has all but the NMS of a class's detections: input ``images`` (batch, 3, height,
    width), outputs ``boxes``, ``scores`` and ``labels`` as of ``DetectionGraph``. Its metadata hold
    what the page needs besides (docs/export.md). The page is the source of ``onnx_page.py``.

    Args:
        checkpoint: loaded on the CPU.
        out: the ``.onnx`` file; the page has its name with ``.py``.
        height: of the input in px, a multiple of 32; None: that of the recipe's windows.
        width: likewise.
        batch: images at a time.

    Raises:
        UsageError: a kind of detector or sizes that cannot be exported.
        MissingExtraError: the extra ``onnx`` is not installed.
        SodkitError: the exporter failed, or the memory is full.
    """
    out, recipe = Path(out), checkpoint.recipe
    check_exportable(recipe)
    if batch < 1:
        raise UsageError(f"{batch} images at a time", hint="batch is at least 1")
    sizes = frame(recipe, width, height)
    for package in ("onnx", "onnxscript"):
        if find_spec(package) is None:
            raise MissingExtraError(package, "onnx")
    detector = checkpoint.detector.eval()
    assert isinstance(detector, Exportable)  # as all of ``KINDS``
    graph = DetectionGraph(detector, sizes.content[::-1], recipe.keep.max_per_patch)
    classes = [category.name for category in checkpoint.categories]
    about = notes(recipe, sizes, classes, suppresses=checkpoint.detector.suppresses)
    width, height = sizes.padded
    export_onnx(graph.eval(), out, torch.zeros(batch, 3, height, width), about)
    write_text(page_of(out), _PAGE.read_text("utf-8").replace("THIS_FILE", page_of(out).name))
    return Exported(out, page_of(out), sizes)


def notes(recipe: Recipe, sizes: Frame, classes: list[str], *, suppresses: bool) -> dict[str, str]:
    """Return the metadata of the ONNX file: JSON by name.

    Args:
        recipe: what is done with images and detections.
        sizes: of the graph.
        classes: names, by label.
        suppresses: boxes of a window suppress each other.
    """
    keep = recipe.keep
    content = {
        "classes": classes,
        "boxes": recipe.boxes,
        "window": sizes.window,
        "stride": sizes.stride,
        **{name: getattr(recipe.input, name) for name in ("scale", "fill", "mean", "std")},
        "keep": {
            "score": keep.score,
            "nms": keep.nms if suppresses else None,
            "max_per_patch": keep.max_per_patch,
        },
        "merge_nms": recipe.merge.nms,
    }
    return {name: json.dumps(value, ensure_ascii=False) for name, value in content.items()}


def export_onnx(graph: nn.Module, out: Path, images: torch.Tensor, about: dict[str, str]) -> None:
    """Write a graph as ONNX.

    Args:
        graph: from images to boxes, scores and labels; in evaluation mode, on the CPU, in float32.
        out: the ``.onnx`` file.
        images: some input: the file fixes its shape.
        about: strings to keep in the file, by name.

    Raises:
        SodkitError: the exporter failed, or the memory is full.
    """
    try:
        with (
            explained("give a smaller height, width or batch"),
            warnings.catch_warnings(),
            redirect_stdout(sys.stderr),  # onnxscript 0.5 prints there how it optimised
            _errors_only("onnx_ir"),  # which warns of constants that it keeps twice
            torch.no_grad(),
        ):
            warnings.simplefilter("ignore")  # of the exporter about its own parts
            program = torch.onnx.export(
                graph,
                (images,),
                dynamo=True,
                verbose=False,
                input_names=["images"],
                output_names=["boxes", "scores", "labels"],
            )
    except torch.onnx.OnnxExporterError as error:
        raise SodkitError(f"the ONNX exporter failed: {error}", where=out) from error
    assert program is not None
    program.model.producer_name = _PRODUCER
    program.model.metadata_props.update(about)
    with atomic_path(out) as temporary:
        program.save(temporary)


@contextmanager
def _errors_only(name: str) -> Iterator[None]:
    """Silence the warnings of a logger."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def check_export_path(out: Path, *, overwrite: bool) -> None:
    """Raise unless a graph and its page may be written: before the detector is loaded.

    Raises:
        UsageError: the name does not end in .onnx, or a file exists and may not be replaced.
    """
    if out.suffix != ".onnx":
        raise UsageError("is no name for a graph: it ends in .onnx", where=out)
    check_file(out, overwrite=overwrite, is_own=is_export, what="graph that sodkit exported")
    check_file(page_of(out), overwrite=overwrite, is_own=is_page, what="page that sodkit exported")


def is_export(path: Path) -> bool:
    """Return whether a file is a graph that sodkit has written: its head names who produced it."""
    with path.open("rb") as file:
        return _PRODUCER.encode() in file.read(64)


def is_page(path: Path) -> bool:
    """Return whether a file is a page that sodkit has written beside a graph."""
    with path.open("rb") as file:
        return _PAGE_MARK.encode() in file.read(256)
