"""Plots of proposals are written whole, also for awkward names and empty size classes."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from sodkit.analysis.object_states import STATES, ObjectStates, Steps, object_states
from sodkit.analysis.proposal_study import ProposalStudy
from sodkit.analysis.proposal_tables import Studied
from sodkit.data.records import Annotations, Category, Detections, ImageRecord
from sodkit.evaluation.proposal_recall import ProposalEvaluation, evaluate_proposals
from sodkit.evaluation.protocol import SODA_D
from sodkit.viz.proposal_plots import STATE_COLOURS, plot_objects, save_proposal_report


def recall() -> ProposalEvaluation:
    """Of one eS and one N object; there are none of other sizes."""
    xywh = np.array([[10.0, 10, 10, 10], [50, 50, 40, 40]])
    annotations = Annotations(
        (ImageRecord(1, "a.png", 100, 100),), (Category(1, "a"),), np.arange(2),
        np.zeros(2, np.int64), np.zeros(2, np.int64), xywh, xywh[:, 2] * xywh[:, 3],
        np.zeros(2, np.bool_),
    )  # fmt: skip
    found = Detections(np.ones(2, np.int64), np.zeros(2, np.int64), np.array([0.9, 0.8]), xywh)
    return evaluate_proposals(annotations, found, SODA_D, (300,))


def states(*, proposes: bool = True) -> ObjectStates:
    found = np.array([True, False])
    steps = Steps(found, found if proposes else None, *[found] * 4)
    return object_states(steps, np.array([100.0, 1600]), np.ones(2, np.bool_))


STUDY = ProposalStudy(300, recall(), states(), 0)
DENSE = ProposalStudy(300, None, states(proposes=False), 0)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_report_of_runs_and_of_checkpoints_side_by_side(tmp_path: Path) -> None:
    """A $ would begin a formula, Chinese is not in the font, markup is text."""
    several = [Studied(f"run$ epoch {k}", STUDY, "run$", k) for k in (2, 4)]
    several += [Studied("<b>[red] 中文 $_", STUDY), Studied("dense", DENSE)]
    save_proposal_report(several, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{name}.{form}" for name in ("objects", "proposals") for form in ("csv", "png", "svg")
    ]
    for name in ("objects", "proposals"):
        assert cv2.imread(str(tmp_path / f"{name}.png")).std() > 5
    proposals = rows_of(tmp_path / "proposals.csv")
    assert [row["checkpoint"] for row in proposals] == [one.name for one in several]
    assert [row["epoch"] for row in proposals] == ["2", "4", "", ""]
    assert (proposals[0]["AR_eS@300"], proposals[0]["AR_rS@300"]) == ("1", "")
    assert proposals[-1]["AR@300"] == ""
    objects = rows_of(tmp_path / "objects.csv")
    assert len(objects) == 6 * len(several)
    assert {row["checkpoint"]: row["no proposal"] for row in objects if row["size"] == "all"} == {
        **dict.fromkeys((one.name for one in several[:-1]), "0"), "dense": ""
    }  # fmt: skip


def test_bars_are_as_long_as_the_shares(tmp_path: Path) -> None:
    """Half of the bar for all objects has the colour of found ones, the other half another one."""
    plot_objects([Studied("one", STUDY)], tmp_path / "a.png")
    pixels = cv2.imread(str(tmp_path / "a.png"))[:, :, ::-1].astype(int)

    def drawn(name: str) -> int:
        code = STATE_COLOURS[name].lstrip("#")
        colour = [int(code[k : k + 2], 16) for k in (0, 2, 4)]
        return int((np.abs(pixels - colour).max(2) < 3).sum())

    assert drawn("found") == pytest.approx(drawn("no anchor"), rel=0.1)
    assert drawn("found") > 20 * max(drawn(name) for name in STATES[1:-1])


def test_detectors_without_proposals_have_no_plot_of_them(tmp_path: Path) -> None:
    save_proposal_report([Studied("dense", DENSE)], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"objects.{form}" for form in ("csv", "png", "svg")
    ]
    nothing = replace(states(), state=np.zeros(0, np.int64), size=np.zeros(0, np.int64))
    plot_objects([Studied("none", replace(DENSE, states=nothing))], tmp_path / "none.png")
