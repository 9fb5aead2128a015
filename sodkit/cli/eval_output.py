"""What ``sodkit eval`` shows: tables and notes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sodkit.cli.common import note
from sodkit.cli.tables import print_table
from sodkit.table_text import TextTable, number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sodkit.evaluation.compare import Comparison
    from sodkit.evaluation.evaluate import Evaluation
    from sodkit.evaluation.methods import MethodComparison
    from sodkit.evaluation.proposal_recall import ProposalEvaluation


_ENDLESS = 1e9
"""Areas from here on (px^2) stand for no bound: COCO's is 1e10."""


def print_evaluation(evaluation: Evaluation) -> None:
    """Print the metrics, of all classes and of each."""
    _print(evaluation.table())
    print(main_range(evaluation))


def main_range(evaluation: Evaluation) -> str:
    """Return a sentence on the objects that AP is measured on, and the way to all where few are."""
    area = evaluation.protocol.areas[0]
    inside, every = int(evaluation.positives[:, 0].sum()), evaluation.counts.objects
    low = [f"from {area.low:g}"] if area.low > 0 else []
    high = [f"up to {area.high:g}"] if area.high < _ENDLESS else []
    where = " ".join([*low, *high])
    size = f"objects {where} px^2" if where else "objects of every size"
    sentence = f"AP is of {size} ({inside} of {every})"
    if 2 * inside < every and evaluation.protocol.name != "coco":
        return f"{sentence}: most are of another size, --protocol coco counts these, too"
    return sentence


def print_proposals(result: ProposalEvaluation) -> None:
    """Print a row for each size class: objects, recall and good proposals at each limit."""
    _print(result.table())


def print_several_proposals(results: Mapping[str, ProposalEvaluation]) -> None:
    """Print the metrics of several files of proposals side by side."""
    first = next(iter(results.values()))
    rows = [
        (name, *(number(result.metrics[name], ".4f") for result in results.values()))
        for name in first.metrics
    ]
    print_table(f"proposals, {first.protocol.name}", ("metric", *results), rows)


def print_comparison(comparison: Comparison) -> None:
    """Print runs side by side: value, and the difference to the first with its interval."""
    _print(comparison.table())


def print_methods(comparison: MethodComparison) -> None:
    """Print methods side by side: mean and spread over seeds, difference to the first."""
    _print(comparison.table())
    alone = [name for name, one in comparison.methods.items() if one.seeds == 1]
    if alone:
        note(f"one seed: {', '.join(alone)}; how far other seeds lie apart is not known")


def note_left_out(result: Evaluation | ProposalEvaluation) -> None:
    """Say on stderr what does not show in the metrics: nothing is dropped silently."""
    counts, protocol = result.counts, result.protocol
    if counts.ignored or counts.regions:
        note(f"{counts.ignored} ignored objects and {counts.regions} ignore regions do not count")
    if counts.absorbed:
        note(f"{counts.absorbed} detections lie in ignore regions: not wrong if unmatched")
    if counts.beyond:
        group = "class and image" if hasattr(result, "per_class") else "image"
        note(
            f"{counts.beyond} detections left out: more than {protocol.max_dets[-1]} of one {group}"
        )
    if all(value is None for value in result.metrics.values()):
        note(f"no object lies in the area ranges of {protocol.name}: nothing to measure")


def _print(table: TextTable) -> None:
    print_table(table.title, table.columns, table.rows)
