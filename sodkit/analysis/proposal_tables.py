"""Checkpoints side by side: their proposals and where they lose objects, as rows for CSV files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sodkit.analysis.object_states import SIZES, names_of_all
from sodkit.analysis.proposal_study import ProposalStudy
from sodkit.csv_text import Cell, csv_text
from sodkit.files import StrPath, write_text


@dataclass(frozen=True, slots=True, eq=False)
class Studied:
    """A checkpoint with its name.

    Attributes:
        name: in tables.
        study: what is known of it.
        run: the run that it is of, if several epochs of a run are looked at.
        epoch: which of them it is.
    """

    name: str
    study: ProposalStudy
    run: str | None = None
    epoch: int | None = None

    def __repr__(self) -> str:
        return f"<Studied {self.name}: {self.study!r}>"


def recall_metrics(several: Sequence[Studied]) -> list[str]:
    """Return the names of what is measured of proposals: ``AR@300``, ``good_eS@300``, ..."""
    found = (one.study.recall for one in several)
    return next((list(recall.metrics) for recall in found if recall is not None), [])


def write_proposals_csv(several: Sequence[Studied], path: StrPath) -> None:
    """Write recall and good proposals, a row a checkpoint; what is undefined stays empty.

    Raises:
        UsageError: if it cannot be written.
    """
    names = recall_metrics(several)
    rows: list[list[Cell]] = [["checkpoint", "epoch", *names]]
    for one in several:
        metrics = {} if one.study.recall is None else one.study.recall.metrics
        rows.append([*_who(one), *(_number(metrics.get(name)) for name in names)])
    write_text(Path(path), csv_text(rows))


def write_objects_csv(several: Sequence[Studied], path: StrPath) -> None:
    """Write the share of objects in each state, a row a checkpoint and size class.

    Raises:
        UsageError: if it cannot be written.
    """
    names = names_of_all([one.study.states for one in several])
    rows: list[list[Cell]] = [["checkpoint", "epoch", "size", "objects", *names]]
    for one in several:
        for size in SIZES:
            shares = one.study.states.shares(size)
            cells = [_number(shares.get(name)) for name in names]
            rows.append([*_who(one), size, one.study.states.count(size), *cells])
    write_text(Path(path), csv_text(rows))


def _who(one: Studied) -> list[Cell]:
    return [one.name, "" if one.epoch is None else one.epoch]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
