import csv
import gzip
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from sodkit.cli.eval_files import run_names
from sodkit.cli.main import make_app
from sodkit.data.images.decoding import write_image
from sodkit.evaluation.protocol import SODA_A, SODA_D

GOLDEN = Path(__file__).parents[1] / "golden" / "eval"


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """Annotations and predictions on disk."""
    with gzip.open(GOLDEN / "d_tiny.json.gz") as stream:
        case = json.load(stream)
    truth, found = tmp_path / "truth.json", tmp_path / "found.json"
    truth.write_text(json.dumps(case["gt"]))
    found.write_text(json.dumps(case["dets"]))
    return str(truth), str(found)


def run(*arguments: str) -> Any:
    return CliRunner().invoke(make_app(), ["eval", *arguments])


def test_json_has_what_was_promised(files: tuple[str, str]) -> None:
    result = run(*files, "--json")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["schema_version"] == 1
    assert data["protocol"] == "soda-d"
    assert list(data["metrics"]) == [metric.name for metric in SODA_D.metrics]
    assert data["metrics"]["AP"] == pytest.approx(0.4496053465806733, abs=1e-12)
    assert data["per_class"]["bicycle"]["AP"] is None
    assert data["counts"]["detections"] == 310
    assert "2 ignored objects" in result.stderr


def test_table(files: tuple[str, str]) -> None:
    result = run(*files)
    assert result.exit_code == 0, result.output
    assert "soda-d: 6 images, 62 objects, 310 detections" in result.stdout
    row = next(line for line in result.stdout.splitlines() if " all " in line)
    assert [cell.strip() for cell in row.split("│")[2:5]] == ["0.450", "0.590", "0.545"]


def test_out_holds_the_same_numbers(files: tuple[str, str], tmp_path: Path) -> None:
    out = tmp_path / "report"
    result = run(*files, "--out", str(out), "--json")
    data = json.loads(result.stdout)
    assert json.loads((out / "metrics.json").read_text()) == data
    rows = list(csv.DictReader((out / "per_class.csv").read_text().splitlines()))
    assert [row["class"] for row in rows] == list(data["per_class"])
    for row in rows:
        for name, value in data["per_class"][row["class"]].items():
            assert row[name] == ("" if value is None else repr(value))
    names = ["metrics.json", "per_class.csv", "report.html", "scores.json"]
    assert sorted(path.name for path in out.glob("[!.]*")) == names
    assert {"errors", "scores", "calibration", "confusion", "intervals"} <= set(data)
    by_class = data["scores"]["per_class"]
    best = {name: one["best"]["score"] for name, one in by_class.items() if one["best"]}
    assert json.loads((out / "scores.json").read_text())["scores"] == best != {}


def test_viewer_of_the_worst_images(tmp_path: Path) -> None:
    truth, found = _data(tmp_path)
    out, images = tmp_path / "report", tmp_path / "photos"
    for image in json.loads(Path(truth).read_text())["images"]:
        write_image(
            images / image["file_name"], np.zeros((image["height"], image["width"], 3), np.uint8)
        )
    options = ("--images", str(images), "--viewer", "--out", str(out), "--classes", "car,van,bus")
    result = run(truth, found, *options)
    assert result.exit_code == 0, result.output
    assert "viewer.html#image=" in (out / "report.html").read_text("utf-8")
    assert (out / "viewer.html").is_file()
    result = run(truth, found, *options[:2], *options[3:], "--overwrite")
    assert result.exit_code == 0, result.output
    assert "viewer.html#image=" not in (out / "report.html").read_text("utf-8")
    assert not (out / "viewer.html").exists()


def test_the_report_finds_the_images_beside_the_annotations(tmp_path: Path) -> None:
    truth, found = _data(tmp_path)
    out, pages = tmp_path / "report", []
    options = ("--overwrite", "--resamples", "0", "--classes", "car,van,bus")
    images = json.loads(Path(truth).read_text())["images"]
    for number, image in enumerate(images):
        shape = (image["height"], image["width"], 3)
        write_image(tmp_path / "images" / image["file_name"], np.zeros(shape, np.uint8))
        result = run(truth, found, "--out", str(out), *options)
        assert result.exit_code == 0, result.output
        pages.append((out / "report.html").read_text("utf-8").count("data:image"))
        assert (pages[-1] > 0) == (number == len(images) - 1)  # all are there, not one alone
    for image in images:
        (tmp_path / "images" / image["file_name"]).write_bytes(b"broken")
    result = run(truth, found, "--out", str(out), *options)
    assert result.exit_code == 0, result.output
    assert "the report shows no images" in result.stderr
    assert "data:image" not in (out / "report.html").read_text("utf-8")
    asked = ("--images", str(tmp_path / "images"), "--out", str(out), *options)
    assert run(truth, found, *asked).exit_code == 3


