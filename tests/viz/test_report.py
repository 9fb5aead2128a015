"""The report: one file, nothing from outside, what it says, and what it does with nothing."""

import base64
import hashlib
import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from sodkit.data.formats import read_annotations
from sodkit.data.records import Category, Detections
from sodkit.data.restriction import only_images
from sodkit.errors import DataError, UsageError
from sodkit.evaluation.compare import Run
from sodkit.evaluation.evaluate import evaluate
from sodkit.evaluation.protocol import COCO, SODA_A, SODA_D, customise
from sodkit.evaluation.study import study
from sodkit.synthetic import make_dataset
from sodkit.viz.comparison_report import write_comparison
from sodkit.viz.page import percent, signed
from sodkit.viz.recall_charts import mean_precision
from sodkit.viz.report import worst_errors, write_report

VALUES = ("precision", "recall", "f1")
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Collects tags, text and addresses; a tag that is not closed in order is an error."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.addresses, self.words = [], [], [], []
        self.attributes = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self.addresses += [value for name, value in attrs if name in {"src", "href", "srcset"}]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def predictions(annotations, seed=0):
    """Objects moved a little, some left out, some of another class."""
    rng = np.random.default_rng(seed)
    rows = np.flatnonzero(~annotations.is_region & (rng.random(len(annotations)) < 0.8))
    labels = annotations.labels[rows]
    labels = np.where(
        rng.random(len(rows)) < 0.1, (labels + 1) % len(annotations.categories), labels
    )
    shift = rng.normal(0, 1.5, (len(rows), 2))
    ids = np.array([image.id for image in annotations.images])[annotations.image_index[rows]]
    xywh = annotations.xywh[rows] + np.concatenate([shift, np.zeros_like(shift)], axis=1)
    obb = None
    if annotations.obb is not None:
        obb = annotations.obb[rows] + np.concatenate([shift, np.zeros((len(rows), 3))], axis=1)
    return Detections(ids, labels, rng.random(len(rows)).round(2), xywh, obb)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    path = make_dataset(folder, images=3, seed=1, width=480, height=320)
    annotations = read_annotations(path)
    return folder, annotations, predictions(annotations)


def render(folder, annotations, detections, protocol=SODA_D, **options):
    evaluation = evaluate(annotations, detections, protocol)
    look = study(evaluation, annotations, detections, resamples=20)
    path = write_report(folder, evaluation, annotations, detections, study=look, **options)
    return path.read_text("utf-8"), evaluation, look


def assert_under_policy(page, text):
    """The policy lets in this style sheet and pictures in the page, and the page needs no more."""
    [policy] = [value for name, value in page.attributes if name == "content" and "-src" in value]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules.pop("img-src") == "data:"
    [sheet] = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(sheet.encode()).digest()).decode()
    assert rules.pop("style-src") == f"'sha256-{digest}'"
    assert set(rules) == {"default-src", "base-uri", "form-action"}
    assert set(rules.values()) == {"'none'"}
    names = {name for name, _ in page.attributes}
    assert "style" not in names
    assert not any(name.startswith("on") for name in names)
    classes = {word for name, value in page.attributes if name == "class" for word in value.split()}
    own = {word for word in classes if re.fullmatch(r"y\d+", word)}
    assert own
    assert own == set(re.findall(r"^\.(y\d+) {", sheet, re.MULTILINE))


def assert_self_contained(text):
    page = Page(text)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert all(address.startswith(("data:image/jpeg;base64,", "#")) for address in page.addresses)
    assert_under_policy(page, text)
    without_pictures = re.sub(r"base64,[^\"]*", "", text)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", without_pictures)
    return page


def test_says_what_was_measured(data, tmp_path):
    folder, annotations, detections = data
    text, evaluation, look = render(tmp_path, annotations, detections, images=folder, title="Run 7")
    page = assert_self_contained(text)
    assert page.text.startswith("Run 7: soda-d, 3 images soda-d Run 7")
    assert "3 images, " in page.text
    for name, value in evaluation.metrics.items():
        assert f"{name} {percent(value)}" in page.text
    for name, curve in look.curves.per_class.items():
        row, best = f"{name} {curve.objects}", curve.best
        if best is None:
            assert f"{row} {'nothing is right' if curve.objects else 'no objects'}" in page.text
            continue
        values = [percent(one) for one in (best.precision, best.recall, best.f1)]
        assert " ".join([row, f"{best.score:.3f}", *values]) in page.text
    assert f"Expected calibration error {percent(look.calibration.error)}" in page.text
    assert json.loads((tmp_path / "scores.json").read_text())["scores"] == look.curves.best
    for gain in look.tide.gain.values():
        assert signed(gain) in page.text
    assert f"{evaluation.counts.ignored} ignored objects" in page.text
    assert page.tags.count("img") == 2 * len(look.worst) == 6
    assert page.tags.count("svg") == 3 + 2 + 2 * np.count_nonzero(evaluation.positives[:, 0])
    assert "prefers-color-scheme: dark" in text


