"""A training run with its pictures: what ``sodkit train`` does, as a function."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sodkit.data.batches import Batch
from sodkit.engine.log import Row
from sodkit.engine.reports import StartReport, StepReport
from sodkit.engine.sinks import SinkName
from sodkit.engine.training_run import RunPlan, execute
from sodkit.engine.validation import Validated
from sodkit.engine.world import ALONE, World
from sodkit.viz import batch_picture
from sodkit.viz.batch_picture import BatchPicture
from sodkit.viz.run_report import write_run_report


def run_training(
    plan: RunPlan,
    *,
    device: str = "auto",
    workers: int = 2,
    threads: int | None = None,
    on_start: Callable[[StartReport], None] = lambda report: None,
    on_step: Callable[[StepReport], None] = lambda report: None,
    on_validate: Callable[[int, int], None] = lambda done, total: None,
    on_epoch: Callable[[Row], None] = lambda row: None,
    say: Callable[[str], None] = lambda message: None,
    sinks: Sequence[SinkName] = (),
    world: World = ALONE,
) -> Row:
    """Train as ``execute`` does; write ``batches.jpg`` first and ``report.html`` in the end.

    Args:
        plan: from ``fresh_plan`` or ``resumed_plan``.
        device: see ``execute``, as for all that follow.
        workers: processes that read images.
        threads: CPU threads of the model, None: all cores.
        on_start: called before the first step.
        on_step: called after every step.
        on_validate: called with (done, total) images of a validation.
        on_epoch: called after every epoch.
        say: called with sentences for people.
        sinks: where the numbers go beside the run's files and TensorBoard.
        world: the processes that train together; the first one writes.

    Returns:
        the last epoch's row of ``metrics.csv``.
    """
    pictures: list[BatchPicture] = []

    def start(report: StartReport) -> None:
        names = [category.name for category in report.categories]
        pictures.append(BatchPicture(plan.folder / batch_picture.NAME, names))
        on_start(report)

    def draw(batch: Batch) -> None:
        pictures[0](batch)

    def end(validated: Validated | None) -> None:
        write_run_report(plan.folder, validated)

    return execute(
        plan, device=device, workers=workers, threads=threads, on_start=start, on_batch=draw,
        on_step=on_step, on_validate=on_validate, on_epoch=on_epoch, on_end=end, say=say,
        sinks=sinks, world=world,
    )  # fmt: skip
