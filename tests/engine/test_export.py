"""The graph of a detector: compiled, exported, and run by the page beside it as ``predict`` does.

Exporting takes many seconds. What it traces is the code that runs where
``torch.compiler.is_compiling`` is true, so for most kinds that is run as it is.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from kinds import CLASSES, KINDS, Kind, build

from sodkit.config import builtin_names, load_recipe
from sodkit.engine.checkpoint import Checkpoint
from sodkit.engine.export import (
    KINDS as EXPORTED,
)
from sodkit.engine.export import (
    REFUSED,
    _errors_only,
    check_exportable,
    export_checkpoint,
    is_export,
    is_page,
    page_of,
    refusal,
)
from sodkit.engine.predict import predict_images
from sodkit.errors import MissingExtraError, UsageError
from sodkit.models.detector import DetectorModule
from sodkit.models.parts.graph import DetectionGraph

SIZE = (60, 90)
"""Of the images; the input is padded to 64 x 96."""

EXPORTABLE = {name: kind for name, kind in KINDS.items() if refusal(kind.load()) is None}
GLIDING = KINDS["gliding-vertex"]
EXPORTABLE["gliding-edges"] = replace(
    GLIDING, settings=(*GLIDING.settings, "model.roi.box.rectangle=edges")
)


def drawn(kind: Kind, *more: str) -> DetectorModule:
    """Return a detector in evaluation mode all of whose weights matter."""
    detector = build(kind, *more).eval()
    with torch.no_grad():
        for number, parameter in enumerate(detector.parameters()):
            generator = torch.Generator().manual_seed(number)
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.02)
    return detector


def images(count: int = 2) -> torch.Tensor:
    x = torch.randn(count, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    x[:, :, SIZE[0] :], x[..., SIZE[1] :] = 0, 0
    return x


def loaded(kind: Kind, *more: str) -> Checkpoint:
    more = ("input.patch=64", "input.stride=40", "keep.score=0.001", "keep.max_per_patch=30", *more)
    recipe = kind.load(*more)
    return Checkpoint(drawn(kind, *more), recipe, CLASSES)


def module(path: Path) -> ModuleType:
    """Return the written page as a module, loaded from where it was written to."""
    spec = importlib.util.spec_from_file_location("page", path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


class Session:
    """Stands in for ONNX Runtime's session: the same graph and metadata, run by PyTorch."""

    def __init__(self, graph: torch.nn.Module, shape: tuple[int, ...], about: dict[str, str]):
        self.graph, self.shape, self.custom_metadata_map = graph, shape, about

    def get_modelmeta(self) -> Session:
        return self

    def get_inputs(self) -> list[Session]:
        return [self]

    def run(self, names: list[str], given: dict[str, np.ndarray]) -> list[np.ndarray]:
        assert names == ["boxes", "scores", "labels"]
        with mock.patch("torch.compiler.is_compiling", return_value=True), torch.no_grad():
            return [one.numpy() for one in self.graph(torch.from_numpy(given["images"]))]


def check_page(detector: Any, checkpoint: Checkpoint) -> None:
    """Compare what the page finds with what ``predict`` does, on an image of six windows."""
    rgb = np.random.default_rng(0).integers(0, 256, (70, 130, 3), np.uint8)
    boxes, scores, labels = detector.detect(rgb)
    want = predict_images(checkpoint.detector, checkpoint.recipe, [rgb])
    assert len(boxes) == len(want) > 10
    np.testing.assert_allclose(scores, want.scores, atol=1e-5)
    wanted = want.xyxy if want.obb is None else want.obb[:, :4]
    found = np.column_stack([boxes[:, :4], labels])
    # the order of scores that differ in their last bits only is free
    apart = np.abs(np.column_stack([wanted, want.labels])[:, None] - found).max(2)
    apart[np.abs(want.scores[:, None] - scores) > 1e-5] = np.inf
    assert apart.min(1).max() < 1e-2
    assert apart.min(0).max() < 1e-2


