"""Released weights as a user brings them: file -> checkpoint -> predictions on an image file."""

from __future__ import annotations

import importlib
import json
import pickle
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from sodkit.cli.main import make_app
from sodkit.config import dump_recipe, load_recipe
from sodkit.data.batches import Batch, PatchDetections
from sodkit.data.samples import transforms
from sodkit.engine.checkpoint import load_checkpoint
from sodkit.engine.weights_import import SODA_A, SODA_D
from sodkit.models.cfinet import Cfinet
from sodkit.models.parts.box_iou import paired_iou
from sodkit.settings import Keep

NAMES = ("people", "rider", "bicycle", "motor", "vehicle", "sign", "light", "camera", "cone")


sys.path.append(str(Path(__file__).parents[1] / "models"))
golden = importlib.import_module("model_golden")
system_golden = importlib.import_module("system_golden")


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(make_app(), [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def save(path: Path, state: dict[str, Any], **meta: Any) -> Path:
    """Save as mmdetection does: meta, weights and the optimiser's state."""
    meta |= {"epoch": 12, "iter": 7, "hook_msgs": {"best_score": np.float64(0.307)}}
    optimizer = {"state": {0: {"momentum_buffer": torch.zeros(2)}}, "param_groups": []}
    torch.save({"meta": meta, "state_dict": state, "optimizer": optimizer}, path)
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden weights, imported."""
    folder = tmp_path_factory.mktemp("released")
    file = save(folder / "epoch_12.pth", golden.weights("keys_r18"), CLASSES=NAMES)
    out = folder / "cfinet.safetensors"
    code, stdout, err = run("import-weights", file, "--out", out, "--json")
    assert code == 0, err
    report = json.loads(stdout)
    assert report["recipe"] == "cfinet-r50-soda-d-release"
    assert report["sizes"]["backbone.name"] == "resnet18"
    assert report["classes"] == {str(k): name for k, name in enumerate(NAMES, 1)}
    assert report["tensors"] == 168
    return out


def test_the_checkpoint_is_complete(checkpoint: Path) -> None:
    loaded = load_checkpoint(checkpoint, torch.device("cpu"))
    assert [c.name for c in loaded.categories] == list(NAMES)
    assert loaded.recipe.model.imitation.reweight
    want = golden.detector().state_dict()
    have = loaded.detector.state_dict()
    assert have.keys() == want.keys()
    assert all(torch.equal(have[key], want[key]) for key in want)


def predict(checkpoint: Path, image: Path, out: Path, *more: object) -> list[dict[str, Any]]:
    code, _, err = run("predict", checkpoint, image, "--out", out, "--device", "cpu", *more)
    assert code == 0, err
    found: list[dict[str, Any]] = json.loads(out.read_text())
    return found


def rows(found: list[dict[str, Any]], category: int) -> np.ndarray:
    """Return (N, 5) xyxy and score of one class, best first."""
    of_class = [d for d in found if d["category_id"] == category]
    table = np.array([[*d["bbox"], d["score"]] for d in of_class]).reshape(-1, 5)
    table[:, 2:4] += table[:, :2]
    return table[np.argsort(-table[:, 4], kind="stable")]


def test_predict_gives_the_releases_detections(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The golden input is noise that no uint8 image holds, so it enters after normalisation.

    Everything else is the program's: reading, cutting, resizing (1.5 reversed by a patch of whole
    pixels is impossible at 256, so the factor is 1 here and the golden boxes times 1.5), padding,
    the detector, limits, merging, ids and the file.
    """
    image = tmp_path / "noise.png"
    cv2.imwrite(str(image), np.zeros((256, 256, 3), np.uint8))
    pixels, detect = golden.batch_a().images[:1], Cfinet.detect

    def on_noise(self: Cfinet, batch: Batch, keep: Keep) -> list[PatchDetections]:
        assert batch.images.shape == pixels.shape
        return detect(self, replace(batch, images=pixels), keep)

    monkeypatch.setattr(Cfinet, "detect", on_noise)
    monkeypatch.setattr(transforms, "resize", lambda image, factor: (image, (1.0, 1.0)))
    found = predict(checkpoint, image, tmp_path / "found.json", "--no-split")
    want = golden.load("eval_r18_a")
    assert len(found) == sum(len(want[f"det_img0_cls{k}"]) for k in range(9)) == 100
    for label in range(9):
        expected = want[f"det_img0_cls{label}"].astype(np.float64)
        expected[:, :4] *= golden.SCALE
        np.testing.assert_allclose(rows(found, label + 1), expected, atol=2e-3, rtol=0)


def test_pixels_reach_the_detector_as_in_the_release(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BGR file -> resized by 1.5 -> RGB, mean, std -> zeros right and bottom to a multiple of 32.

    Reckoned here with OpenCV alone: windows of 800 px at a stride of 650, the image
    (830 x 700) padded with black below.
    """
    rng = np.random.default_rng(0)
    bgr = cv2.resize(rng.integers(0, 255, (70, 83, 3)).astype(np.uint8), (830, 700))
    cv2.imwrite(str(tmp_path / "scene.png"), bgr)
    seen = []

    def spy(self: Cfinet, batch: Any, keep: Any) -> Any:
        seen.append(batch)
        empty = torch.zeros(0)
        return [PatchDetections(empty.reshape(0, 4), empty, empty.long()) for _ in batch.sizes]

    monkeypatch.setattr(Cfinet, "detect", spy)
    predict(checkpoint, tmp_path / "scene.png", tmp_path / "found.json")
    (batch,) = seen
    assert batch.images.shape == (2, 3, 1216, 1216)
    assert batch.sizes == ((1200, 1200),) * 2
    assert batch.scales == ((1.5, 1.5),) * 2
    for number, start in enumerate((0, 30)):
        patch = np.zeros((800, 800, 3), np.uint8)
        patch[:700] = bgr[:, start : start + 800]
        large = cv2.resize(patch, (1200, 1200), interpolation=cv2.INTER_LINEAR)
        rgb = large[..., ::-1].astype(np.float32)
        want = (rgb - [123.675, 116.28, 103.53]) / [58.395, 57.12, 57.375]
        have = batch.images[number].numpy()
        np.testing.assert_allclose(have[:, :1200, :1200], want.transpose(2, 0, 1), atol=1e-5)
        assert not have[:, 1200:].any()
        assert not have[:, :, 1200:].any()


def test_the_whole_way_on_an_image_file(checkpoint: Path, tmp_path: Path) -> None:
    """Two windows of one image: what the detector finds in each, moved, suppressed per class."""
    rng = np.random.default_rng(1)
    bgr = cv2.resize(rng.integers(0, 255, (20, 30, 3)).astype(np.uint8), (192, 128))
    cv2.imwrite(str(tmp_path / "scene.png"), bgr)
    found = predict(
        checkpoint, tmp_path / "scene.png", tmp_path / "f.json", "--size", 128, "--stride", 64
    )
    model = golden.detector().eval()
    boxes, scores, labels = [], [], []
    for start in (0, 64):
        large = cv2.resize(bgr[:, start : start + 128], (192, 192)).astype(np.float32)
        part = (large[..., ::-1] - [123.675, 116.28, 103.53]) / [58.395, 57.12, 57.375]
        pixels = torch.as_tensor(part.transpose(2, 0, 1)[None], dtype=torch.float32)
        batch = golden.Batch(pixels, ((192, 192),), ((1.5, 1.5),))
        (one,) = model.detect(batch, Keep())
        assert len(one.boxes) <= 100
        boxes.append(one.boxes + torch.tensor([start, 0.0, start, 0.0]))
        scores.append(one.scores)
        labels.append(one.labels)
    box, score, label = torch.cat(boxes), torch.cat(scores), torch.cat(labels)
    for number in range(9):
        rest = torch.nonzero(label == number)[:, 0]
        rest = rest[score[rest].argsort(descending=True)]
        want = []
        while len(rest):
            best, rest = rest[0], rest[1:]
            want.append([*box[best].tolist(), score[best].item()])
            iou = paired_iou(box[rest], box[best].expand(len(rest), 4))
            rest = rest[iou <= 0.5]
        have = rows(found, number + 1)
        np.testing.assert_allclose(have, np.array(want).reshape(-1, 5), atol=2e-3)


def test_soda_d_is_assumed_aloud(tmp_path: Path) -> None:
    file = save(tmp_path / "x.pth", golden.weights("keys_r18"))
    code, out, err = run("import-weights", file, "--out", tmp_path / "x.safetensors")
    assert code == 0
    assert "SODA-D's nine are assumed" in err
    assert ", ".join(SODA_D[:3]) in out


@pytest.mark.parametrize("named", [False, True])
def test_soda_a_is_assumed_of_oriented_detectors(tmp_path: Path, named: bool) -> None:
    file = save(tmp_path / "x.pth", system_golden.weights("oriented-rcnn"))
    (tmp_path / "names.txt").write_text("".join(f"class {k}\n" for k in range(9)))
    words = ["--classes", tmp_path / "names.txt"] if named else []
    code, out, err = run("import-weights", file, "--out", tmp_path / "x.safetensors", *words)
    assert code == 0
    assert ("SODA-A's nine are assumed" in err) != named
    assert ("class 0, class 1" if named else "airplane, helicopter, small-vehicle") in out


def cut(state: dict[str, Any], classes: int) -> dict[str, Any]:
    """Return the state dict of a model with fewer classes."""
    rows_ = {"cls": classes + 1, "reg": 4 * classes}
    head = "roi_head.bbox_head.fc_"
    return {
        k: v[: rows_[k.removeprefix(head)[:3]]].clone() if k.startswith(head) else v
        for k, v in state.items()
    }


def faster_rcnn() -> dict[str, Any]:
    """Return a state of mmdetection's Faster R-CNN whose RPN finds every third anchor, shifted."""
    parts = ("rpn_head", "roi_head.fc_", "roi_head.comp")
    state = {k: v for k, v in golden.weights("keys_r18").items() if not k.startswith(parts)}
    for name, rows_ in (("conv", 256), ("cls", 3), ("reg", 12)):
        size = 3 if name == "conv" else 1
        state[f"rpn_head.rpn_{name}.weight"] = torch.zeros(rows_, 256, size, size)
        state[f"rpn_head.rpn_{name}.bias"] = torch.zeros(rows_)
    state["rpn_head.rpn_cls.bias"][2] = 4.0
    state["rpn_head.rpn_reg.bias"][8:] = torch.tensor([0.5, 0.25, 0.0, 0.1])
    return state


def test_mmdetections_faster_rcnn(tmp_path: Path) -> None:
    """Its anchors: height / width .5, 1, 2 at each place; four deltas an anchor, one after other.

    The third of 8 px is 8 / sqrt(2) wide and 8 sqrt(2) high, about the place's upper left corner.
    """
    out = tmp_path / "faster.safetensors"
    file = save(tmp_path / "epoch_12.pth", faster_rcnn(), CLASSES=NAMES)
    code, stdout, err = run("import-weights", file, "--out", out, "--json")
    assert code == 0, err
    assert json.loads(stdout)["recipe"] == "faster-rcnn-r50-soda-d"
    detector = load_checkpoint(out, torch.device("cpu")).detector
    batch = golden.Batch(torch.zeros(1, 3, 64, 64), ((64, 64),), ((1.0, 1.0),))
    (found,) = detector.propose(batch, 1000)
    boxes = found.boxes[found.scores > 0.9].double().numpy()
    width, height = 8 / 2**0.5, 8 * 2**0.5
    centre = np.array([32 + 0.5 * width, 32 + 0.25 * height])
    half = np.array([width, height * np.exp(0.1)]) / 2
    want = np.concatenate([centre - half, centre + half])
    assert np.abs(boxes - want).max(axis=1).min() < 1e-4
    image = tmp_path / "scene.png"
    cv2.imwrite(str(image), np.random.default_rng(0).integers(0, 255, (60, 70, 3)).astype(np.uint8))
    predict(out, image, tmp_path / "found.json")


def test_other_classes_need_names(tmp_path: Path) -> None:
    file = save(tmp_path / "x.pth", cut(golden.weights("keys_r18"), 3))
    out = tmp_path / "x.safetensors"
    code, _, err = run("import-weights", file, "--out", out)
    assert code == 2
    assert "--classes" in err
    code, _, err = run("import-weights", file, "--out", out, "--classes", "car,bus")
    assert code == 2
    assert "3 classes" in err
    assert not out.exists()
    code, stdout, _ = run("import-weights", file, "--out", out, "--classes", "car, bus,van")
    assert code == 0
    assert "car, bus, van" in stdout
    again = ("import-weights", file, "--classes", "car,bus,tram", "--out")
    code, _, err = run(*again, out)
    assert code == 2
    assert "--overwrite to replace it" in err
    code, stdout, _ = run(*again, out, "--overwrite")
    assert code == 0
    assert "car, bus, tram" in stdout
    code, _, err = run(*again, tmp_path / "x.pth", "--overwrite")
    assert code == 2
    assert "ends in .safetensors" in err
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    code, _, err = run(*again, tmp_path / "other.safetensors", "--overwrite")
    assert code == 2
    assert "is no checkpoint of sodkit" in err


@pytest.mark.parametrize(
    ("change", "messages"),
    [
        (lambda s: s.pop("neck.fpn_convs.2.conv.bias"), ["missing: neck.fpn_convs.2.conv.bias"]),
        (lambda s: s.update(ema=torch.zeros(1)), ["not expected: ema"]),
        (
            lambda s: s.update({"roi_head.fc_proj.bias": torch.zeros(64)}),
            ["wrong shape: roi_head.fc_proj.bias (64,) instead of (128,)"],
        ),
        (
            lambda s: (s.pop("backbone.bn1.bias"), s.update(ema=torch.zeros(1))),
            ["missing: backbone.bn1.bias", "not expected: ema"],
        ),
        (lambda s: s.pop("roi_head.bbox_head.fc_cls.bias"), ["none of the detectors that are"]),
    ],
)
def test_what_does_not_fit_is_named(change: Any, messages: list[str], tmp_path: Path) -> None:
    state = dict(golden.weights("keys_r18"))
    change(state)
    file = save(tmp_path / "odd.pth", state, CLASSES=NAMES)
    code, _, err = run("import-weights", file, "--out", tmp_path / "x.safetensors")
    assert code == 4
    assert "odd.pth" in err
    assert all(message in err for message in messages)
    assert [p.name for p in tmp_path.iterdir()] == ["odd.pth"]


class _Evil:
    """What a hostile checkpoint would hold."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("evil"),)


@pytest.mark.parametrize(
    "kind", ["absent", "text", "empty", "list", "evil", "cut", "old", "folder"]
)
def test_files_that_are_no_checkpoints(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "x.pth"
    if kind == "text":
        file.write_text("weights")
    elif kind == "empty":
        file.write_bytes(b"")
    elif kind == "list":
        torch.save([torch.zeros(1)], file)
    elif kind == "evil":
        torch.save({"state_dict": {"a": _Evil()}}, file, pickle_module=pickle)
    elif kind == "cut":
        torch.save({"state_dict": {"a": torch.zeros(1000)}}, file)
        file.write_bytes(file.read_bytes()[:-700])
    elif kind == "old":  # torch's first format, cut within its header
        state = {"state_dict": {"a": torch.zeros(9)}}
        torch.save(state, file, _use_new_zipfile_serialization=False)
        file.write_bytes(file.read_bytes()[:18])
    elif kind == "folder":
        file.mkdir()
    code, _, err = run("import-weights", file, "--out", tmp_path / "out.safetensors")
    assert code == 4, err
    assert "x.pth" in err
    assert not (tmp_path / "evil").exists()
    assert not (tmp_path / "out.safetensors").exists()


def test_weights_of_two_recipes(tmp_path: Path) -> None:
    """RFLA changes no tensor of Faster R-CNN: a note names it, --recipe decides."""
    system = importlib.import_module("system_golden")
    file = save(tmp_path / "rfla.pth", system.weights("rfla"), CLASSES=NAMES)
    out = tmp_path / "a.safetensors"
    code, stdout, err = run("import-weights", file, "--out", out, "--json")
    assert code == 0, err
    report = json.loads(stdout)
    assert (report["recipe"], report["also"]) == ("faster-rcnn-r50-soda-d", ["rfla-r50-soda-d"])
    assert "also those of rfla-r50-soda-d" in " ".join(err.split())
    recipe = dump_recipe(load_recipe("rfla-r50-soda-d", ["model.backbone.name=resnet18"]))
    own = tmp_path / "own.yaml"
    own.write_text(recipe)
    out = tmp_path / "b.safetensors"
    code, stdout, err = run("import-weights", file, "--out", out, "--recipe", own, "--json")
    assert code == 0, err
    assert json.loads(stdout)["also"] == []
    assert "also those" not in err
    loaded = load_checkpoint(out, torch.device("cpu"))
    assert loaded.recipe.model.proposals.kind == "rfla"


def test_oriented_weights_from_file_to_prediction(tmp_path: Path) -> None:
    """mmrotate's Rotated RetinaNet without class names: SODA-A's, numbered as there, from 0."""
    file = save(tmp_path / "r.pth", system_golden.weights("rotated-retinanet"))
    out = tmp_path / "r.safetensors"
    code, stdout, err = run("import-weights", file, "--out", out, "--json")
    assert code == 0, err
    assert "SODA-A's nine are assumed" in err
    report = json.loads(stdout)
    assert report["recipe"] == "rotated-retinanet-r50-soda-a"
    assert report["classes"] == {str(k): name for k, name in enumerate(SODA_A)}
    noise = np.random.default_rng(0).integers(0, 255, (60, 70, 3)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "noise.png"), noise)
    found = predict(out, tmp_path / "noise.png", tmp_path / "found.json", "--score", 0.001)
    assert found
    assert all(len(one["obb"]) == 5 for one in found)
    assert {one["category_id"] for one in found} <= set(range(9))


def test_the_recipe_decides_between_two_that_have_the_same_names(tmp_path: Path) -> None:
    """Rotated and Oriented RepPoints differ in their training only."""
    file = save(tmp_path / "r.pth", system_golden.weights("rotated-reppoints"))
    named = {"also": ["oriented-reppoints-r50-soda-a"], "recipe": "rotated-reppoints-r50-soda-a"}
    for number, (more, want) in enumerate((
        ((), named),
        (("--recipe", named["also"][0]), {"also": [], "recipe": named["also"][0]}),
    )):  # fmt: skip
        out = tmp_path / f"{number}.safetensors"
        code, stdout, err = run("import-weights", file, "--out", out, "--json", *more)
        assert code == 0, err
        report = json.loads(stdout)
        assert {key: report[key] for key in want} == want
        model = load_checkpoint(out, torch.device("cpu")).recipe.model
        assert (model.matching.transposed, model.outside) == (True, "keep")


def test_a_recipe_that_detects_otherwise_than_the_weights_were_trained_to(tmp_path: Path) -> None:
    """The recipe that was asked for decides; what it changes is said, unless that was asked for."""
    file = save(tmp_path / "r.pth", system_golden.weights("rotated-reppoints"), CLASSES=NAMES)
    name = "rotated-reppoints-r50-soda-a"
    for number, (more, other) in enumerate((
        ((), {}),
        ((f"--recipe={name}",), {"model.outside": "keep", "model.matching.transposed": "true"}),
        ((f"--recipe={name}", "--set=model.outside=drop"), {"model.matching.transposed": "true"}),
    )):  # fmt: skip
        shape = ("--set=model.backbone.name=resnet18",)
        out = tmp_path / f"{number}.safetensors"
        code, stdout, err = run("import-weights", file, "--out", out, "--json", *shape, *more)
        assert code == 0, err
        told = dict(setting.split("=") for setting in json.loads(stdout)["other"])
        assert told == other
        assert all(
            f"--set {setting}={value}" in " ".join(err.split()) for setting, value in told.items()
        )


@pytest.mark.parametrize("convention", ["oc", "le135"])
def test_oriented_rcnn_of_another_angle_convention(tmp_path: Path, convention: str) -> None:
    recipe = f"angle_version = '{convention}'\nmodel = dict(type='OrientedRCNN')"
    file = save(tmp_path / "o.pth", system_golden.weights("oriented-rcnn"), config=recipe)
    code, _, err = run("import-weights", file, "--out", tmp_path / "o.safetensors")
    assert code != 0
    assert f"angles of {convention}" in err
    assert not (tmp_path / "o.safetensors").exists()
