"""What ``sodkit eval`` shows: tables and notes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sodkit.cli.common import note
from sodkit.cli.tables import print_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sodkit.evaluation.compare import Comparison, Interval, Run
    from sodkit.evaluation.evaluate import Evaluation
    from sodkit.evaluation.methods import MethodComparison
    from sodkit.evaluation.proposal_recall import ProposalEvaluation


_ENDLESS = 1e9
"""Areas from here on (px^2) stand for no bound: COCO's is 1e10."""


def print_evaluation(evaluation: Evaluation) -> None:
    """Print the metrics, of all classes and of each."""
    table = evaluation.table()
    print_table(table.title, table.columns, table.rows)
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
    limits = result.protocol.max_dets
    columns = ("size", "objects", *(f"AR@{n}" for n in limits), *(f"IoU>.5 @{n}" for n in limits))
    rows = [
        (
            area.name,
            result.objects[area.name],
            *(_cell(result.recall[area.name][n], "{:.3f}") for n in limits),
            *(_cell(result.good[area.name][n], "{:.2f}") for n in limits),
        )
        for area in result.protocol.areas
    ]
    print_table(f"proposals, {result.protocol.name}", columns, rows)


def print_several_proposals(results: Mapping[str, ProposalEvaluation]) -> None:
    """Print the metrics of several files of proposals side by side."""
    first = next(iter(results.values()))
    rows = [
        (name, *(_cell(result.metrics[name], "{:.4f}") for result in results.values()))
        for name in first.metrics
    ]
    print_table(f"proposals, {first.protocol.name}", ("metric", *results), rows)


def print_comparison(runs: Sequence[Run], comparison: Comparison) -> None:
    """Print runs side by side: value, and the difference to the first with its interval."""
    first, *others = comparison.names
    columns = ["metric", first]
    for name in others:
        columns += [name, f"less {first}"]
    rows = []
    for metric in comparison.metrics:
        row = [metric, _cell(comparison.values[first][metric], "{:.4f}")]
        for name in others:
            row.append(_cell(comparison.values[name][metric], "{:.4f}"))
            row.append(
                _difference(
                    comparison.differences[name][metric],
                    comparison.difference_intervals[name].get(metric),
                )
            )
        rows.append(row)
    title = (
        f"{runs[0].evaluation.protocol.name}, 95 % intervals of {comparison.resamples} resamples"
    )
    print_table(title, columns, rows)


def print_methods(protocol: str, comparison: MethodComparison) -> None:
    """Print methods side by side: mean and spread over seeds, difference to the first."""
    first, *others = comparison.methods
    studies = comparison.methods
    columns = ["metric", *(f"{name} ({one.seeds})" for name, one in studies.items())]
    columns += [f"{name} less {first}" for name in others]
    rows = [
        [
            metric,
            *(_with_spread(one.mean[metric], one.spread[metric]) for one in studies.values()),
            *(
                _difference(
                    studies[name].difference[metric], studies[name].difference_interval[metric]
                )
                for name in others
            ),
        ]
        for metric in comparison.metrics
    ]
    title = (
        f"{protocol}, mean and spread over seeds, 95 % intervals over images and seeds of"
        f" {comparison.resamples} resamples"
    )
    print_table(title, columns, rows)
    alone = [name for name, one in studies.items() if one.seeds == 1]
    if alone:
        note(f"one seed: {', '.join(alone)}; how far other seeds lie apart is not known")


def _with_spread(mean: float | None, spread: float | None) -> str | None:
    """Return "0.1234 ± 0.0100"."""
    value = _cell(mean, "{:.4f}")
    return value if value is None or spread is None else f"{value} ± {spread:.4f}"


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


def _cell(value: float | None, pattern: str) -> str | None:
    return None if value is None else pattern.format(value)


def _difference(value: float | None, interval: Interval | None) -> str | None:
    """Return "+0.0123 [+0.0050, +0.0200]", a star behind it if the interval leaves 0 out."""
    if value is None:
        return None
    if interval is None or interval.low is None or interval.high is None:
        return f"{value:+.4f}"
    star = " *" if interval.excludes_zero else ""
    return f"{value:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]{star}"
