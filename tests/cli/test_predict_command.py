"""``sodkit predict`` as a user types it, on a tiny data set."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from holding import holding
from pipeline import coco, run
from typer.testing import CliRunner

from sodkit.cli.main import make_app
from sodkit.cli.predict import frames_command
from sodkit.data.images.decoding import read_image, write_image
from sodkit.models.cfinet import Cfinet
from sodkit.outputs import MARK


def test_predict_then_eval(trained: tuple[Path, Path], tmp_path: Path) -> None:
    data, folder = trained
    out = tmp_path / "found.json"
    checkpoint = folder / "checkpoints" / "last.safetensors"
    code, stdout, err = run("predict", checkpoint, data, "--out", out, "--score", 0, "--json")
    assert code == 0, err
    found = json.loads(out.read_text())
    assert json.loads(stdout)["detections"] == len(found) > 0
    assert {d["category_id"] for d in found} == {4}
    assert {d["image_id"] for d in found} <= {1, 2, 3}
    code, stdout, err = run("eval", data, out, "--json")
    assert code == 0, err
    metrics = json.loads(stdout)["metrics"]
    assert set(metrics) == {
        "AP", "AP50", "AP75", "AP_eS", "AP_rS", "AP_gS", "AP_N",
        "AR@100", "AR@300", "AR@1000", "AR_eS", "AR_rS", "AR_gS", "AR_N",
    }  # fmt: skip
    assert metrics["AP_N"] is None


def test_least_score_of_each_class(trained: tuple[Path, Path], tmp_path: Path) -> None:
    data, folder = trained
    every, some, scores = (tmp_path / name for name in ("every.json", "some.json", "scores.json"))
    call = ("predict", folder, data, "--score", 0, "--no-split", "--out")
    assert run(*call, every)[0] == 0
    found = json.loads(every.read_text())
    middle = sorted(one["score"] for one in found)[len(found) // 2]
    scores.write_text(json.dumps({"scores": {"square": middle}}))
    code, _, err = run(*call, some, "--scores", scores)
    assert code == 0, err
    assert json.loads(some.read_text()) == [one for one in found if one["score"] >= middle]
    scores.write_text(json.dumps({"scores": {"squares": 0.5}}))
    code, _, err = run(*call, some, "--scores", scores, "--overwrite")
    assert code == 3
    assert "is 'square' meant?" in err
    code, _, err = run(*call, tmp_path / "p.json", "--scores", scores, "--proposals", 9)
    assert code == 2
    assert "--scores is by class" in err
    scores.write_text(json.dumps({"scores": {"square": 0.1}}))
    low = ("predict", folder, data, "--no-split", "--score", 0.2, "--scores", scores, "--out")
    code, _, err = run(*low, tmp_path / "low.json")
    assert code == 0, err
    assert "what scores below 0.2 is not there" in err


def test_predict_on_files_counts_images_from_one(
    trained: tuple[Path, Path], tmp_path: Path
) -> None:
    data, folder = trained
    checkpoint = folder / "checkpoints" / "last.safetensors"
    out = tmp_path / "found.json"
    files = (data.parent / "2.png", data.parent / "1.png")
    code, _, err = run("predict", checkpoint, *files, "--out", out, "--score", 0, "--no-split")
    assert code == 0, err
    assert {d["image_id"] for d in json.loads(out.read_text())} == {1, 2}


def test_predict_takes_a_runs_folder(trained: tuple[Path, Path], tmp_path: Path) -> None:
    data, folder = trained
    out = tmp_path / "found.json"
    code, _, err = run("predict", folder, data, "--out", out, "--score", 0)
    assert code == 0, err
    assert f"checkpoint: {folder / 'checkpoints' / 'best.safetensors'}" in err
    code, _, err = run("predict", tmp_path, data, "--out", tmp_path / "new.json")
    assert code == 4
    assert "there is no checkpoint in this folder" in err


def test_predict_replaces_predictions_only_if_asked_for(
    trained: tuple[Path, Path], tmp_path: Path
) -> None:
    data, folder = trained
    image, out = data.parent / "1.png", tmp_path / "found.json"
    ids = tmp_path / "found.images.json"
    call = ("predict", folder, image, "--out", out, "--score", 0, "--no-split")
    assert run(*call)[0] == 0
    assert ids.exists()
    code, _, err = run(*call)
    assert code == 2
    assert "--overwrite" in err
    out.unlink()
    assert run(*call)[0] == 2  # its image ids are there
    assert run(*call, "--overwrite")[0] == 0
    code, _, err = run("predict", folder, ids, "--images", data.parent, *call[3:], "--overwrite")
    assert code == 0, err
    assert ids.exists()  # it was read
    code, _, err = run("predict", folder, data, *call[3:], "--overwrite")
    assert code == 0, err
    names = [image["file_name"] for image in json.loads(ids.read_text())["images"]]
    assert names == ["1.png", "2.png", "3.png"]  # those of the annotations now
    code, _, err = run("predict", folder, data, "--out", data, "--overwrite")
    assert code == 2
    assert "is no file of predictions" in err
    with holding(tmp_path / "x.npz", "lock_file") as process:
        code, _, err = run("predict", folder, data, "--out", tmp_path / "x.npz")
        assert code == 2
        assert f"process {process.pid} on" in err


@pytest.mark.parametrize("name", ["found.csv", "found.geojson", "found", "found.JSON"])
def test_predict_refuses_other_endings_before_any_work(tmp_path: Path, name: str) -> None:
    code, _, err = run("predict", tmp_path / "no", tmp_path / "no", "--out", tmp_path / "n" / name)
    assert code == 2
    assert ".json (JSON), .npz" in err
    assert list(tmp_path.iterdir()) == []


def test_predict_with_subfolders(trained: tuple[Path, Path], tmp_path: Path) -> None:
    data, folder = trained
    photos = tmp_path / "photos"
    for place in ("1.png", "a/2.png", "a/b/3.png", "pictures/1.png", ".cache/1.png"):
        (photos / place).parent.mkdir(parents=True, exist_ok=True)
        (photos / place).write_bytes((data.parent / Path(place).name).read_bytes())
    (photos / "pictures" / MARK).write_text("")
    call = ("predict", folder, photos, "--score", 0, "--no-split", "--json", "--out")
    code, stdout, err = run(*call, tmp_path / "a.json")
    assert (code, json.loads(stdout)["images"]) == (0, 1)
    assert f"there are images in {photos / 'a'} and 1 more: --recursive takes them" in err
    code, stdout, err = run(*call, tmp_path / "b.json", "--recursive")
    assert (code, json.loads(stdout)["images"]) == (0, 3)
    assert f"{photos / 'pictures'} is left out" in err
    names = [
        image["file_name"]
        for image in json.loads((tmp_path / "b.images.json").read_text())["images"]
    ]
    assert names == ["1.png", "a/2.png", "a/b/3.png"]


@pytest.mark.parametrize("name", ["found.json", "test.json", "annotations.json"])
def test_predictions_beside_the_images_are_not_read_as_annotations(
    trained: tuple[Path, Path], tmp_path: Path, name: str
) -> None:
    data, folder = trained
    for number in (1, 2):
        (tmp_path / f"{number}.png").write_bytes((data.parent / f"{number}.png").read_bytes())
    call = ("predict", folder, tmp_path, "--score", 0, "--no-split", "--json", "--out")
    for _ in range(2):
        code, stdout, err = run(*call, tmp_path / name, "--overwrite")
        assert code == 0, err
        assert json.loads(stdout)["images"] == 2
    for command in ("split", "visualize"):
        code, _, err = run(command, tmp_path, "--out", tmp_path / "out")
        assert code == 3
        assert "no annotations of a known format" in err
    code, _, err = run("eval", tmp_path, tmp_path / name)
    assert code == 3
    assert "no annotations of a known format" in err
    names = (tmp_path / name).with_suffix(".images.json")
    assert (
        run("visualize", names, "--out", tmp_path / "out", "--predictions", tmp_path / name)[0] == 0
    )


def test_predict_for_other_classes(trained: tuple[Path, Path], tmp_path: Path) -> None:
    other = coco(tmp_path, categories=[{"id": 4, "name": "circle"}])
    checkpoint = trained[1] / "checkpoints" / "last.safetensors"
    code, _, err = run("predict", checkpoint, other, "--out", tmp_path / "x.json")
    assert code == 4
    assert "circle" in err
    assert "square" in err
    assert not (tmp_path / "x.json").exists()


def test_predict_without_a_checkpoint(tmp_path: Path) -> None:
    code, _, err = run(
        "predict", tmp_path / "no.safetensors", tmp_path, "--out", tmp_path / "x.json"
    )
    assert code == 4
    assert "checkpoint not found" in err


def test_predict_on_a_broken_image_leaves_nothing(
    trained: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    checkpoint = trained[1] / "checkpoints" / "last.safetensors"
    code, _, err = run("predict", checkpoint, tmp_path / "bad.png", "--out", tmp_path / "x.json")
    assert code == 3
    assert "bad.png" in err
    assert [p.name for p in tmp_path.iterdir()] == ["bad.png"]


def test_predictions_of_a_folder_are_joined_by_name(
    trained: tuple[Path, Path], tmp_path: Path
) -> None:
    """Past a broken image, to annotations that number the images in another way."""
    data, folder = trained
    photos, out = tmp_path / "photos", tmp_path / "found.json"
    photos.mkdir()
    for number in (1, 2, 3):
        (photos / f"{number}.png").write_bytes((data.parent / f"{number}.png").read_bytes())
    (photos / "0.png").write_bytes(b"no image")
    call = ("predict", folder, photos, "--out", out, "--score", 0, "--classes", "SQUARE")
    code, _, err = run(*call)
    assert code == 3
    assert "--skip-bad" in err
    code, _, err = run(*call, "--skip-bad")
    assert code == 0, err
    assert "left out: 1" in err
    assert "0.png" in (tmp_path / "found.left_out.csv").read_text()
    content = json.loads(data.read_text())
    for image in content["images"]:
        image["id"] = 4 - image["id"]
    for row in content["annotations"]:
        row["image_id"] = 4 - row["image_id"]
    other = tmp_path / "other.json"
    other.write_text(json.dumps(content))
    aps = []
    for truth in (data, other):
        code, text, err = run("eval", truth, out, "--json")
        assert code == 0, err
        aps.append(json.loads(text)["metrics"])
    assert aps[0] == aps[1]


KILLED_AFTER_TWO_IMAGES = """
import os, signal, sys
import torch
from sodkit.__main__ import main
from sodkit.engine.journal import Journal

