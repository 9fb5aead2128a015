"""A detector's graph as an ONNX file, for runtimes without PyTorch."""

from __future__ import annotations

import json
import sys
import warnings
from contextlib import redirect_stdout
from importlib.util import find_spec
from pathlib import Path

import torch

from sodkit.engine.checkpoint import Checkpoint
from sodkit.engine.failures import explained
from sodkit.errors import MissingExtraError, SodkitError, UsageError
from sodkit.files import StrPath, atomic_path
from sodkit.models.detector import DetectorModule, Exportable
from sodkit.outputs import check_file
from sodkit.settings import Recipe

KINDS = ("cfinet", "faster-rcnn", "fcos", "retinanet", "yolox")
"""The kinds of detector that are ``Exportable``."""

_MULTIPLE = 32
_PRODUCER = "sodkit"


def input_side(recipe: Recipe) -> int:
    """Return the side in px of the network's input that a window of the recipe becomes."""
    return -(-recipe.input.side // recipe.input.pad_to) * recipe.input.pad_to


def export_checkpoint(
    checkpoint: Checkpoint,
    out: StrPath,
    *,
    height: int | None = None,
    width: int | None = None,
    batch: int = 1,
) -> tuple[int, int]:
    """Write a checkpoint's detector as ``export_onnx`` does, on the CPU.

    The file's metadata hold what an image needs before it goes in, ``scale``, ``mean`` and ``std``
    of the recipe, and ``classes``: the names by label. All as JSON.

    Args:
        checkpoint: loaded on the CPU.
        out: the ``.onnx`` file.
        height: of the input in px, a multiple of 32; None: that of the recipe's windows.
        width: likewise.
        batch: images at a time.

    Returns:
        height and width.

    Raises:
        UsageError, MissingExtraError, SodkitError: as ``export_onnx``.
    """
    out = Path(out)
    recipe = checkpoint.recipe
    size = height or input_side(recipe), width or input_side(recipe)
    notes = {key: json.dumps(getattr(recipe.input, key)) for key in ("scale", "mean", "std")}
    names = [category.name for category in checkpoint.categories]
    notes["classes"] = json.dumps(names, ensure_ascii=False)
    export_onnx(
        checkpoint.detector, out, height=size[0], width=size[1], batch=batch, metadata=notes
    )
    return size


def export_onnx(
    detector: DetectorModule,
    out: Path,
    *,
    height: int,
    width: int,
    batch: int = 1,
    metadata: dict[str, str] | None = None,
) -> None:
    """Write everything before the first NMS as ONNX (``Exportable.graph``).

    Input ``images`` (batch, 3, height, width) float32, normalised RGB; outputs ``boxes``
    (batch, A, 4) xyxy in px of the input and ``scores`` (batch, A), of
    one-stage detectors (batch, A, classes). The file fixes the sizes.

    Args:
        detector: in evaluation mode, on the CPU, in float32.
        out: the ``.onnx`` file.
        height: of the input in px, a multiple of 32.
        width: likewise.
        batch: images at a time.
        metadata: strings to keep in the file, by name.

    Raises:
        UsageError: sizes that are no multiples of 32, or a detector without a graph.
        MissingExtraError: the extra ``onnx`` is not installed.
        SodkitError: the exporter failed, or the memory is full.
    """
    if min(height, width, batch) < 1 or height % _MULTIPLE or width % _MULTIPLE:
        raise UsageError(
            f"{height} x {width} px, {batch} images",
            hint=f"height and width are multiples of {_MULTIPLE}, batch is at least 1",
        )
    if not isinstance(detector, Exportable):
        raise UsageError(
            f"{type(detector).__name__} has no graph that can be exported",
            where=out, hint=f"kinds that have one: {', '.join(KINDS)}",
        )  # fmt: skip
    for package in ("onnx", "onnxscript"):
        if find_spec(package) is None:
            raise MissingExtraError(package, "onnx")
    images = torch.zeros(batch, 3, height, width)
    graph = detector.eval().graph().eval()
    try:
        with (
            explained("give a smaller height, width or batch"),
            warnings.catch_warnings(),
            redirect_stdout(sys.stderr),  # onnxscript 0.5 prints there how it optimised
            torch.no_grad(),
        ):
            warnings.simplefilter("ignore")  # of the exporter about its own parts
            program = torch.onnx.export(
                graph,
                (images,),
                dynamo=True,
                verbose=False,
                input_names=["images"],
                output_names=["boxes", "scores"],
            )
    except torch.onnx.OnnxExporterError as error:
        raise SodkitError(f"the ONNX exporter failed: {error}", where=out) from error
    assert program is not None
    program.model.producer_name = _PRODUCER
    program.model.metadata_props.update(metadata or {})
    with atomic_path(out) as temporary:
        program.save(temporary)


def check_export_path(out: Path, *, overwrite: bool) -> None:
    """Raise unless a graph may be written: before the detector is loaded.

    Raises:
        UsageError: the name does not end in .onnx, or a file exists and may not be replaced.
    """
    if out.suffix != ".onnx":
        raise UsageError("is no name for a graph: it ends in .onnx", where=out)
    check_file(out, overwrite=overwrite, is_own=is_export, what="graph that sodkit exported")


def is_export(path: Path) -> bool:
    """Return whether a file is a graph that sodkit has written: its head names who produced it."""
    with path.open("rb") as file:
        return _PRODUCER.encode() in file.read(64)
