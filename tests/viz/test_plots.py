"""Plots are written whole, also for awkward data."""

import csv
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

from sodkit.analysis.anchor_study import analyze_anchors
from sodkit.errors import UsageError
from sodkit.settings import Recipe
from sodkit.synthetic import make_scene
from sodkit.viz.plots import (
    _plot_positives,
    plot_anchor_quality,
    plot_sizes,
    save_anchor_report,
    write_sizes_csv,
)


@pytest.fixture(scope="module")
def annotations():
    return make_scene(3, 600, 500)[1]


def test_report_files(annotations, tmp_path):
    quality = analyze_anchors(annotations, Recipe(name="r"))
    save_anchor_report(quality, annotations, tmp_path / "new")
    names = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert names == [
        f"{name}.{form}" for name in ("anchors", "sizes") for form in ("csv", "png", "svg")
    ]
    plot = cv2.imread(str(tmp_path / "new/anchors.png"))
    assert plot.shape[1] > 1000
    # something is drawn in the colour of eS
    assert (np.abs(plot[:, :, ::-1].astype(int) - (213, 94, 0)).max(axis=2) < 12).sum() > 100


def test_one_size_class_alone(annotations, tmp_path):
    some = annotations.take((annotations.area < 144) & ~annotations.ignore)
    plot_anchor_quality(analyze_anchors(some, Recipe(name="r")), tmp_path / "a.png")
    assert cv2.imread(str(tmp_path / "a.png")) is not None


def test_a_size_class_without_objects_has_no_mean():
    axes = Figure().subplots()
    means = {"eS": {"IoU": None}, "rS": {"IoU": 0.0}, "gS": {"IoU": 2.0}, "N": {"IoU": 1.25}}
    _plot_positives(axes, means, "positives")
    assert [text.get_text() for text in axes.texts] == ["no objects", "0.0", "2.0", "1.2"]


def test_sizes_of_nothing(annotations, tmp_path):
    plot_sizes(annotations.take(np.zeros(len(annotations), bool)), tmp_path / "a.png")
    assert cv2.imread(str(tmp_path / "a.png")) is not None


def test_an_unwritable_place_is_an_error(annotations, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError):
        plot_sizes(annotations, tmp_path / "file" / "a.png")


def test_an_svg_holds_the_texts_and_has_the_same_bytes_again(annotations, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        plot_sizes(annotations, tmp_path / name / "sizes.svg")
    text = (tmp_path / "a" / "sizes.svg").read_text("utf-8")
    assert text == (tmp_path / "b" / "sizes.svg").read_text("utf-8")
    assert ElementTree.fromstring(text).tag.endswith("svg")


def test_sizes_are_counted_by_px(annotations, tmp_path):
    write_sizes_csv(annotations, tmp_path / "sizes.csv")
    rows = list(csv.DictReader((tmp_path / "sizes.csv").read_text("utf-8").splitlines()))
    sides = np.sqrt(annotations.area[~annotations.ignore])
    assert sum(int(row["objects"]) for row in rows) == len(sides)
    assert rows[-1]["to_px"] == ""
    for row in rows[:-1]:
        low, high = int(row["from_px"]), int(row["to_px"])
        assert int(row["objects"]) == ((sides >= low) & (sides < high)).sum()