def test_proposals(files: tuple[str, str], tmp_path: Path) -> None:
    records = json.loads(Path(files[1]).read_text())
    for record in records:
        del record["category_id"]
    found = tmp_path / "proposals.json"
    found.write_text(json.dumps(records))
    result = run(files[0], str(found), "--proposals", "--json")
    assert result.exit_code == 0, result.output
    metrics = json.loads(result.stdout)["metrics"]
    assert 0 < metrics["AR@300"] < 1
    assert metrics["good_eS@1000"] > 0
    result = run(files[0], str(found), "--proposals")
    assert "AR@300" in result.stdout
    result = run(files[0], str(found))
    assert result.exit_code == 3
    assert "--proposals" in result.stderr


def test_protocols_and_kinds_of_box(files: tuple[str, str]) -> None:
    data = json.loads(run(*files, "--protocol", "coco", "--json").stdout)
    assert "AP_small" in data["metrics"]
    data = json.loads(run(*files, "--boxes", "oriented", "--json").stdout)
    assert list(data["metrics"]) == [metric.name for metric in SODA_A.metrics]
    assert data["metrics"]["AP50"] == pytest.approx(0.5896793420838682, abs=1e-9)


def test_a_recipe_gives_ranges_and_limits(files: tuple[str, str], tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    text = "name: mine\nevaluation: {areas: {all: [0, 100000], tiny: [0, 64]}, max_dets: [5, 50]}\n"
    recipe.write_text(text, "utf-8")
    names = ["AP", "AP50", "AP75", "AP_tiny", "AR@5", "AR@50", "AR_tiny"]
    result = json.loads(run(*files, "--recipe", str(recipe), "--json").stdout)
    assert list(result["metrics"]) == names
    assert result["protocol"] == "soda-d (custom)"
    changed = ("--recipe", str(recipe), "--set", "evaluation.max_dets=[7]", "--protocol", "coco")
    result = json.loads(run(*files, *changed, "--json").stdout)
    assert "AR@7" in result["metrics"]
    assert result["protocol"] == "coco (custom)"
    wrong = run(*files, "--set", "evaluation.area=[0, 1]")
    assert wrong.exit_code == 2
    assert "did you mean areas?" in wrong.stderr


def test_several_predictions_stand_side_by_side(files: tuple[str, str], tmp_path: Path) -> None:
    truth, found = files
    half = tmp_path / "half.json"
    half.write_text(json.dumps(json.loads(Path(found).read_text())[::2]))
    data = json.loads(run(truth, found, str(half), "--json", "--resamples", "200").stdout)
    runs = data["runs"]
    assert list(runs) == ["found", "half"]
    assert runs["found"]["metrics"]["AP"] > runs["half"]["metrics"]["AP"]
    entry = data["comparison"]["runs"]["half"]["AP"]
    gain = runs["half"]["metrics"]["AP"] - runs["found"]["metrics"]["AP"]
    assert entry["difference"] == pytest.approx(gain)
    assert entry["difference_low"] <= entry["difference"] <= entry["difference_high"] < 0
    out = tmp_path / "report"
    result = run(truth, found, str(half), "--out", str(out), "--resamples", "50")
    assert result.exit_code == 0
    assert "AP_eS" in result.stdout
    assert "less found" in result.stdout
    assert (out / "report.html").is_file()


def test_one_file_twice(files: tuple[str, str]) -> None:
    result = run(*files, files[1])
    assert result.exit_code == 2
    assert "given twice" in result.stderr


def test_names_grow_until_they_differ() -> None:
    assert run_names([Path("a/x.json"), Path("b/x.json")]) == ["a/x", "b/x"]
    assert run_names([Path("a/x.json"), Path("a/x.npz")]) == ["a/x.json", "a/x.npz"]


def test_absorb_is_passed_on(files: tuple[str, str]) -> None:
    truth = json.loads(Path(files[0]).read_text())
    truth["categories"].append({"id": 10, "name": "ignore"})
    image = truth["images"][0]
    truth["annotations"].append({
        "id": 9999, "image_id": image["id"], "category_id": 10, "area": 1,
        "bbox": [0, 0, image["width"], image["height"]],
    })  # fmt: skip
    Path(files[0]).write_text(json.dumps(truth))
    dropped = json.loads(run(*files, "--json").stdout)
    absorbed = run(*files, "--ignore-regions", "absorb", "--json")
    data = json.loads(absorbed.stdout)
    assert dropped["counts"]["regions"] == 1
    assert data["counts"]["absorbed"] > 0
    assert data["metrics"]["AP"] > dropped["metrics"]["AP"]
    assert "lie in ignore regions" in absorbed.stderr


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"image_id": 5}, 3, "image 5 is not in the annotations"),
        ({"score": -1}, 3, "score is negative"),
        ({"category_id": 77}, 3, "category_id 77 is no class"),
    ],
)
def test_bad_predictions_end_with_a_message(
    files: tuple[str, str], tmp_path: Path, change: dict[str, Any], code: int, message: str
) -> None:
    truth, found = files
    records = json.loads(Path(found).read_text())
    records[3] |= change
    Path(found).write_text(json.dumps(records))
    out = tmp_path / "report"
    result = run(truth, found, "--out", str(out))
    assert result.exit_code == code
    assert message in result.stderr
    assert "$[3]" in result.stderr
    assert result.stdout == ""
    assert not out.exists()


