"""``sodkit export``: a checkpoint or a run's folder as ONNX, and what it refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from holding import holding
from typer.testing import CliRunner

from sodkit.cli.main import make_app
from sodkit.config import load_recipe
from sodkit.data.records import Category
from sodkit.engine.checkpoint import save_checkpoint
from sodkit.models import zoo

SMALL = (
    "model.backbone.name=resnet18",
    "model.backbone.weights=null",
    "input.patch=60",
    "input.scale=1.0",
)


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(make_app(), ["export", *(str(a) for a in arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def save(path: Path, name: str, *more: str) -> Path:
    recipe = load_recipe(name, (*SMALL, *more))
    save_checkpoint(path, zoo.build(recipe.model, 2), recipe, (Category(1, "a"), Category(2, "b")))
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "checkpoints").mkdir()
    recipe = load_recipe(
        "yolox-s-soda-d",
        ["model.width=0.125", "model.depth=0.1", "input.patch=60", "merge.method=wbf"],
    )
    torch.manual_seed(0)
    classes = (Category(1, "a"), Category(2, "b"))
    path = folder / "checkpoints/best.safetensors"
    save_checkpoint(path, zoo.build(recipe.model, 2), recipe, classes)
    return folder


def test_a_run_becomes_a_graph_that_only_overwrite_replaces(trained: Path, tmp_path: Path) -> None:
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package)
    runtime = pytest.importorskip("onnxruntime")
    out = tmp_path / "graph.onnx"
    out.write_bytes(b"\x08\x0a\x12\x06sodkit of an earlier call")
    page = tmp_path / "graph.py"
    page.write_text("print('mine')")
    code, _, err = run(trained, "--out", out, "--overwrite")
    assert code == 2
    assert "graph.py: exists and is no page that sodkit exported" in err
    page.unlink()
    code, stdout, err = run(trained, "--out", out)
    assert (code, stdout) == (2, "")
    assert "--overwrite" in err
    options = ("--overwrite", "--width", 64, "--batch", 2, "--json")
    code, stdout, err = run(trained, "--out", out, *options)
    assert code == 0, err
    data = json.loads(stdout)
    assert (data["kind"], data["images"]) == ("yolox", [2, 3, 96, 64])
    assert data["page"] == str(page)
    assert f"checkpoint: {trained / 'checkpoints' / 'best.safetensors'}" in err
    *_, merging, following = err.splitlines()
    assert merging.endswith("the recipe merges windows by wbf, graph.py does by nms")
    assert f"next: python {page} IMAGE prints class, score and the box's corners" in following
    assert sorted(path.name for path in tmp_path.iterdir()) == ["graph.onnx", "graph.py"]
    session = runtime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == data["images"]
    assert json.loads(session.get_modelmeta().custom_metadata_map["window"]) == [42, 60]
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == ["a", "b"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--height", 100), "multiples of 32"),
        (("--batch", 0), "--batch"),
        (("--out", "graph.pb"), "ends in .onnx"),
    ],
)
def test_wrong_usage(
    trained: Path, tmp_path: Path, more: tuple[object, ...], message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    code, stdout, err = run(trained, "--out", "graph.onnx", *more)
    assert (code, stdout) == (2, "")
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_others_and_one_that_is_being_written_stay(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine.onnx"
    out.write_bytes(b"mine")
    code, _, err = run(trained, "--out", out, "--overwrite")
    assert code == 2
    assert "is no graph that sodkit exported" in err
    assert out.read_bytes() == b"mine"
    with holding(tmp_path / "new.onnx", "lock_file") as process:
        code, _, err = run(trained, "--out", tmp_path / "new.onnx")
    assert code == 2
    assert f"process {process.pid} on" in err


def test_a_detector_without_a_graph(tmp_path: Path) -> None:
    small = ("model.fpn.channels=16", "model.roi.hidden=16")
    file = save(tmp_path / "oriented.safetensors", "dodet-r50-soda-a", *small)
    code, _, err = run(file, "--out", tmp_path / "graph.onnx")
    assert code == 2
    assert "of kind dodet, cannot be exported: its graph is so long" in err
    assert "kinds that can: atss, centernet, cfinet" in err
    assert "exporting" not in err
    code, _, err = run(tmp_path / "no.safetensors", "--out", tmp_path / "graph.onnx")
    assert code == 4
    assert not (tmp_path / "graph.onnx").exists()


def test_without_the_extra(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    code, _, err = run(trained, "--out", tmp_path / "graph.onnx")
    assert code == 5
    assert "pip install 'sodkit[onnx]'" in err
    assert list(tmp_path.iterdir()) == []
