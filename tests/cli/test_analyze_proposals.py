"""``sodkit analyze-proposals`` as a user types it: figures of predict and eval, tables, files."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from pipeline import run

from sodkit.analysis.object_states import SIZES, STATES


@pytest.fixture(scope="module")
def epochs(trained: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's folder again, as if it had kept an epoch."""
    folder = tmp_path_factory.mktemp("runs") / "<b>[red]运行"
    shutil.copytree(trained[1], folder)
    last = folder / "checkpoints" / "last.safetensors"
    shutil.copy(last, last.with_name("epoch-0010.safetensors"))
    return folder


def test_the_figures_are_those_of_predict_and_eval(
    trained: tuple[Path, Path], tmp_path: Path
) -> None:
    data, folder = trained
    last = folder / "checkpoints" / "last.safetensors"
    code, stdout, err = run(
        "analyze-proposals", last, data, "--proposals", 100, "--json",
        "--device", "cpu",
    )  # fmt: skip
    assert code == 0, err
    result = json.loads(stdout)
    assert (result["schema_version"], result["limit"], result["images"]) == (1, 100, 3)
    (one,) = result["checkpoints"]
    assert (one["name"], one["epoch"]) == ("last", None)
    out = tmp_path / "found.json"
    predicted = run("predict", last, data, "--out", out, "--proposals", 100)
    assert predicted[0] == 0, predicted[2]
    code, stdout, err = run("eval", data, out, "--proposals", "--json")
    assert code == 0, err
    metrics, measured = one["proposals"]["metrics"], json.loads(stdout)["metrics"]
    assert metrics == {name: measured[name] for name in metrics}
    assert {"AR@100", "AR_eS@100", "good_N@100"} < set(metrics)
    states = one["objects"]
    assert tuple(states) == SIZES
    assert states["eS"]["objects"] == states["all"]["objects"] == 6
    assert list(states["all"]["states"]) == list(STATES)
    assert sum(states["eS"]["states"].values()) == pytest.approx(1)
    assert states["N"]["states"]["found"] is None


def test_the_epochs_of_a_run_are_shown(
    trained: tuple[Path, Path], epochs: Path, tmp_path: Path
) -> None:
    code, stdout, err = run("analyze-proposals", epochs, trained[0], "--out", tmp_path / "out")
    assert code == 0, err
    assert "What becomes of the objects: <b>[red]运行 epoch 10" in stdout
    assert "AR_gS" in stdout
    with (tmp_path / "out" / "proposals.csv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["checkpoint"], row["epoch"]) == ("<b>[red]运行 epoch 10", "10")
    assert {path.name for path in (tmp_path / "out").glob("[!.]*")} == {
        f"{name}.{form}" for name in ("objects", "proposals") for form in ("csv", "png", "svg")
    }


def test_checkpoints_have_names_that_differ(trained: tuple[Path, Path], epochs: Path) -> None:
    from sodkit.cli.analyze_proposals import _names

    last = epochs / "checkpoints" / "last.safetensors"
    other = trained[1] / "checkpoints" / "last.safetensors"
    assert _names([last, other]) == ["<b>[red]运行/last", "run/last"]
    assert _names([trained[1], other.with_name("best.safetensors")]) == ["run", "best"]
    code, _, err = run("analyze-proposals", last, str(last), trained[0])
    assert code == 2
    assert "given twice" in err


def test_other_classes_boxes_and_files_are_refused(
    trained: tuple[Path, Path], tmp_path: Path
) -> None:
    data, folder = trained
    content = json.loads(data.read_text())

    def refused(code: int, said: str, checkpoint: Path = folder, **changes: object) -> None:
        ann = tmp_path / "data.json"
        ann.write_text(json.dumps(content | changes))
        out = tmp_path / "out"
        found, _, err = run("analyze-proposals", checkpoint, ann, "--images", data.parent,
                            "--out", out)  # fmt: skip
        assert (found, said in err) == (code, True), err
        assert not out.exists() or not list(out.glob("[!.]*"))

    refused(3, "not trained on: tank", categories=[{"id": 4, "name": "tank"}])
    refused(3, "no objects to analyse", annotations=[])
    refused(3, "images cannot be found", images=[content["images"][0] | {"file_name": "x.png"}],
            annotations=content["annotations"][:2])  # fmt: skip
    refused(4, "checkpoint not found", checkpoint=tmp_path / "no.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"no")
    refused(4, "not a safetensors file", checkpoint=tmp_path / "bad.safetensors")
    refused(4, "no checkpoint in this folder", checkpoint=tmp_path)
