"""A run that the tests of several commands share."""

from __future__ import annotations

from pathlib import Path

import pytest
from pipeline import coco, run, train


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A data set, and a run on its patches."""
    folder = tmp_path_factory.mktemp("pipeline")
    data = coco(folder)
    code, _, err = run("split", data, "--out", folder / "patches", "--size", 64, "--stride", 48)
    assert code == 0, err
    code, _, err = train(folder / "patches", folder / "run", "--val", data)
    assert code == 0, err
    return data, folder / "run"