def test_without_images_the_worst_are_a_table(data, tmp_path):
    _, annotations, detections = data
    text, _, look = render(tmp_path, annotations, detections)
    page = assert_self_contained(text)
    assert "img" not in page.tags
    first = look.worst[0]
    name = annotations.images[first.index].file_name
    assert f"{name} {first.missed} {first.false} {first.found}" in page.text
    wrong = worst_errors(look, annotations)[0]
    assert sum(one.missed for one in wrong) == first.missed
    assert sum(one.false for one in wrong) == first.false
    alone = [one for one in wrong[:5] if one.false == 1]
    for one in alone:
        assert f"1 false (score {one.score:.2f})" in page.text
    assert alone


def test_worst_images_are_linked_to_the_viewer(data, tmp_path):
    """Each to its place in a page that holds these images alone, worst first."""
    folder, annotations, detections = data
    text, _, look = render(tmp_path, annotations, detections, images=folder, viewer=True)
    links = [one for one in Page(text).addresses if not one.startswith(("#", "data:"))]
    ids = [annotations.images[one.index].id for one in look.worst]
    assert links == [f"viewer.html#image={one}" for one in ids]
    shown = json.loads(viewer_data(tmp_path / "viewer.html"))
    assert [one["id"] for one in shown["images"]] == ids
    assert shown["start"]["score"] == look.score
    for entry, one in zip(shown["images"], look.worst, strict=True):
        verdicts = [right for _, score, right, *_ in entry["detections"] if score >= look.score]
        assert verdicts.count(1) == one.found
        assert verdicts.count(0) == one.false
        assert sum(found_at < look.score for _, found_at, *_ in entry["objects"]) == one.missed


def viewer_data(path):
    [found] = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', path.read_text())
    return found


def test_no_viewer_without_a_worst_image_or_images(data, tmp_path):
    folder, annotations, _ = data
    bare = annotations.take(np.zeros(len(annotations), bool))
    text, _, _ = render(tmp_path, bare, Detections.empty(), images=folder, viewer=True)
    assert_self_contained(text)
    assert not (tmp_path / "viewer.html").exists()
    with pytest.raises(UsageError, match="the viewer needs the images"):
        render(tmp_path, bare, Detections.empty(), viewer=True)


def test_confusion_cells_and_links(data, tmp_path):
    _, annotations, detections = data
    text, _, look = render(tmp_path, annotations, detections)
    page = Page(text)
    assert page.text.count("background") > 1
    label = int(np.argmax(np.diag(look.confusion.matrix)))
    row = " ".join(str(count) if count else "·" for count in look.confusion.matrix[label])
    assert f"{look.confusion.classes[label]} {row}" in page.text
    targets = {address[1:] for address in page.addresses if address.startswith("#")}
    assert targets <= set(re.findall(r'id="(\w+)"', text))


def test_the_same_input_gives_the_same_bytes(data, tmp_path):
    folder, annotations, detections = data
    first = render(tmp_path / "a", annotations, detections, images=folder)[0]
    assert render(tmp_path / "b", annotations, detections, images=folder)[0] == first


def test_names_are_escaped(data, tmp_path):
    _, annotations, detections = data
    categories = [Category(c.id, f"<b>{c.name}&") for c in annotations.categories]
    images = [replace(i, file_name=f"<i>{i.file_name}") for i in annotations.images]
    odd = replace(annotations, categories=tuple(categories), images=tuple(images))
    text, evaluation, _ = render(tmp_path, odd, detections, title="</title><script>")
    page = assert_self_contained(text)
    assert evaluation.classes[0] in page.text
    assert page.words.count("<i>" + annotations.images[0].file_name) == 1


@pytest.mark.parametrize("protocol", [COCO, customise(SODA_D, "mine", areas={"tiny": (0, 64)})])
def test_other_protocols(data, tmp_path, protocol):
    _, annotations, detections = data
    text, evaluation, _ = render(tmp_path, annotations, detections, protocol)
    page = assert_self_contained(text)
    for name, value in evaluation.metrics.items():
        assert f"{name} {percent(value)}" in page.text


def test_oriented_boxes(tmp_path):
    path = make_dataset(
        tmp_path, images=2, seed=4, width=320, height=240, boxes="oriented", subset="val"
    )
    annotations = read_annotations(path)
    text, _, look = render(
        tmp_path / "out", annotations, predictions(annotations), SODA_A, images=tmp_path
    )
    assert assert_self_contained(text).tags.count("img") == 2 * len(look.worst) > 0


