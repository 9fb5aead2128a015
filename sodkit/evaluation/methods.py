"""Methods side by side: each by the predictions of several trainings that differ by their seed.

Two trainings of one method can differ by more than intervals over images say: those intervals ask
what other *images* would give, with these very weights. Here both are drawn: in each resample the
images with replacement, the same for all methods, and of every method its seeds with replacement;
a method's value is the mean over the seeds drawn. (A bootstrap of two levels: Davison and Hinkley,
Bootstrap Methods and their Application, 1997, section 3.8.)

As many seeds as there are, drawn with replacement, vary by a factor sqrt((n - 1) / n) too little:
their deviations from the mean are stretched by its inverse. Of one seed nothing is known about
others: its interval is over images only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sodkit.arrays import FloatArray
from sodkit.data.records import Annotations
from sodkit.errors import UsageError
from sodkit.evaluation.bootstrap import draw_images
from sodkit.evaluation.compare import (
    CONFIDENCE,
    Interval,
    Run,
    check_names,
    check_runs,
    intervals_of,
    minus,
    resampled_runs,
)
from sodkit.evaluation.comparison_tables import methods_table
from sodkit.evaluation.evaluate import IgnoreRegions
from sodkit.table_text import TextTable

_SEED_DRAWS = 1
"""Added to the seed of the images: the draws of seeds are others."""


@dataclass(frozen=True, slots=True, eq=False)
class Method:
    """A name, and runs of it that differ by their seed."""

    name: str
    runs: tuple[Run, ...]

    def __repr__(self) -> str:
        return f"<Method {self.name}: {len(self.runs)} runs>"


@dataclass(frozen=True, slots=True)
class MethodStudy:
    """What one method reaches, and how far it is from the first.

    Attributes:
        seeds: how many runs it has.
        mean: by metric, over the seeds, on all images; None where undefined for one of them.
        spread: by metric, the standard deviation over the seeds (n - 1); None for one seed.
        interval: by metric, of the mean.
        difference: by metric, the mean less the first method's.
        difference_interval: by metric; empty for the first method.
    """

    seeds: int
    mean: Mapping[str, float | None]
    spread: Mapping[str, float | None]
    interval: Mapping[str, Interval]
    difference: Mapping[str, float | None]
    difference_interval: Mapping[str, Interval]

    def __repr__(self) -> str:
        return f"<MethodStudy: {self.seeds} seeds, {len(self.mean)} metrics>"

    def as_dict(self) -> dict[str, dict[str, float | None]]:
        """Return plain data for JSON, by metric."""
        return {
            metric: {
                "mean": self.mean[metric],
                "spread": self.spread[metric],
                "low": own.low,
                "high": own.high,
                "difference": self.difference[metric],
                "difference_low": apart.low,
                "difference_high": apart.high,
            }
            for metric, own in self.interval.items()
            for apart in [self.difference_interval[metric]]
        }


@dataclass(frozen=True, slots=True)
class MethodComparison:
    """Methods side by side.

    Attributes:
        metrics: names of the protocol's metrics.
        methods: by name; the first of them is what the others are compared with.
        resamples: how often images and seeds were drawn.
        seed: of the draws.
        protocol: its name.
    """

    metrics: tuple[str, ...]
    methods: Mapping[str, MethodStudy]
    resamples: int
    seed: int
    protocol: str

    def __repr__(self) -> str:
        names = ", ".join(f"{name} ({one.seeds} seeds)" for name, one in self.methods.items())
        return (
            f"<MethodComparison: {names}; {len(self.metrics)} metrics, {self.resamples} resamples>"
        )

    def table(self) -> TextTable:
        """Return the methods side by side as ``sodkit eval`` prints them."""
        return methods_table(self)

    def _repr_html_(self) -> str:
        return self.table().html()

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "confidence": CONFIDENCE,
            "resamples": self.resamples,
            "seed": self.seed,
            "reference": next(iter(self.methods)),
            "seeds": {name: one.seeds for name, one in self.methods.items()},
            "methods": {name: one.as_dict() for name, one in self.methods.items()},
        }


def compare_methods(
    annotations: Annotations,
    methods: Sequence[Method],
    *,
    ignore_regions: IgnoreRegions = "drop",
    resamples: int = 1000,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> MethodComparison:
    """Compare methods over images and seeds.

    Args:
        annotations: the ground truth of all runs.
        methods: one or more of different names, each of one run or more, all evaluated under one
            protocol.
        ignore_regions: as the runs were evaluated.
        resamples: how often images and seeds are drawn; 0: no intervals.
        seed: of the draws.
        progress: called with work done and all work.

    Raises:
        UsageError: no method, two of one name, one without runs, several protocols, or negative
            numbers.
    """
    runs = [run for method in methods for run in method.runs]
    check_names([method.name for method in methods], "method")
    if not all(method.runs for method in methods):
        raise UsageError("a method needs predictions")
    check_runs(runs, resamples, seed)
    draws = resamples if annotations.images else 0
    weights = draw_images(len(annotations.images), draws, seed)
    samples = resampled_runs(
        annotations, runs, weights, ignore_regions=ignore_regions, progress=progress
    )
    metrics = tuple(metric.name for metric in runs[0].evaluation.protocol.metrics)
    generator = np.random.default_rng((seed, _SEED_DRAWS))
    studies: dict[str, MethodStudy] = {}
    first_mean: Mapping[str, float | None] = {}
    first_sample, at = np.zeros((0, len(metrics))), 0
    for method in methods:
        count = len(method.runs)
        own = np.stack(samples[at : at + count])
        at += count
        sample = drawn_means(own, generator)
        values = np.array([[_number(run.evaluation.metrics[m]) for m in metrics]
                           for run in method.runs])  # fmt: skip
        mean = _by_name(metrics, values.mean(axis=0))
        spread = values.std(axis=0, ddof=1) if count > 1 else np.full(len(metrics), np.nan)
        if not studies:
            first_mean, first_sample = mean, sample
        studies[method.name] = MethodStudy(
            seeds=count,
            mean=mean,
            spread=_by_name(metrics, spread),
            interval=intervals_of(metrics, sample),
            difference={m: minus(mean[m], first_mean[m]) for m in metrics},
            difference_interval=intervals_of(
                metrics, sample - first_sample if studies else sample[:0]
            ),
        )
    return MethodComparison(metrics, studies, draws, seed, runs[0].evaluation.protocol.name)


def drawn_means(samples: FloatArray, generator: np.random.Generator) -> FloatArray:
    """Return the mean (B, metrics) over seeds drawn with replacement, in each resample.

    Args:
        samples: (seeds, B, metrics), the images of a resample are the same for all seeds.
        generator: draws.
    """
    count, resamples, _ = samples.shape
    mean = samples.mean(axis=0)
    if count == 1:
        return np.asarray(mean)
    chosen = generator.integers(count, size=(resamples, count))
    drawn = samples[chosen, np.arange(resamples)[:, None]].mean(axis=1)
    return np.asarray(mean + (drawn - mean) * np.sqrt(count / (count - 1)))


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _by_name(metrics: Sequence[str], values: FloatArray) -> dict[str, float | None]:
    return {
        name: None if np.isnan(value) else float(value)
        for name, value in zip(metrics, values, strict=True)
    }