def test_wrong_usage(files: tuple[str, str]) -> None:
    assert run(files[0]).exit_code == 2
    assert run(*files, "--protocol", "voc").exit_code == 2
    assert run(files[0], "absent.json").exit_code == 3
    for wrong in (["--viewer"], ["--viewer", "--out", "x"], ["--viewer", "--images", "x"]):
        result = run(*files, *wrong)
        assert result.exit_code == 2
        assert "add --images and --out" in result.stderr
    result = run(*files, "--proposals", "--viewer", "--out", "x", "--images", "x")
    assert result.exit_code == 2
    assert "one file" in result.stderr


def test_starts_without_torch() -> None:
    import subprocess

    code = (
        "import sys\n"
        "import sodkit.cli.eval, sodkit.data.formats, sodkit.data.predictions.storage\n"
        "import sodkit.evaluation.evaluate, sodkit.evaluation.proposal_recall\n"
        "import sodkit.tiling.merge\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def _data(folder: Path) -> tuple[str, str]:
    """Three images, four objects of three classes; predictions on the first image."""
    box = {"bbox": [10, 12, 12, 9], "area": 108}
    content = {
        "images": [
            {"id": k, "file_name": f"{k}.jpg", "width": 96, "height": 64} for k in (1, 2, 3)
        ],
        "categories": [{"id": k, "name": name} for k, name in enumerate(("car", "van", "bus"))],
        "annotations": [
            {"image_id": image, "category_id": label, **box}
            for image, label in ((1, 0), (1, 1), (2, 0), (3, 2))
        ],
    }
    found = [
        {"image_id": "1", "category_id": name, "score": 0.9, **box}
        for name in ("car", "van", "tram")
    ]
    truth, predictions = folder / "truth.json", folder / "found.json"
    truth.write_text(json.dumps(content))
    predictions.write_text(json.dumps(found))
    return str(truth), str(predictions)


def test_classes_and_images_in_common(tmp_path: Path) -> None:
    files = _data(tmp_path)
    refused = run(*files)
    assert refused.exit_code == 3
    assert "--classes car,van" in refused.stderr
    some = run(*files, "--classes", "Car,van", "--json")
    assert some.exit_code == 0, some.output
    assert "1 predictions of other classes are left out" in some.stderr
    assert "2 of 3 images have no prediction" in some.stderr
    assert list(json.loads(some.stdout)["per_class"]) == ["car", "van"]
    assert json.loads(some.stdout)["metrics"]["AP"] < 1
    few = run(*files, "--classes", "car,van", "--only-predicted", "--json")
    assert json.loads(few.stdout)["metrics"]["AP"] == pytest.approx(1)
    assert json.loads(few.stdout)["counts"]["images"] == 1
    assert "2 of 3 images are left out" in few.stderr


@pytest.mark.parametrize("command", ["eval", "visualize", "analyze-anchors"])
def test_bad_boxes_are_left_out(tmp_path: Path, command: str) -> None:
    truth, found = _data(tmp_path)
    content = json.loads(Path(truth).read_text())
    content["annotations"][0]["bbox"] = [4, 4, 0, 9]
    Path(truth).write_text(json.dumps(content))
    for image in content["images"]:
        write_image(tmp_path / image["file_name"], np.zeros((64, 96, 3), np.uint8))
    out = tmp_path / "out"
    call = [command, truth, "--out", str(out)]
    if command == "eval":
        call = ["eval", truth, found, "--classes", "car,van", "--out", str(out)]
    refused = CliRunner().invoke(make_app(), call)
    assert refused.exit_code == 3
    assert "--skip-bad" in refused.stderr
    result = CliRunner().invoke(make_app(), [*call, "--skip-bad"])
    assert result.exit_code == 0, result.output
    assert "left out: 1" in result.stderr
    assert "no size" in (out / "left_out.csv").read_text()
