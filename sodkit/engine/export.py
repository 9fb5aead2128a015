"""A detector's graph as an ONNX file, for runtimes without PyTorch."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path

import torch

from sodkit.errors import MissingExtraError, SodkitError, UsageError
from sodkit.files import atomic_path
from sodkit.models.detector import DetectorModule, Exportable

_MULTIPLE = 32


def export_onnx(
    detector: DetectorModule, out: Path, *, height: int, width: int, batch: int = 1
) -> None:
    """Write everything before the first NMS as ONNX (``Exportable.graph``).

    Input ``images`` (batch, 3, height, width) float32, normalised RGB; outputs ``boxes``
    (batch, A, 4) xyxy in px of the input and ``scores`` (batch, A). The file fixes the sizes.

    Args:
        detector: in evaluation mode, on the CPU, in float32.
        out: the ``.onnx`` file.
        height: of the input in px, a multiple of 32.
        width: likewise.
        batch: images at a time.

    Raises:
        UsageError: sizes that are no multiples of 32, or a detector without a graph.
        MissingExtraError: the extra ``onnx`` is not installed.
        SodkitError: the exporter failed.
    """
    if min(height, width, batch) < 1 or height % _MULTIPLE or width % _MULTIPLE:
        raise UsageError(
            f"{height} x {width} px, {batch} images",
            hint=f"height and width are multiples of {_MULTIPLE}, batch is at least 1",
        )
    if not isinstance(detector, Exportable):
        raise UsageError(f"{type(detector).__name__} has no graph that can be exported", where=out)
    for package in ("onnx", "onnxscript"):
        if find_spec(package) is None:
            raise MissingExtraError(package, "onnx")
    images = torch.zeros(batch, 3, height, width)
    graph = detector.eval().graph().eval()
    try:
        with warnings.catch_warnings(), torch.no_grad():
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
    with atomic_path(out) as temporary:
        program.save(temporary)
