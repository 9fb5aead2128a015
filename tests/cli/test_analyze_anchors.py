"""``sodkit analyze-anchors``: tables, JSON, files."""

import json
import re

import pytest
import typer
from typer.testing import CliRunner

from sodkit.analysis.suggest import suggest_settings
from sodkit.cli import tables
from sodkit.cli.analyze_anchors import analyze_anchors
from sodkit.cli.common import guarded
from sodkit.cli.suggestion_view import print_suggestion
from sodkit.config import load_recipe
from sodkit.data.formats import read_annotations
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
    result = run(app, tmp_path / "a.json", "--suggest", "--out", tmp_path / "out")
    assert result.exit_code == 3
    assert "no objects to suggest settings for" in result.stderr
    assert not list(tmp_path.glob("out/[!.]*"))


def test_missing_file_exits_with_3(app, tmp_path):
    assert run(app, tmp_path / "none.json").exit_code == 3


def test_a_root_is_analysed_by_the_subset_for_training(app, ann, tmp_path):
    for subset in ("train", "val"):
        (tmp_path / f"{subset}.json").write_bytes(ann.read_bytes())
    result = run(app, tmp_path)
    assert result.exit_code == 0, result.output
    assert "the subset train is read" in result.stderr
    assert "the subset val is read" in run(app, tmp_path, "--subset", "val").stderr


def large(path):
    """Write COCO of objects of 150 to 200 px, the class's name with markup."""
    rows = [
        {"id": k + 1, "image_id": 1, "category_id": 1, "bbox": [3 * k, 2 * k, 150 + k, 200 - k]}
        for k in range(50)
    ]
    content = {"images": [{"id": 1, "file_name": "a.jpg", "width": 640, "height": 480}]}
    content |= {"annotations": rows, "categories": [{"id": 1, "name": "<b>车[red]"}]}
    path.write_text(json.dumps(content))
    return path


def set_lines(result):
    return re.findall("^--set (.+)$", result.stdout, re.MULTILINE)


def test_with_the_suggested_settings_nothing_need_be_changed(app, ann):
    result = run(app, ann, "--suggest")
    assert result.exit_code == 0, result.output
    assert set_lines(result)
    again = run(app, ann, "--suggest", *(w for line in set_lines(result) for w in ("--set", line)))
    assert "Nothing need be changed" in again.stdout
    assert not set_lines(again)


def test_suggestion_as_json(app, ann):
    words = ["--suggest", "--json", "--set", "model.crpn.anchor_scale=8.0"]
    result = run(app, ann, *words)
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["sizes"]["all"]["objects"] > 10
    found = data["suggestion"]
    assert found["now"]["model.crpn.anchor_scale"] == 8
    assert found["set"]["model.crpn.anchor_scale"] < 8
    assert found["value"]["after"] > found["value"]["before"]
    assert "suggestion" not in json.loads(run(app, ann, "--json").stdout)


def test_large_objects_have_a_suggestion_but_no_analysis(app, tmp_path):
    path = large(tmp_path / "a.json")
    plain = run(app, path)
    assert plain.exit_code == 3
    assert "--suggest" in plain.stderr
    result = run(app, path, "--suggest", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "There are only 50 objects" in result.stdout
    assert "split --size 640" in result.stdout
    assert "larger than N" in result.stderr
    assert [p.name for p in (tmp_path / "out").glob("[!.]*")] == ["suggested.yaml"]
    suggested = load_recipe(str(tmp_path / "out" / "suggested.yaml"))
    assert suggested == load_recipe("cfinet-r50-soda-d", set_lines(result))
    assert suggested.input.scale < 1.5
    data = json.loads(run(app, path, "--suggest", "--json").stdout)
    assert data["recipe"] == "cfinet-r50-soda-d"
    assert data["sizes"] == {}
    assert data["suggestion"]["set"]["input.patch"] == 640


def test_too_long_objects_are_named(app, tmp_path):
    content = json.loads(large(tmp_path / "a.json").read_text())
    for row in content["annotations"]:
        row["bbox"][2:] = [100, 8]
    (tmp_path / "a.json").write_text(json.dumps(content))
    result = run(app, tmp_path / "a.json", "--suggest")
    assert result.exit_code == 0, result.output
    assert "Too long for an IoU of .5" in result.stdout
    assert "100.0% of the objects" in result.stdout


@pytest.mark.parametrize("width", [80, 100, 140])
def test_tables_of_a_suggestion_fit_the_terminal(ann, width, monkeypatch, capsys):
    monkeypatch.setattr(tables, "terminal_width", lambda: width)
    annotations = read_annotations(ann)
    print_suggestion(suggest_settings(annotations, load_recipe("cfinet-r50-soda-d")))
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if line.startswith(("┃", "│"))]
    assert max(map(len, rows)) <= width
    assert sum("mean positives" in line for line in rows) == 1
    assert sum("eS" in line for line in rows) == (1 if width == 140 else 2)