def add(journal, found, real=Journal.add):
    real(journal, found)
    if journal.done == 2:
        os.kill(os.getpid(), signal.SIGKILL)

Journal.add = add
sys.argv[0] = "sodkit"
torch.set_num_threads(1)  # as these tests do: numbers depend on it in their last bits
main()
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_predict_goes_on_after_it_was_killed(trained: tuple[Path, Path], tmp_path: Path) -> None:
    """The end of the file that it writes is cut off, too; a broken image is among the others."""
    data, folder = trained
    photos = tmp_path / "photos"
    for name, source in {"a": 1, "c": 2, "d": 3}.items():
        write_image(photos / f"{name}.png", read_image(data.parent / f"{source}.png"))
    (photos / "b.png").write_bytes((photos / "a.png").read_bytes()[:900])

    def call(out: str, *more: str) -> list[str]:
        options = ("--score", "0", "--batch", "3", "--device", "cpu", "--skip-bad")
        return ["predict", str(folder), str(photos), "--out", str(tmp_path / out), *options, *more]

    assert run(*call("whole.json"))[0] == 0
    command = [sys.executable, "-c", KILLED_AFTER_TWO_IMAGES, *call("part.json")]
    assert subprocess.run(command, check=False, capture_output=True).returncode == -signal.SIGKILL
    journal = tmp_path / ".part.json.part"
    journal.write_bytes(journal.read_bytes()[:-5])
    code, _, err = run(*call("part.json", "--nms", "0.3"))
    assert code == 2
    assert "with other options" in err
    code, _, err = run(*call("part.json"))
    assert code == 0, err
    assert "1 of 4 images are done by an earlier run" in err
    assert (tmp_path / "part.json").read_bytes() == (tmp_path / "whole.json").read_bytes()
    left = [(tmp_path / f"{name}.left_out.csv").read_bytes() for name in ("part", "whole")]
    assert left[0] == left[1]
    assert not journal.exists()


