"""What is frozen stays as it was, to the bit; the rest is trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sodkit.data.records import Annotations
from sodkit.engine.build import new_detector
from sodkit.engine.freezing import freeze
from sodkit.engine.train import train
from sodkit.errors import UsageError
from sodkit.models.zoo import build
from sodkit.settings import Recipe

Data = tuple[Annotations, Path]
CPU = torch.device("cpu")


def test_frozen_parts_keep_weights_and_statistics(
    recipe: Recipe, data: Data, tmp_path: Path
) -> None:
    schedule = recipe.schedule.model_copy(
        update={"freeze": ("backbone", "fpn*", "roi.reg.bias"), "epochs": 1}
    )
    frozen = recipe.model_copy(update={"schedule": schedule})
    before = new_detector(frozen, 2, CPU).state_dict()
    after = train(frozen, *data, tmp_path, device=CPU, workers=0).state_dict()
    for name, value in after.items():
        still = name.startswith(("backbone.", "fpn.")) or name == "roi.reg.bias"
        if still or name in {"roi.cls.weight", "roi.reg.weight", "crpn.coarse_conv.weight"}:
            assert torch.equal(value, before[name]) == still, name


def test_names_that_do_not_fit(recipe: Recipe) -> None:
    detector = build(recipe.model, 2)
    with pytest.raises(UsageError, match="no parameter has a name like 'bacbone'") as caught:
        freeze(detector, ("bacbone",))
    assert "backbone, fpn, crpn, roi, imitation" in (caught.value.hint or "")
    with pytest.raises(UsageError, match="nothing is left to train"):
        freeze(detector, ("*",))