@pytest.mark.parametrize("kind", EXPORTABLE.values(), ids=EXPORTABLE)
def test_the_page_finds_what_predict_finds(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = pytest.importorskip("sodkit.engine.onnx_page", exc_type=ImportError)
    checkpoint = loaded(kind)
    with mock.patch("sodkit.engine.export.export_onnx") as write:
        export_checkpoint(checkpoint, tmp_path / "a.onnx", batch=2)
    graph, _, example, about = write.call_args.args
    session = Session(graph, tuple(example.shape), about)
    monkeypatch.setattr("onnxruntime.InferenceSession", lambda *_, **__: session)
    check_page(page.Detector(tmp_path / "a.onnx"), checkpoint)


@pytest.mark.parametrize("name", ["cfinet", "rotated-retinanet"])
def test_the_files_find_what_predict_finds(name: str, tmp_path: Path) -> None:
    """By ONNX Runtime, and by the page as it was written."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    checkpoint, graph = loaded(KINDS[name]), tmp_path / f"{name}.onnx"
    done = export_checkpoint(checkpoint, graph)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{name}.onnx", f"{name}.py"]
    assert (done.graph, done.page) == (graph, page_of(graph))
    assert is_export(graph)
    assert is_page(done.page)
    text = done.page.read_text("utf-8")
    assert f"python {name}.py IMAGE" in text
    assert not re.search(r"(import|from) sodkit", text)
    check_page(module(done.page).Detector(graph), checkpoint)


def test_torch_compile_takes_the_whole_graph() -> None:
    """``fullgraph``: no part of it falls back to Python."""
    graph, x = DetectionGraph(drawn(KINDS["yolox"], "model.depth=0.1"), SIZE, 100).eval(), images()
    with torch.no_grad():
        want = graph(x)
        found = torch.compile(graph, fullgraph=True, backend="eager")(x)
    for a, b in zip(found, want, strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=0)


def test_metadata(tmp_path: Path) -> None:
    """What the page needs stands in the file; export itself is left out here."""
    checkpoint = loaded(KINDS["sparse-rcnn"], "merge.nms=0.4")
    with (
        mock.patch("sodkit.engine.export.export_onnx") as write,
        mock.patch("sodkit.engine.export.find_spec"),
    ):
        export_checkpoint(checkpoint, tmp_path / "a.onnx", width=128, height=64)
    assert [path.name for path in tmp_path.iterdir()] == ["a.py"]
    about = {name: json.loads(text) for name, text in write.call_args.args[3].items()}
    assert tuple(write.call_args.args[2].shape) == (1, 3, 64, 128)
    assert about["classes"] == ["car", "person"]
    # 64 px at 1.5 are 42 2/3 px of the image, and the windows overlap by 24 px as the recipe's do
    assert (about["window"], about["stride"]) == ([85, 42], [61, 18])
    assert about["keep"] == {"score": 0.001, "nms": None, "max_per_patch": 30}
    assert about["merge_nms"] == 0.4
    assert about["mean"] == list(checkpoint.recipe.input.mean)


def test_sizes_that_the_network_cannot_take(tmp_path: Path) -> None:
    checkpoint = loaded(KINDS["faster-rcnn"])
    with pytest.raises(UsageError, match="100 x 96"):
        export_checkpoint(checkpoint, tmp_path / "x.onnx", height=100, width=96)
    with pytest.raises(UsageError, match="0 images"):
        export_checkpoint(checkpoint, tmp_path / "x.onnx", batch=0)
    assert list(tmp_path.iterdir()) == []


def test_the_exporter_does_not_warn_of_its_own_parts(caplog: pytest.LogCaptureFixture) -> None:
    inner = logging.getLogger("onnx_ir.passes")
    with _errors_only("onnx_ir"):
        inner.warning("kept twice")
        inner.error("broken")
    inner.warning("as before")
    assert caplog.messages == ["broken", "as before"]


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match="onnx"):
        export_checkpoint(loaded(KINDS["yolox"]), tmp_path / "x.onnx")


def test_every_kind_is_exported_or_refused_with_the_reason() -> None:
    kinds = {load_recipe(name).model.kind for name in builtin_names()}
    assert set(EXPORTED).isdisjoint(REFUSED)
    assert {*EXPORTED, *REFUSED} == {*kinds, "outside"}
    with pytest.raises(UsageError, match=r"cornernet-.* cannot be exported: .*soft NMS"):
        check_exportable(load_recipe("cornernet-hourglass-soda-d"))
