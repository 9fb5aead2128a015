"""The report of a run: what it says of a whole run, of one without validation, of one cut short."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from test_report import Page, predictions

from sodkit.config import dump_recipe, load_recipe
from sodkit.data.formats import read_annotations
from sodkit.data.images.decoding import write_image
from sodkit.engine.validation import Validated
from sodkit.synthetic import make_dataset
from sodkit.viz.run_report import best_epoch, read_columns, write_run_report


def table(path: Path, rows: list[dict[str, object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "ships <b>"
    folder.mkdir()
    recipe = load_recipe("cfinet-r18-demo", ["schedule.metric=AP50"])
    (folder / "recipe.yaml").write_text(dump_recipe(recipe))
    losses: list[dict[str, object]] = [
        {"epoch": 1 + k // 400, "step": k + 1, "lr": 0.01, "loss_cls": 2 / (k + 1),
         "loss_reg": 1.0, "loss": 1 + 2 / (k + 1)}
        for k in range(800)
    ]  # fmt: skip
    table(folder / "losses.csv", losses)
    table(folder / "metrics.csv", [
        {"epoch": 1, "step": 400, "loss": 1.1, "AP": 0.3, "AP50": 0.625, "AP_eS": ""},
        {"epoch": 2, "step": 800, "loss": 1.0, "AP": 0.4, "AP50": 0.5, "AP_eS": ""},
    ])  # fmt: skip
    table(folder / "times.csv", [{"epoch": k, "step": 400, "seconds": 3660.0} for k in (1, 2)])
    write_image(folder / "batches.jpg", np.full((90, 3200, 3), 120, np.uint8))
    return folder


def test_what_a_report_says(run: Path) -> None:
    data = make_dataset(run.parent / "data", images=2, seed=0, width=256, height=256)
    annotations = read_annotations(data)
    validated = Validated(annotations, data.parent, predictions(annotations))
    text = write_run_report(run, validated).read_text("utf-8")
    page = Page(text)
    assert not {"script", "style-attribute"} & set(page.tags)
    assert not [a for a in page.addresses if not a.startswith(("#", "data:image/jpeg;base64,"))]
    assert "Content-Security-Policy" in text
    assert "ships <b>" in page.text
    assert "After epoch 1, the best in AP50" in page.text
    assert "62.5" in page.text
    assert "2 epochs 800 steps 2 h 02 min" in page.text
    assert "Which class is taken for which" in page.text
    assert "Worst images" in page.text
    assert "optimizer: adamw" in page.text
    assert "torch" in page.text
    for name in ("loss_cls", "loss_reg", "AP50", "learning rate"):
        assert name in page.text
    assert page.tags.count("svg") >= 4 - 1  # losses, learning rate, AP; AP_eS is never defined


def test_a_run_without_validation_and_one_without_an_epoch(run: Path) -> None:
    for name in ("metrics.csv", "times.csv", "batches.jpg"):
        (run / name).unlink()
    page = Page(write_run_report(run).read_text("utf-8"))
    assert "Which class" not in page.text
    assert "Metrics on the validation" not in page.text
    assert "img" not in page.tags
    (run / "losses.csv").unlink()
    page = Page(write_run_report(run).read_text("utf-8"))
    assert "0 steps" in page.text


def test_long_curves_are_means_of_stretches(run: Path) -> None:
    from sodkit.viz.run_report import POINTS, _means

    steps = read_columns(run / "losses.csv")
    x, y = _means(steps["step"], steps["loss_cls"])
    assert len(x) == POINTS
    assert x[0] == pytest.approx(2.5)
    assert y[0] == pytest.approx(np.mean([2, 1, 2 / 3, 0.5]))
    with_gap = np.where(np.arange(800) == 1, np.nan, steps["loss_cls"])
    assert np.isfinite(_means(steps["step"], with_gap)[1]).all()


def test_the_best_epoch(run: Path) -> None:
    columns = read_columns(run / "metrics.csv")
    best = best_epoch(columns, "AP50")
    assert best is not None
    assert (best["epoch"], best["AP"], best["AP_eS"]) == (1, 0.3, None)
    assert best_epoch(columns, "AP_eS") is None
    assert best_epoch({}, "AP") is None
