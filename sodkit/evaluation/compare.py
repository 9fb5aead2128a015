"""Runs on the same annotations side by side, with confidence intervals over images.

Bootstrap: images are drawn with replacement as often as there are images, and the metrics of all
runs are computed on each draw (``bootstrap``). A percentile interval says how much a metric would
vary on other images of the same kind; that of a difference comes from the *same* draws for both
runs, so what makes an image hard for both cancels out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from sodkit.arrays import FloatArray
from sodkit.data.records import Annotations, Detections
from sodkit.errors import UsageError
from sodkit.evaluation.bootstrap import Weights, draw_images, resampled_metrics
from sodkit.evaluation.comparison_tables import comparison_table
from sodkit.evaluation.evaluate import Evaluation, IgnoreRegions, Matching
from sodkit.evaluation.outcomes import match_classes
from sodkit.table_text import TextTable

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A percentile interval; None where the metric was undefined in every resample."""

    low: float | None
    high: float | None

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside: a difference that other images would hardly turn around."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Intervals of every metric of every run.

    Attributes:
        names: of the R runs; differences are to the first.
        metrics: names of the protocol's metrics.
        values: by run, then metric: measured on all images; None where undefined.
        intervals: by run, then metric.
        differences: by run, then metric: value less the first run's; None where undefined.
        difference_intervals: by run, then metric; the first run's are empty.
        resamples: how often images were drawn.
        seed: of the draws.
        protocol: its name.
    """

    names: tuple[str, ...]
    metrics: tuple[str, ...]
    values: Mapping[str, Mapping[str, float | None]]
    intervals: Mapping[str, Mapping[str, Interval]]
    differences: Mapping[str, Mapping[str, float | None]]
    difference_intervals: Mapping[str, Mapping[str, Interval]]
    resamples: int
    seed: int
    protocol: str

    def __repr__(self) -> str:
        return (
            f"<Comparison: {', '.join(self.names)}; "
            f"{len(self.metrics)} metrics, {self.resamples} resamples>"
        )

    def table(self) -> TextTable:
        """Return the runs side by side as ``sodkit eval`` prints them."""
        return comparison_table(self)

    def _repr_html_(self) -> str:
        return self.table().html()

    def as_dict(self) -> dict[str, object]:
        """Return plain data for JSON: by run and metric, value, interval and difference."""
        runs = {
            name: {metric: self._entry(name, metric) for metric in self.metrics}
            for name in self.names
        }
        return {
            "confidence": CONFIDENCE,
            "resamples": self.resamples,
            "seed": self.seed,
            "reference": self.names[0],
            "runs": runs,
        }

    def _entry(self, name: str, metric: str) -> dict[str, float | None]:
        own = self.intervals[name][metric]
        entry = {"value": self.values[name][metric], "low": own.low, "high": own.high}
        if name != self.names[0]:
            apart = self.difference_intervals[name][metric]
            entry["difference"] = self.differences[name][metric]
            entry["difference_low"], entry["difference_high"] = apart.low, apart.high
        return entry


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One run of a comparison: a name, its detections and their evaluation."""

    name: str
    detections: Detections
    evaluation: Evaluation

    def __repr__(self) -> str:
        name, value = self.evaluation.first
        return f"<Run {self.name}: {len(self.detections)} detections, {name} {value}>"


def compare(
    annotations: Annotations,
    runs: Sequence[Run],
    *,
    ignore_regions: IgnoreRegions = "drop",
    resamples: int = 1000,
    seed: int = 0,
    matchings: Sequence[Matching] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Compare runs; a single one just gets its intervals.

    Args:
        annotations: the ground truth of all runs.
        runs: one or more, names all different, evaluated under one protocol.
        ignore_regions: as the runs were evaluated.
        resamples: how often images are drawn; 0, or a single image: no intervals.
        seed: the same seed, resamples and images: the same draws.
        matchings: of the runs, if there are any already.
        progress: called with work done and all work.

    Raises:
        UsageError: no run, two of one name, several protocols, or negative numbers.
    """
    check_names([run.name for run in runs], "run")
    check_runs(runs, resamples, seed)
    protocol = runs[0].evaluation.protocol
    names = tuple(run.name for run in runs)
    draws = resamples if len(annotations.images) > 1 else 0  # of one there is only one draw
    weights = draw_images(len(annotations.images), draws, seed)
    samples = resampled_runs(
        annotations, runs, weights, ignore_regions=ignore_regions, matchings=matchings,
        progress=progress,
    )  # fmt: skip
    metrics = tuple(metric.name for metric in protocol.metrics)
    values = {run.name: run.evaluation.metrics for run in runs}
    first = values[names[0]]
    return Comparison(
        names=names,
        metrics=metrics,
        values=values,
        intervals={
            name: intervals_of(metrics, sample) for name, sample in zip(names, samples, strict=True)
        },
        differences={
            name: {metric: minus(own[metric], first[metric]) for metric in metrics}
            for name, own in values.items()
        },
        difference_intervals={
            name: intervals_of(metrics, sample - samples[0] if number else sample[:0])
            for number, (name, sample) in enumerate(zip(names, samples, strict=True))
        },
        resamples=draws,
        seed=seed,
        protocol=protocol.name,
    )


def resampled_runs(
    annotations: Annotations,
    runs: Sequence[Run],
    weights: Weights,
    *,
    ignore_regions: IgnoreRegions,
    matchings: Sequence[Matching] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[FloatArray]:
    """Return the metrics (B, metrics) of each run on the same resamples; see ``compare``.

    Args:
        annotations: as there.
        runs: as there.
        weights: (B, I) how often each image is drawn.
        ignore_regions: as there.
        matchings: as there.
        progress: as there.
    """
    samples = []
    for number, run in enumerate(runs):
        protocol = run.evaluation.protocol
        matching = matchings[number] if matchings is not None else match_classes(
            annotations, run.detections, protocol, ignore_regions=ignore_regions
        )  # fmt: skip
        report = None if progress is None else partial(_part, progress, number, len(runs))
        scores = np.asarray(run.detections.scores, np.float64)
        samples.append(resampled_metrics(matching, scores, protocol, weights, report))
    return samples


def check_runs(runs: Sequence[Run], resamples: int, seed: int) -> None:
    """Raise UsageError for runs that cannot be compared, and for negative numbers."""
    if any(run.evaluation.protocol != runs[0].evaluation.protocol for run in runs):
        raise UsageError("the runs were evaluated under different protocols")
    if resamples < 0 or seed < 0:
        raise UsageError(f"cannot draw {resamples} resamples with seed {seed}")


def check_names(names: Sequence[str], what: str) -> None:
    """Raise UsageError if there is no name, or one twice; ``what`` has them: run, method."""
    if not names:
        raise UsageError(f"no {what} to compare")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UsageError(f"two {what}s are named '{twice[0]}'")


def _part(report: Callable[[int, int], None], part: int, parts: int, done: int, total: int) -> None:
    """Report one part of several as progress of the whole."""
    report(part * total + done, parts * total)


def intervals_of(metrics: Sequence[str], samples: FloatArray) -> dict[str, Interval]:
    """Return the percentile intervals of samples (B, metrics) by metric."""
    return {metric: _interval(samples[:, i]) for i, metric in enumerate(metrics)}


def _interval(sample: FloatArray) -> Interval:
    defined = sample[~np.isnan(sample)]
    if len(defined) == 0:
        return Interval(None, None)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Interval(float(low), float(high))


def minus(value: float | None, other: float | None) -> float | None:
    """Return the difference; None where one is undefined."""
    return None if value is None or other is None else value - other