def test_no_detections_and_no_objects(data, tmp_path):
    folder, annotations, detections = data
    text, _, look = render(tmp_path / "a", annotations, Detections.empty(), images=folder)
    assert "There are no detections: every object is missed." in assert_self_contained(text).text
    assert look.tide.count["missed"] > 0
    bare = annotations.take(np.zeros(len(annotations), bool))
    text, _, look = render(tmp_path / "b", bare, detections)
    assert "AP –" in assert_self_contained(text).text  # noqa: RUF001
    assert "There are no objects that count: no AP can be measured." in text
    text, _, look = render(tmp_path / "c", bare, Detections.empty())
    assert "No image has an error at this score." in assert_self_contained(text).text


def test_a_thousand_classes(data, tmp_path):
    _, annotations, detections = data
    names = [f"class {k}" for k in range(1000)]
    many = replace(annotations, categories=tuple(Category(k, n) for k, n in enumerate(names)))
    text, evaluation, look = render(tmp_path, many, detections, about="only classes")
    page = assert_self_contained(text)
    assert len(text) < 1_000_000
    assert "Shown are the 40 of 1 000 classes that are confused most often" in page.text
    assert "Shown are the 100 of 1 000 classes with most objects" in page.text
    assert "detections; only classes" in page.text
    absent = sum(values["AP"] is None for values in evaluation.per_class.values())
    assert f"{absent} of 1000 classes have no objects in Small" in page.text
    assert look.confusion.matrix.shape == (1001, 1001)
    assert evaluation.metrics["AP"] is not None


def test_one_image_has_no_intervals(data, tmp_path):
    _, annotations, detections = data
    alone = only_images(annotations, np.array([0]))
    own = detections.take(detections.image_ids == alone.images[0].id)
    text, _, look = render(tmp_path, alone, own)
    page = assert_self_contained(text)
    assert "There is one image: nothing says how other images would differ." in page.text
    assert look.intervals.resamples == 0
    assert "bootstrap resamples" not in page.text


def test_a_missing_image_leaves_nothing_behind(data, tmp_path):
    _, annotations, detections = data
    with pytest.raises(DataError, match="image not found") as caught:
        render(tmp_path / "out", annotations, detections, images=tmp_path)
    assert str(tmp_path) in caught.value.where
    assert not (tmp_path / "out").exists()


def test_study_is_made_if_there_is_none(data, tmp_path):
    _, annotations, detections = data
    calls = []
    evaluation = evaluate(annotations, detections, SODA_D)
    path = write_report(
        tmp_path,
        evaluation,
        annotations,
        detections,
        progress=lambda *call: calls.append(call),
    )
    assert calls[-1] == (1000, 1000)
    assert "1\u2009000 bootstrap resamples" in path.read_text("utf-8")


def test_comparison(data, tmp_path):
    _, annotations, detections = data
    other = predictions(annotations, seed=5)
    runs = [
        Run(name, rows, evaluate(annotations, rows, SODA_D))
        for name, rows in (("a<1>.json", detections), ("b.json", other), ("c.json", detections))
    ]
    path = write_comparison(tmp_path, annotations, runs)
    written = {one.name for one in tmp_path.iterdir()}
    assert written == {"metrics.json", "per_class.csv", "report.html"}
    page = assert_self_contained(path.read_text("utf-8"))
    change = runs[1].evaluation.metrics["AP"] - runs[0].evaluation.metrics["AP"]
    assert signed(change) in page.text
    assert "a<1>.json" in page.words
    assert page.tags.count("svg") == 3 + 3
    for run in runs:
        found = study(run.evaluation, annotations, run.detections, resamples=0).curves.everything
        row = [f"{found.best.score:.3f}", *(percent(getattr(found.best, one)) for one in VALUES)]
        assert " ".join([run.name, *row]) in page.text
    with pytest.raises(UsageError, match="two runs"):
        write_comparison(tmp_path, annotations, [runs[0], runs[0]])


def test_precision_of_a_class_comes_from_the_curves(data):
    _, annotations, detections = data
    evaluation = evaluate(annotations, detections, SODA_D)
    label = int(np.argmax(evaluation.positives[:, 0]))
    line = mean_precision(evaluation, 0.5, 0, [label])
    name = evaluation.classes[label]
    assert line.mean() == pytest.approx(evaluation.per_class[name]["AP50"], abs=1e-12)
    everything = mean_precision(evaluation, 0.75, 0, list(range(len(evaluation.classes))))
    assert everything.mean() == pytest.approx(evaluation.metrics["AP75"], abs=1e-12)


def test_numbers():
    assert [percent(0.1234), percent(None), percent(1.0)] == ["12.3", "–", "100.0"]  # noqa: RUF001
    assert [signed(0.01), signed(-0.01), signed(-1e-6), signed(None)] == [
        "+1.0",
        "−1.0",  # noqa: RUF001
        "0.0",
        "–",  # noqa: RUF001
    ]


def test_starts_without_torch():
    code = "import sodkit.viz.report, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
