"""What the public data show of themselves: one line with counts, whatever their size."""

from __future__ import annotations

from pathlib import Path

import sodkit
from sodkit.engine.checkpoint import Checkpoint
from sodkit.models.zoo import build


def test_data_show_as_one_line_with_counts(tmp_path: Path) -> None:
    file = sodkit.make_dataset(tmp_path / "data", images=2, seed=0, width=256, height=200)
    truth = sodkit.read_annotations(file)
    found = sodkit.Detections(
        truth.image_index[:1] + 1,
        truth.labels[:1].clip(0),
        truth.area[:1] * 0 + 0.5,
        truth.xywh[:1],
    )
    recipe = sodkit.load_recipe("cfinet-r18-demo")
    report = sodkit.split_dataset(
        truth, tmp_path / "data", tmp_path / "patches", sodkit.SplitSettings(size=128, stride=128)
    )
    counted = int((~truth.ignore).sum())
    shown = {
        repr(truth): f"2 images, {counted} objects, {len(truth) - counted} ignored, ",
        repr(found): "1 in 1 images, horizontal",
        repr(sodkit.evaluate(truth, found, sodkit.protocol_for("horizontal"))): "1 detections",
        repr(sodkit.analyze_anchors(truth, recipe)): "AnchorQuality of cfinet-r18-demo",
        repr(report): f"2 images, {report.patches} patches; objects: {report.total('whole')} whole",
        repr(Checkpoint(build(recipe.model, 2), recipe, truth.categories)): "cfinet-r18-demo",
    }
    for text, part in shown.items():
        assert part in text
        assert "\n" not in text
        assert len(text) < 160
