"""The viewer's page as text: what is in it, what is not, and when there is none."""

import base64
import hashlib
import json
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest

from sodkit.data.formats import read_annotations
from sodkit.data.records import Category, Detections
from sodkit.errors import DataError, UsageError
from sodkit.synthetic import make_dataset
from sodkit.viz import viewer
from sodkit.viz.content import Style
from sodkit.viz.dataset_pictures import visualize
from sodkit.viz.verdicts import judge
from sodkit.viz.viewer import write_viewer


@pytest.fixture(scope="module", params=["horizontal", "oriented"])
def data(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    path = make_dataset(folder, images=3, seed=1, width=320, height=240, boxes=request.param)
    return folder, read_annotations(path)


@pytest.fixture(scope="module")
def found(data):
    """Every second object, some of them twice or as another class, scores of one decimal."""
    annotations = data[1]
    rng = np.random.default_rng(0)
    rows = np.flatnonzero(~annotations.is_region)[::2]
    rows = np.concatenate([rows, rows[:6]])
    chosen = annotations.take(rows)
    ids = np.array([annotations.images[k].id for k in chosen.image_index], np.int64)
    labels = np.where(rng.random(len(rows)) < 0.8, chosen.labels, 0)
    scores = rng.integers(0, 11, len(rows)) / 10
    return Detections(ids, labels, scores, chosen.xywh, chosen.obb)


def page_data(path):
    text = path.read_text("utf-8")
    return json.loads(re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', text)[0])


def pictures(path):
    encoded = re.findall(r'class="picture">([^<]*)<', path.read_text("utf-8"))
    raw = [np.frombuffer(base64.b64decode(one), np.uint8) for one in encoded]
    return [cv2.imdecode(one, cv2.IMREAD_COLOR) for one in raw]


@pytest.mark.parametrize("score", [0, 0.3, 0.35, 0.7, 1])
def test_rows_give_the_verdicts_at_every_score(data, found, tmp_path, score):
    """By the rule that the script follows, against the comparison of the pictures."""
    folder, annotations = data
    page = write_viewer(annotations, folder, tmp_path / "out", detections=found)
    images = page_data(page.path)["images"]
    objects = [row for image in images for row in image["objects"]]
    rows = [row for image in images for row in image["detections"]]
    expected = judge(annotations, found, score)
    assert sum(at < score for _, at, *_ in objects) == expected.missed.sum()
    assert sum(s >= score and right for _, s, right, *_ in rows) == expected.right.sum()
    assert sum(s >= score and not right for _, s, right, *_ in rows) == expected.false.sum()
    assert len(objects) == (~annotations.ignore).sum()


def test_only_the_own_style_and_script_may_run(data, tmp_path):
    folder, annotations = data
    text = write_viewer(annotations, folder, tmp_path / "out").path.read_text("utf-8")
    policy = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)[0]
    script = re.findall(r'<script type="module">(.*?)</script>', text, re.DOTALL)[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src &#39;sha256-{digest}&#39;" in policy or f"'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy.replace("&#39;", "'")
    assert not re.findall(r"https?:|src=|href=|@import", text)


def test_names_cannot_leave_the_data(data, tmp_path):
    folder, annotations = data
    names = ["</script><script>alert(1)</script>", "<!-- 行人", "\udcff [red]"]
    count = len(annotations.categories)
    named = tuple(Category(k + 1, names[k % 3] + str(k)) for k in range(count))
    path = write_viewer(
        replace(annotations, categories=named), folder, tmp_path / "out", title="</script>\udcff"
    ).path
    text = path.read_text("utf-8")
    assert len(re.findall("<script", text)) == len(re.findall("</script", text)) == 2 + 3
    assert [one["name"] for one in page_data(path)["classes"]] == [c.name for c in named]


def test_images_are_inside_and_may_be_shrunk(data, tmp_path):
    folder, annotations = data
    calls = []
    page = write_viewer(
        annotations, folder, tmp_path / "a", limit=2, progress=lambda *a: calls.append(a)
    )
    assert [one.shape for one in pictures(page.path)] == [(240, 320, 3)] * 2
    original = cv2.imread(str(folder / annotations.images[1].file_name)).astype(int)
    assert np.abs(pictures(page.path)[1] - original).mean() < 4
    assert calls == [(1, 2), (2, 2)]
    assert page.images == 2
    small = write_viewer(annotations, folder, tmp_path / "b", longest=80)
    assert [one.shape for one in pictures(small.path)] == [(60, 80, 3)] * 3
    assert page_data(small.path)["images"][0]["width"] == 320  # boxes stay in image px


def test_areas_and_only_choose(data, found, tmp_path):
    folder, annotations = data
    style = Style(0.3, areas=(0, 200))
    rows = page_data(
        write_viewer(annotations, folder, tmp_path / "a", detections=found, style=style).path
    )["images"]
    kept = ~annotations.ignore & (annotations.area <= 200)
    assert sum(len(image["objects"]) for image in rows) == kept.sum()
    one = found.take(np.flatnonzero(found.image_ids == annotations.images[1].id))
    only = Style(0.0, only="false")
    page = write_viewer(annotations, folder, tmp_path / "b", detections=one, style=only)
    expected = judge(annotations, one, 0).false.any()
    assert [image["index"] for image in page_data(page.path)["images"]] == [1] * int(expected)
    assert len(pictures(page.path)) == page.images == expected


def test_predictions_alone_and_nothing_at_all(data, found, tmp_path):
    folder, annotations = data
    bare = annotations.take(np.zeros(len(annotations), bool))
    page = page_data(write_viewer(bare, folder, tmp_path / "a", detections=found).path)
    assert page["mode"] == "predictions"
    assert sum(len(image["detections"]) for image in page["images"]) == len(found)
    assert page_data(write_viewer(bare, folder, tmp_path / "b").path)["mode"] == "objects"
    nothing = replace(bare, images=())
    assert write_viewer(nothing, folder, tmp_path / "c").images == 0


def test_a_page_that_is_too_large_is_not_written(data, tmp_path, monkeypatch):
    folder, annotations = data
    monkeypatch.setattr(viewer, "LARGEST", 40_000)
    with pytest.raises(UsageError, match="of 3 images"):
        write_viewer(annotations, folder, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*"))


def test_bad_input_leaves_nothing(data, found, tmp_path):
    folder, annotations = data
    out = tmp_path / "out"
    with pytest.raises(DataError, match="not found"):
        write_viewer(annotations, tmp_path, out)
    other = replace(found, image_ids=found.image_ids + 1000)
    with pytest.raises(DataError):
        write_viewer(annotations, folder, out, detections=other)
    for wrong in ({"style": Style(zoom=2)}, {"longest": 0}, {"style": Style(only="missed")}):
        with pytest.raises(UsageError):
            write_viewer(annotations, folder, out, **wrong)
    assert not out.exists()


def test_overwrite_takes_the_place_of_pictures(data, tmp_path):
    folder, annotations = data
    visualize(annotations, folder, tmp_path / "out")
    with pytest.raises(UsageError, match="exists already"):
        write_viewer(annotations, folder, tmp_path / "out")
    write_viewer(annotations, folder, tmp_path / "out", overwrite=True)
    assert [p.name for p in (tmp_path / "out").iterdir() if p.suffix] == ["viewer.html"]
