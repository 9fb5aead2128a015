"""What ``sodkit eval`` prints and writes of its measurements."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sodkit.cli.eval_files import Methods
    from sodkit.data.records import Annotations, Detections
    from sodkit.evaluation.compare import Run
    from sodkit.evaluation.evaluate import IgnoreRegions
    from sodkit.evaluation.protocol import Protocol
    from sodkit.evaluation.study import Study


@dataclass(frozen=True, slots=True)
class Options:
    """What is the same for all predictions.

    Attributes:
        images: where the images' names start, None: not known.
        shown: images were asked for, so one that cannot be shown is an error.
    """

    ignore_regions: IgnoreRegions
    resamples: int
    seed: int
    images: Path | None
    shown: bool
    out: Path | None
    as_json: bool
    title: str
    about: str
    viewer: bool


def finish(
    annotations: Annotations, methods: Methods, runs: Sequence[Run], options: Options
) -> None:
    """Print the metrics of one run or several, or of methods, and write them with ``--out``.

    Args:
        annotations: the ground truth.
        methods: the files of each method's seeds; none: the runs are files side by side.
        runs: each file's.
        options: the command's.
    """
    if methods:
        _finish_methods(annotations, methods, runs, options)
    elif len(runs) > 1:
        _finish_several(annotations, runs, options)
    else:
        _finish_one(annotations, runs, options)


def _finish_one(annotations: Annotations, runs: Sequence[Run], options: Options) -> None:
    """Print the metrics of a run; with ``--out`` look closer and write the report."""
    from sodkit.cli.common import note, print_json, progress
    from sodkit.cli.eval_output import print_evaluation

    (run,) = runs
    data = run.evaluation.as_dict()
    if options.out is not None:
        from sodkit.evaluation.study import study

        with progress("writing the report") as report:
            closer = study(
                run.evaluation, annotations, run.detections,
                ignore_regions=options.ignore_regions, resamples=options.resamples,
                seed=options.seed, name=run.name, progress=report,
            )  # fmt: skip
        data |= closer.as_dict()
        _write_report(options.out, annotations, run, closer, options)
        if options.viewer and not closer.worst:
            note(f"no image has an error at score {closer.score:.3g}: there is no viewer.html")
    if options.as_json:
        print_json(data)
    else:
        print_evaluation(run.evaluation)


def _write_report(
    out: Path, annotations: Annotations, run: Run, closer: Study, options: Options
) -> None:
    """Write the report; without pictures if they cannot be drawn and nobody asked for them."""
    from sodkit.cli.common import note
    from sodkit.errors import DataError
    from sodkit.viz.report import write_report

    def write(images: Path | None) -> None:
        write_report(
            out, run.evaluation, annotations, run.detections, images=images,
            ignore_regions=options.ignore_regions, study=closer,
            title=options.title, about=options.about, viewer=options.viewer,
        )  # fmt: skip

    try:
        write(options.images)
    except DataError as error:
        if options.shown or options.images is None:
            raise
        note(f"the report shows no images: {error.where}: {error.what}")
        write(None)


def _finish_several(annotations: Annotations, runs: Sequence[Run], options: Options) -> None:
    """Print runs side by side with intervals; with ``--out`` write the comparison."""
    from sodkit.cli.common import note, print_json, progress
    from sodkit.cli.eval_output import print_comparison
    from sodkit.evaluation.compare import compare
    from sodkit.evaluation.metric_files import comparison_data

    with progress("comparing") as report:
        comparison = compare(
            annotations, runs, ignore_regions=options.ignore_regions,
            resamples=options.resamples, seed=options.seed, progress=report,
        )  # fmt: skip
    if options.out is not None:
        from sodkit.viz.comparison_report import write_comparison

        write_comparison(
            options.out, annotations, runs,
            ignore_regions=options.ignore_regions, comparison=comparison,
            title=options.title, about=options.about,
        )  # fmt: skip
    if options.as_json:
        print_json(comparison_data(runs, comparison))
    else:
        print_comparison(comparison)
        note("these are files, not methods: intervals are over images alone, NAME=FILE,FILE gives"
             " several seeds")  # fmt: skip


def _finish_methods(
    annotations: Annotations, methods: Methods, runs: Sequence[Run], options: Options
) -> None:
    """Print methods side by side, over images and seeds; with ``--out`` write the numbers."""
    from sodkit.cli.common import print_json, progress
    from sodkit.cli.eval_output import print_methods
    from sodkit.evaluation.methods import Method, compare_methods
    from sodkit.evaluation.metric_files import comparison_data, write_metrics

    by_name = {run.name: run for run in runs}
    given = [Method(name, tuple(by_name[one] for one in own)) for name, own in methods.items()]
    with progress("comparing") as report:
        comparison = compare_methods(
            annotations, given, ignore_regions=options.ignore_regions,
            resamples=options.resamples, seed=options.seed, progress=report,
        )  # fmt: skip
    data = comparison_data(runs, comparison)
    if options.out is not None:
        write_metrics(options.out, data, {run.name: run.evaluation for run in runs})
    if options.as_json:
        print_json(data)
    else:
        print_methods(comparison)


def evaluate_proposals(
    annotations: Annotations,
    files: Iterable[tuple[str, Detections]],
    protocol: Protocol,
    out: Path | None,
    as_json: bool,
) -> None:
    """Measure class-agnostic proposals: recall by size class."""
    from sodkit.cli import eval_output as output
    from sodkit.cli.common import print_json, progress
    from sodkit.evaluation.metric_files import write_metrics
    from sodkit.evaluation.proposal_recall import evaluate_proposals

    results = {}
    for name, found in files:
        with progress(f"evaluating {name}") as report:
            results[name] = evaluate_proposals(annotations, found, protocol, progress=report)
        output.note_left_out(results[name])
    runs = {name: result.as_dict() for name, result in results.items()}
    several = len(runs) > 1
    (first,) = list(results.values())[:1]
    data = {"protocol": protocol.name, "runs": runs} if several else first.as_dict()
    if out is not None:
        write_metrics(out, data)
    if as_json:
        print_json(data)
    elif several:
        output.print_several_proposals(results)
    else:
        output.print_proposals(first)