def test_predict_keeps_what_is_done_when_an_image_is_broken(
    trained: tuple[Path, Path], tmp_path: Path
) -> None:
    data, folder = trained
    good, bad, out = data.parent / "1.png", tmp_path / "x.png", tmp_path / "found.json"
    bad.write_bytes(good.read_bytes()[:900])
    call = ("predict", folder, good, good, bad, "--out", out, "--device", "cpu", "--batch", 1)
    code, _, err = run(*call)
    assert code == 3
    assert "2 of 3 images are done: the same command goes on" in err
    assert not out.exists()
    code, _, err = run(*call, "--skip-bad")
    assert code == 0, err
    assert "2 of 3 images are done by an earlier run" in err


def test_predict_writes_polygons_on_earth(trained: tuple[Path, Path], tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio", reason="the extra geo is not installed")
    data, folder = trained
    pixels = read_image(data.parent / "1.png")
    height, width = pixels.shape[:2]
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", width=width, height=height, count=3,
        dtype="uint8", crs="EPSG:32632", transform=rasterio.Affine(0.5, 0, 5e5, 0, -0.5, 5.3e6),
    ) as file:  # fmt: skip
        file.write(pixels.transpose(2, 0, 1))
    out, polygons = tmp_path / "found.json", tmp_path / "found.geojson"
    options = ("--score", 0, "--device", "cpu", "--out", out, "--geojson", polygons)
    code, _, err = run("predict", folder, tmp_path / "a.tif", *options, "--crs", "raster")
    assert code == 0, err
    found = json.loads(out.read_text())
    features = json.loads(polygons.read_text())["features"]
    assert len(features) == len(found) > 0
    for record, feature in zip(found, features, strict=True):
        x, y, w, h = record["bbox"]
        ring = np.array(feature["geometry"]["coordinates"][0])
        low, high = ring.min(axis=0), ring.max(axis=0)
        assert low == pytest.approx([5e5 + x / 2, 5.3e6 - (y + h) / 2], abs=1e-3)
        assert high == pytest.approx([5e5 + (x + w) / 2, 5.3e6 - y / 2], abs=1e-3)
        assert feature["properties"]["score"] == record["score"]
    code, _, err = run("predict", folder, data.parent / "1.png", *options, "--overwrite")
    assert code == 3
    assert "the image has no georeference" in err
    assert json.loads(out.read_text()) == found


