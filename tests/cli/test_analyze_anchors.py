"""``sodkit analyze-anchors``: tables, JSON, files."""

import json

import pytest
import typer
from typer.testing import CliRunner

from sodkit.cli.analyze_anchors import analyze_anchors
from sodkit.cli.common import guarded
from sodkit.synthetic import make_dataset

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def app():
    app = typer.Typer()
    app.command()(guarded(analyze_anchors, debug=False))
    return app


@pytest.fixture(scope="module")
def ann(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return make_dataset(folder, images=2, seed=1, width=600, height=500)


def run(app, *words):
    return RUNNER.invoke(app, [str(word) for word in words])


def test_tables(app, ann):
    result = run(app, ann)
    assert result.exit_code == 0, result.output
    words = ("eS", "gS", "dynamic (paper)", "region 0.2", "cfinet-r50-soda-d", "retinanet-r50")
    for word in words:
        assert word in result.stdout
    assert "ignored" in result.stderr


def test_json_and_files(app, ann, tmp_path):
    result = run(app, ann, "--json", "--out", tmp_path / "report")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["schema_version"] == 1
    assert data["sizes"]["all"]["objects"] > 10
    assert {path.name for path in (tmp_path / "report").glob("[!.]*")} == {
        "anchors.csv",
        "anchors.png",
        "anchors.svg",
        "sizes.csv",
        "sizes.png",
        "sizes.svg",
    }


def test_settings_change_the_anchors(app, ann):
    def mean(*words):
        data = json.loads(run(app, ann, "--json", *words).stdout)
        return data["sizes"]["all"]["mean_best_iou"]

    assert mean("--set", "model.kind=faster-rcnn") > mean()
    assert mean("--set", "model.crpn.anchor_scale=6.0") != mean()


def test_unknown_recipe_exits_with_2(app, ann):
    result = run(app, ann, "--recipe", "cfinet-r50-soda")
    assert result.exit_code == 2
    assert "did you mean" in result.stderr


def test_no_objects_exits_with_3(app, tmp_path):
    content = {"images": [{"id": 1, "file_name": "a.jpg", "width": 9, "height": 9}]}
    content |= {"annotations": [], "categories": [{"id": 1, "name": "car"}]}
    (tmp_path / "a.json").write_text(json.dumps(content))
    result = run(app, tmp_path / "a.json")
    assert result.exit_code == 3
    assert "no objects" in result.stderr


def test_missing_file_exits_with_3(app, tmp_path):
    assert run(app, tmp_path / "none.json").exit_code == 3


def test_a_root_is_analysed_by_the_subset_for_training(app, ann, tmp_path):
    for subset in ("train", "val"):
        (tmp_path / f"{subset}.json").write_bytes(ann.read_bytes())
    result = run(app, tmp_path)
    assert result.exit_code == 0, result.output
    assert "the subset train is read" in result.stderr
    assert "the subset val is read" in run(app, tmp_path, "--subset", "val").stderr
