"""``sodkit visualize``: options reach the function, results go to stdout."""

import json

import cv2
import pytest
import typer
from typer.testing import CliRunner

from sodkit.cli.common import guarded
from sodkit.cli.visualize import visualize
from sodkit.synthetic import make_dataset

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def app():
    app = typer.Typer()
    app.command()(guarded(visualize, debug=False))
    return app


@pytest.fixture(scope="module", params=["horizontal", "oriented"])
def ann(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return make_dataset(folder, images=2, seed=1, width=300, height=200, boxes=request.param)


def run(app, *words):
    return RUNNER.invoke(app, [str(word) for word in words])


def test_json_lists_the_pictures(app, ann, tmp_path):
    result = run(app, ann, "--out", tmp_path / "out", "--zoom", 2, "--json")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["schema_version"] == 1
    assert len(data["pictures"]) == 2
    for path in data["pictures"]:
        assert cv2.imread(path).shape[1] == 300


def test_table_and_limit(app, ann, tmp_path):
    result = run(app, ann, "--images", ann.parent, "--out", tmp_path / "out", "--limit", 1)
    assert result.exit_code == 0, result.output
    assert "out" in result.stdout
    assert len(list((tmp_path / "out").glob("*.jpg"))) == 1


def test_ignore_modes(app, ann, tmp_path):
    for mode in ("mask", "outline", "hide"):
        assert run(app, ann, "--out", tmp_path / mode, "--ignore", mode).exit_code == 0
    assert run(app, ann, "--out", tmp_path / "x", "--ignore", "paint").exit_code == 2
    assert not (tmp_path / "x").exists()


def test_missing_images_exit_with_3(app, ann, tmp_path):
    result = run(app, ann, "--images", tmp_path, "--out", tmp_path / "out")
    assert result.exit_code == 3
    assert "train_0001.jpg" in result.stderr
    assert "--images" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_taken_folder_exits_with_2(app, ann, tmp_path):
    (tmp_path / "mine").write_text("")
    result = run(app, ann, "--out", tmp_path)
    assert result.exit_code == 2
    result = run(app, ann, "--out", tmp_path, "--overwrite")
    assert result.exit_code == 2
    assert "not written by sodkit" in result.stderr


def test_html_is_one_page(app, ann, tmp_path):
    result = run(app, ann, "--out", tmp_path / "a", "--html", "--html-size", 100, "--json")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert (data["viewer"], data["images"]) == (str(tmp_path / "a" / "viewer.html"), 2)
    assert [p.name for p in (tmp_path / "a").iterdir() if p.suffix] == ["viewer.html"]
    result = run(app, ann, "--out", tmp_path / "b", "--html")
    assert "viewer.html" in result.stdout.replace("\n", "")
    for more, named in (
        (["--html-size", 100], "--html"),
        (["--html", "--zoom", 2], "--zoom"),
        (["--html", "--compare"], "--predictions"),
    ):
        result = run(app, ann, "--out", tmp_path / "c", *more)
        assert result.exit_code == 2
        assert named in result.stderr
    assert not (tmp_path / "c").exists()


def test_sheet_of_a_class(app, ann, tmp_path):
    name = json.loads(ann.read_text("utf-8"))["categories"][0]["name"]
    result = run(app, ann, "--out", tmp_path / "a", "--sheet", name, "--json")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["shown"] == data["boxes"] > 0
    assert cv2.imread(data["sheet"]) is not None
    for more, named in ((["--sheet", "none such"], name), (["--sheet", name, "--html"], "--html")):
        result = run(app, ann, "--out", tmp_path / "b", *more)
        assert result.exit_code == 2
        assert named in result.stderr
    assert not (tmp_path / "b").exists()


def test_help_has_an_example(app):
    result = run(app, "--help")
    assert "Example: sodkit visualize" in result.stdout


def test_comparison_labels_and_areas(app, ann, tmp_path):
    data = json.loads(ann.read_text("utf-8"))
    rows = [a for a in data["annotations"] if a["image_id"] == 1 and not a.get("ignore")]
    kept = ("image_id", "category_id", "bbox", "obb")
    found = [{k: a[k] for k in kept if k in a} | {"score": 0.9} for a in rows[:1]]
    path = tmp_path / "found.json"
    path.write_text(json.dumps(found))
    given = (ann, "--predictions", path, "--labels", "both", "--min-area", 1, "--json")
    result = run(app, *given, "--compare", "--out", tmp_path / "a")
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.stdout)["pictures"]) == 2
    result = run(app, *given, "--only", "false", "--out", tmp_path / "b")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["pictures"] == []
    assert "no image has a box that is false" in result.stderr
    result = run(app, *given, "--predictions", path, "--limit", 1, "--out", tmp_path / "both")
    assert cv2.imread(json.loads(result.stdout)["pictures"][0]).shape[1] == 608
    result = run(app, *given, "--predictions", path, "--html", "--out", tmp_path / "c")
    assert result.exit_code == 2
    result = run(app, ann, "--compare", "--out", tmp_path / "c")
    assert result.exit_code == 2
    assert "--predictions" in result.stderr
    result = run(app, *given, "--max-area", 0.5, "--out", tmp_path / "c")
    assert result.exit_code == 2
    assert not (tmp_path / "c").exists()


def test_least_score_of_each_class(app, ann, tmp_path):
    data = json.loads(ann.read_text("utf-8"))
    rows = [a for a in data["annotations"] if not a.get("ignore")][:2]
    kept = ("image_id", "category_id", "bbox", "obb")
    found = [{k: a[k] for k in kept if k in a} | {"score": 0.5} for a in rows]
    found[1] |= {"category_id": found[0]["category_id"], "image_id": 1, "score": 0.4}
    name = next(c["name"] for c in data["categories"] if c["id"] == found[0]["category_id"])
    path, scores = tmp_path / "found.json", tmp_path / "scores.json"
    path.write_text(json.dumps(found))

    def drawn(least, out):
        scores.write_text(json.dumps({"scores": {name: least}}))
        given = ("--predictions", path, "--scores", scores, "--ignore", "hide", "--json")
        result = run(app, ann, "--out", tmp_path / out, *given)
        assert result.exit_code == 0, result.output
        assert "no score for" in result.stderr
        return cv2.imread(json.loads(result.stdout)["pictures"][0])

    both, one, none = drawn(0.05, "a"), drawn(0.45, "b"), drawn(0.6, "c")
    assert (both != one).any()
    assert (one != none).any()
    result = run(app, ann, "--out", tmp_path / "d", "--scores", scores)
    assert result.exit_code == 2
    assert "--predictions" in result.stderr