def test_the_commands_that_write_frames_can_be_pasted() -> None:
    words = shlex.split(frames_command(Path("my clips/a.mp4")))
    assert words == [
        "mkdir", "-p", "my clips/a", "&&", "ffmpeg", "-i", "my clips/a.mp4",
        "my clips/a/frame_%06d.png",
    ]  # fmt: skip


def test_predict_on_a_video_and_a_list(trained: tuple[Path, Path], tmp_path: Path) -> None:
    """Frames are images, one after the other; the list of paths comes on standard input."""
    data, folder = trained
    pictures = [read_image(data.parent / f"{number}.png", order="bgr") for number in (1, 2, 3)]
    height, width = pictures[0].shape[:2]
    codec = cv2.VideoWriter.fourcc(*"FFV1")  # without loss
    writer = cv2.VideoWriter(str(tmp_path / "clip.mkv"), codec, 10, (width, height))
    for picture in pictures:
        writer.write(picture)
    writer.release()
    options = ("--score", "0", "--device", "cpu", "--batch", "3")
    out, other = tmp_path / "found.json", tmp_path / "other.json"
    code, _, err = run(
        "predict", folder, tmp_path / "clip.mkv", "--every", 2, "--out", out, *options
    )
    assert code == 0, err
    assert "2 of 3 frames are taken" in err
    names = json.loads(out.with_suffix(".images.json").read_text())["images"]
    assert [one["file_name"] for one in names] == [
        "clip/frame_000001.png", "clip/frame_000003.png"
    ]  # fmt: skip
    call = ["predict", str(folder), "-", "--out", str(other), *options]
    text = f"{data.parent / '1.png'}\n{data.parent / '3.png'}\n"
    result = CliRunner().invoke(make_app(), call, input=text)
    assert result.exit_code == 0, result.stderr
    assert json.loads(other.read_text()) == json.loads(out.read_text())


def test_an_option_that_the_detector_does_not_heed_is_said(
    trained: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, folder = trained
    options = ("predict", folder, data, "--nms", "0.4", "--device", "cpu")
    code, _, err = run(*options, "--out", tmp_path / "a.json")
    assert code == 0
    assert "--nms does nothing" not in err
    monkeypatch.setattr(Cfinet, "suppresses", False)
    code, _, err = run(*options, "--out", tmp_path / "b.json")
    assert code == 0
    assert "--nms does nothing with this detector" in err
