"""The graph before NMS: compiled, exported, and run by ONNX Runtime with the same numbers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from sodkit.config import builtin_names, load_recipe
from sodkit.data.batches import Batch
from sodkit.engine.build import without_weights
from sodkit.engine.export import KINDS, export_onnx, input_side, is_export
from sodkit.errors import MissingExtraError, UsageError
from sodkit.models import zoo
from sodkit.models.detector import DetectorModule, Exportable
from sodkit.settings import Keep

SMALL = (
    "model.backbone.name=resnet18",
    "model.backbone.weights=null",
    "model.fpn.channels=16",
    "model.roi.hidden=16",
)


def build(recipe: str = "cfinet-r50-soda-d") -> DetectorModule:
    torch.manual_seed(0)
    return zoo.build(load_recipe(recipe, SMALL).model, 3).eval()


def images(batch: int = 1) -> torch.Tensor:
    return torch.randn(batch, 3, 64, 96, generator=torch.Generator().manual_seed(1))


PROPOSERS = ["cfinet-r50-soda-d", "faster-rcnn-r50-soda-d", "rfla-r50-soda-d", "ga-rpn-r50-soda-d"]


@pytest.mark.parametrize("recipe", PROPOSERS)
def test_the_graph_gives_what_the_detector_proposes(recipe: str) -> None:
    model, x = build(recipe), images(2)
    with torch.no_grad():
        boxes, scores = model.graph()(x)
        rpn = getattr(model, "crpn", None) or model.rpn
        batch = Batch(x, ((64, 96),) * 2, ((1.0, 1.0),) * 2)
        output = rpn(model.fpn(model.backbone(x)), batch)
        for number, proposals in enumerate(rpn.select(output, batch, 50)):
            distance = (proposals.boxes[:, None] - boxes[number]).abs().amax(2).amin(1)
            assert distance.max() < 1e-4
            assert torch.isclose(proposals.scores[0], scores[number].max())


def yolox() -> DetectorModule:
    torch.manual_seed(0)
    small = ("model.width=0.125", "model.depth=0.1")
    return zoo.build(load_recipe("yolox-s-soda-d", small).model, 3).eval()


def test_the_graph_of_yolox_gives_what_it_detects() -> None:
    model, x = yolox(), images(2)
    with torch.no_grad():
        boxes, scores = model.graph()(x)
        batch = Batch(x, ((64, 96),) * 2, ((1.0, 1.0),) * 2)
        found = model.detect(batch, Keep(score=0, nms=1.0, max_per_patch=1000))
    assert scores.shape == (2, 12 * 8 + 6 * 4 + 3 * 2, 3)
    for number, one in enumerate(found):
        kept = (boxes[number, :, 2:] > boxes[number, :, :2]).all(1)
        best, labels = scores[number][kept].max(1)
        order = best.argsort(descending=True, stable=True)
        torch.testing.assert_close(one.scores, best[order])
        torch.testing.assert_close(one.boxes.sum(), boxes[number][kept].sum())
        assert torch.equal(one.labels.bincount(), labels.bincount())


def one_stage(name: str) -> DetectorModule:
    torch.manual_seed(0)
    recipe = load_recipe(
        f"{name}-r50-soda-d", (*SMALL[:2], "model.channels=64", "model.pre=100000")
    )
    return zoo.build(recipe.model, 3).eval()


@pytest.mark.parametrize("name", ["retinanet", "fcos"])
def test_the_graph_of_a_one_stage_detector_gives_what_it_detects(name: str) -> None:
    """Without suppression every pair of box and class is a detection."""
    model, x = one_stage(name), images(2)
    with torch.no_grad():
        boxes, scores = model.graph()(x)
        batch = Batch(x, ((64, 96),) * 2, ((1.0, 1.0),) * 2)
        found = model.detect(batch, Keep(score=0, nms=1.0, max_per_patch=10**5))
    for number, one in enumerate(found):
        assert len(one.scores) == scores[number].numel()
        for label in range(3):
            mine = one.labels == label
            torch.testing.assert_close(
                one.scores[mine].sort()[0], scores[number, :, label].sort()[0]
            )
            want = (boxes[number] * scores[number, :, label, None]).double().sum(0)
            sums = (one.boxes[mine] * one.scores[mine, None]).double().sum(0)
            torch.testing.assert_close(sums, want)


@pytest.mark.parametrize("name", ["retinanet", "fcos"])
def test_onnx_of_a_one_stage_detector(name: str, tmp_path: Path) -> None:
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package)
    runtime = pytest.importorskip("onnxruntime")
    model, x = one_stage(name), images()
    export_onnx(model, tmp_path / "graph.onnx", height=64, width=96)
    session = runtime.InferenceSession(
        str(tmp_path / "graph.onnx"), providers=["CPUExecutionProvider"]
    )
    found = session.run(["boxes", "scores"], {"images": x.numpy()})
    with torch.no_grad():
        want = model.graph()(x)
    for a, b in zip(found, want, strict=True):
        torch.testing.assert_close(torch.as_tensor(a), b, atol=1e-3, rtol=0)


@pytest.mark.parametrize("recipe", [PROPOSERS[0], PROPOSERS[-1]])
def test_torch_compile_takes_the_whole_graph(recipe: str) -> None:
    """``fullgraph``: no part of it falls back to Python."""
    graph, x = build(recipe).graph(), images(2)
    with torch.no_grad():
        want = graph(x)
        found = torch.compile(graph, fullgraph=True, backend="eager")(x)
    for a, b in zip(found, want, strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=0)


def test_torch_export() -> None:
    graph, x = build().graph(), images()
    with torch.no_grad():
        want = graph(x)
        found = torch.export.export(graph, (x,)).module()(x)
    for a, b in zip(found, want, strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=0)


@pytest.mark.parametrize("recipe", [PROPOSERS[0], PROPOSERS[-1]])
def test_onnx(recipe: str, tmp_path: Path) -> None:
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package)
    runtime = pytest.importorskip("onnxruntime")
    model, x = build(recipe), images()
    export_onnx(model, tmp_path / "cfinet.onnx", height=64, width=96)
    assert [p.name for p in tmp_path.iterdir()] == ["cfinet.onnx"]
    assert is_export(tmp_path / "cfinet.onnx")
    session = runtime.InferenceSession(
        str(tmp_path / "cfinet.onnx"), providers=["CPUExecutionProvider"]
    )
    found = session.run(["boxes", "scores"], {"images": x.numpy()})
    with torch.no_grad():
        want = model.graph()(x)
    for a, b in zip(found, want, strict=True):
        torch.testing.assert_close(torch.as_tensor(a), b, atol=1e-3, rtol=0)


def test_sizes_that_the_network_cannot_take(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="100 x 96"):
        export_onnx(build(), tmp_path / "x.onnx", height=100, width=96)


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match="onnx"):
        export_onnx(build(), tmp_path / "x.onnx", height=64, width=96)


def test_oriented_proposals_are_refused(tmp_path: Path) -> None:
    recipe = load_recipe("oriented-rcnn-r50-soda-a", SMALL)
    detector = zoo.build(recipe.model, 3).eval()
    with pytest.raises(UsageError, match="has no graph"):
        export_onnx(detector, tmp_path / "graph.onnx", height=64, width=64)


def test_every_kind_is_listed_that_has_a_graph() -> None:
    models = {m.kind: without_weights(m) for m in (load_recipe(n).model for n in builtin_names())}
    with torch.device("meta"):
        built = {kind: zoo.build(model, 2) for kind, model in models.items()}
    assert {kind for kind, one in built.items() if isinstance(one, Exportable)} == set(KINDS)


def test_a_window_becomes_an_input_padded_as_in_prediction() -> None:
    assert input_side(load_recipe("cfinet-r50-soda-d")) == 1216
    assert input_side(load_recipe("cfinet-r18-demo", ["input.patch=33", "input.scale=1.0"])) == 64
