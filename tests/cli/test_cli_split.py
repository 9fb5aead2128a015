import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from sodkit.cli.common import guarded
from sodkit.cli.split import split
from sodkit.data.images.decoding import write_image


def call(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(guarded(split, debug=False))
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    write_image(tmp_path / "images" / "a.jpg", rng.integers(0, 255, (90, 150, 3), np.uint8))
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 150, "height": 90}],
        "annotations": [
            {"image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 20]},
            {"image_id": 1, "category_id": 1, "bbox": [55, 40, 30, 20]},
            {"image_id": 1, "category_id": 2, "bbox": [90, 0, 60, 90]},
        ],
        "categories": [{"id": 1, "name": "ship"}, {"id": 2, "name": "ignore"}],
    }
    path = tmp_path / "ann.json"
    path.write_text(json.dumps(content))
    return path


def test_splits_and_prints_the_report(source: Path, tmp_path: Path) -> None:
    result = call(source, "--out", tmp_path / "out", "--size", 64, "--stride", 50)
    assert result.exit_code == 0, result.output
    assert "6 patches of 1 images" in result.stdout
    assert "ship" in result.stdout
    assert "1 ignore regions: flag" in result.stderr
    assert len(list((tmp_path / "out" / "images").iterdir())) == 6


def test_json_is_one_object_on_stdout(source: Path, tmp_path: Path) -> None:
    result = call(source, "--out", tmp_path / "out", "--size", 64, "--json")
    content = json.loads(result.stdout)
    assert content["settings"]["stride"] == 52
    assert content["objects"]["total"]["whole"] == 2
    assert content["schema_version"] == 1


def test_options_change_a_profile(source: Path, tmp_path: Path) -> None:
    result = call(
        source, "--out", tmp_path / "out", "--profile", "soda-a", "--truncated", "ignore",
        "--empty", "skip", "--quality", 80, "--json",
    )  # fmt: skip
    settings = json.loads(result.stdout)["settings"]
    assert settings["min_visible"] == 0.7
    assert settings["truncated"] == "ignore"
    assert settings["empty"] == "skip"
    assert (settings["size"], settings["stride"], settings["quality"]) == (800, 650, 80)


def test_same_call_again_continues_and_another_is_refused(source: Path, tmp_path: Path) -> None:
    arguments = (source, "--out", tmp_path / "out", "--size", 64)
    assert call(*arguments).exit_code == 0
    assert call(*arguments).exit_code == 0
    result = call(*arguments, "--min-visible", 0.9)
    assert result.exit_code == 2
    assert "min_visible was 0.5, now 0.9" in result.stderr
    assert call(*arguments, "--min-visible", 0.9, "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--stride", "900"], 2, "--stride"),
        (["--empty", "most"], 2, "--empty"),
        (["--empty", "nan"], 2, "--empty"),
        (["--workers", "0"], 2, "--workers"),
        (["--size", "64,x"], 2, "--size"),
        (["--size", "64,128", "--stride", "50"], 2, "one for every size"),
        (["--subset", "dev"], 2, "no subset 'dev'"),
        (["--format", "yaml"], 2, "--format"),
        (["--images", "nowhere"], 3, "no such image"),
    ],
)
def test_errors_are_one_message(
    source: Path, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    result = call(source, "--out", tmp_path / "out", *arguments)
    assert result.exit_code == code
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_skip_bad_says_what_it_left_out(source: Path, tmp_path: Path) -> None:
    (tmp_path / "images" / "a.jpg").write_bytes(b"spoilt")
    result = call(source, "--out", tmp_path / "out", "--skip-bad")
    assert result.exit_code == 0
    assert "left out: a.jpg" in result.stderr


def test_several_sizes(source: Path, tmp_path: Path) -> None:
    result = call(source, "--out", tmp_path / "out", "--size", "64,128", "--json")
    assert json.loads(result.stdout)["settings"]["also"] == [[128, 104]]


def test_all_subsets_in_one_call(source: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "Annotations").mkdir(parents=True)
    (tmp_path / "images").rename(root / "Images")
    for name in ("train", "test"):
        (root / "Annotations" / f"{name}.json").write_text(source.read_text())
    options = ["--size", 20, "--profile", "soda-d", "--json"]
    result = call(root, "--out", tmp_path / "out", *options)
    assert result.exit_code == 0, result.output
    subsets = json.loads(result.stdout)["subsets"]
    assert list(subsets) == ["train", "test"]
    assert subsets["train"]["empty_skipped"] > 0
    assert subsets["test"]["empty_skipped"] == 0
    assert (tmp_path / "out" / "test" / "annotations.json").is_file()
    result = call(root, "--out", tmp_path / "one", "--subset", "test", "--size", 64)
    assert "6 patches of 1 images" in result.stdout
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["test"]
