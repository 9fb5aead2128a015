"""``sodkit analyze-proposals``: proposals by size class, and where objects are lost."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sodkit.cli.options import (
    Angle,
    Ann,
    Area,
    Classes,
    Device,
    Difficult,
    Format,
    Images,
    Json,
    Oriented,
    Overwrite,
    SkipBad,
    Subset,
)
from sodkit.cli.predict_arguments import BatchSize, NoSplit, Size, Stride

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch

    from sodkit.analysis.proposal_tables import Studied
    from sodkit.data.left_out import LeftOut
    from sodkit.data.opening import Source
    from sodkit.data.records import Annotations, Category

PROPOSAL_FILES = (
    "left_out.csv",
    *(f"{name}.{form}" for name in ("proposals", "objects") for form in ("csv", "png", "svg")),
)
"""What is written to --out."""

Checkpoints = Annotated[
    list[Path],
    typer.Argument(
        metavar="CHECKPOINT",
        help="Checkpoints, or runs' folders: the epochs that a run keeps, else its best one.",
    ),
]


def analyze_proposals(
    checkpoints: Checkpoints,
    ann: Ann,
    proposals: Annotated[
        int, typer.Option(min=1, help="Proposals a patch, and the best of an image that count.")
    ] = 300,
    images: Images = None,
    format_: Format = None,
    subset: Subset = None,
    difficult: Difficult = None,
    area: Area = None,
    angle: Angle = None,
    oriented: Oriented = False,
    classes: Classes = None,
    size: Size = None,
    stride: Stride = None,
    no_split: NoSplit = False,
    score: Annotated[
        float | None, typer.Option(min=0, max=1, help="Least score of a detection (recipe's).")
    ] = None,
    batch: BatchSize = None,
    device: Device = "auto",
    out: Annotated[Path | None, typer.Option(help="Folder for plots and CSV.")] = None,
    skip_bad: SkipBad = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Measure the proposals of checkpoints, and show where each loses objects, by size class.

    Average recall (the paper's Table 4), the number of good proposals an object gets (Figure 4),
    and the share of objects without a proposal, without a box, of low score, wrong class,
    suppressed and found. Of a run that keeps epochs (schedule.keep_every) all are shown.

    Example: sodkit analyze-proposals runs/cfinet runs/rpn test.json --out proposals
    """
    from sodkit.cli.common import list_left_out, note, output_folder, print_json
    from sodkit.data.formats import Reading
    from sodkit.data.left_out import LeftOut
    from sodkit.data.opening import Source
    from sodkit.engine.device import pick_device

    left, target = LeftOut(bad=skip_bad), pick_device(device)
    reading = Reading(difficult, area, angle, oriented)
    source = Source(ann, format_, images, subset, reading, classes)
    chosen = _chosen(checkpoints)
    with output_folder(out, "analyze-proposals", PROPOSAL_FILES, overwrite=overwrite):
        changes = {"size": size, "stride": stride, "batch": batch}
        work = _Work(_open(source, left), target, proposals, changes, score, no_split)
        list_left_out(left, out)
        for one in chosen:  # what cannot be used is found before hours of work
            work.check(one)
        several = [work.study(one) for one in chosen]
        if out is not None:
            from sodkit.viz.proposal_plots import save_proposal_report

            save_proposal_report(several, out)
    if as_json:
        print_json(_as_dict(several, proposals, len(work.data.annotations.images)))
    else:
        _print(several, proposals)
    for sentence in _left_out(several):
        note(sentence)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """A checkpoint that is named, or one of a run's epochs."""

    name: str
    file: Path
    run: str | None = None
    epoch: int | None = None


def _chosen(paths: Sequence[Path]) -> list[_Chosen]:
    """Return the checkpoints that paths stand for, with names that differ.

    Raises:
        ModelError: a folder without a checkpoint.
        UsageError: a path is given twice.
    """
    from sodkit.cli.common import note
    from sodkit.engine.run_folder import checkpoints_in

    chosen = []
    for name, path in zip(_names(paths), paths, strict=True):
        found = checkpoints_in(path)
        for file, epoch in found.items():
            if epoch is None:
                chosen.append(_Chosen(name, file))
            else:
                chosen.append(_Chosen(f"{name} epoch {epoch}", file, name, epoch))
        if path.is_dir() and None in found.values():
            note(f"{name}: {chosen[-1].file} (schedule.keep_every=N keeps one every N epochs)")
    return chosen


def _names(paths: Sequence[Path]) -> list[str]:
    """Return as many of the last parts of each path as make all differ."""
    from sodkit.errors import UsageError

    whole = [path.resolve() for path in paths]
    if len(set(whole)) < len(whole):
        raise UsageError("the same checkpoint is given twice", where="CHECKPOINT")
    parts = [
        [part for part in path.with_suffix("").parts if part != "checkpoints"]
        if path.suffix == ".safetensors" else [*path.parts]
        for path in whole
    ]  # fmt: skip
    for count in range(1, max(map(len, parts)) + 1):
        names = ["/".join(one[-count:]) for one in parts]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in whole]


@dataclass(frozen=True, slots=True)
class _Data:
    """Annotations, where they are from, and the folder of their images."""

    annotations: Annotations
    path: str
    folder: Path


def _open(source: Source, left: LeftOut) -> _Data:
    """Read the annotations; images that are missing are found before any work."""
    from sodkit.cli.common import note
    from sodkit.data.checking.missing_files import check_images_exist
    from sodkit.data.opening import of_one_subset, open_source

    source = of_one_subset(source, note)
    annotations = open_source(source, left, note)
    folder = source.folder(annotations)
    annotations = left.readable(annotations, folder)
    check_images_exist(annotations.images, folder, "--images")
    return _Data(annotations, str(source.path), folder)


@dataclass(frozen=True, slots=True)
class _Work:
    """What is the same for all checkpoints, see the options."""

    data: _Data
    device: torch.device
    proposals: int
    changes: dict[str, Any]
    score: float | None
    no_split: bool

    def check(self, one: _Chosen) -> None:
        """Raise unless a checkpoint can be read and fits the annotations."""
        from sodkit.analysis.proposal_study import check_fits
        from sodkit.data.records import Category
        from sodkit.engine.checkpoint import read_checkpoint

        info = read_checkpoint(one.file)[1]
        known = [Category(number, name) for number, name in info.categories]
        check_fits(info.recipe, known, self._annotations(known))

    def study(self, one: _Chosen) -> Studied:
        """Return what is known of a checkpoint."""
        from sodkit.analysis.proposal_study import analyze_proposals as analyze
        from sodkit.analysis.proposal_tables import Studied
        from sodkit.cli.common import progress
        from sodkit.cli.predict import chosen_options
        from sodkit.engine.checkpoint import load_checkpoint
        from sodkit.engine.failures import explained
        from sodkit.engine.predict_options import PredictOptions

        loaded = load_checkpoint(one.file, self.device)
        options = chosen_options(
            PredictOptions.of(loaded.recipe), self.changes, {"score": self.score},
            no_split=self.no_split,
        )  # fmt: skip
        with explained("give a smaller --batch or --size"), progress(one.name) as report:
            study = analyze(
                loaded, self._annotations(loaded.categories), self.data.folder,
                device=self.device, limit=self.proposals, options=options, progress=report,
            )  # fmt: skip
        return Studied(one.name, study, one.run, one.epoch)

    def _annotations(self, categories: Sequence[Category]) -> Annotations:
        from sodkit.cli.common import silent
        from sodkit.engine.training_run import with_classes_of

        return with_classes_of(categories, self.data.annotations, self.data.path, silent)


def _as_dict(several: Sequence[Studied], limit: int, images: int) -> dict[str, Any]:
    """Return plain data for JSON."""
    return {
        "limit": limit,
        "images": images,
        "checkpoints": [
            {"name": one.name, "epoch": one.epoch, **one.study.as_dict()} for one in several
        ],
    }


def _print(several: Sequence[Studied], limit: int) -> None:
    """Print recall, good proposals, and what becomes of the objects of each checkpoint."""
    from sodkit.analysis.object_states import SIZES
    from sodkit.cli.tables import print_table
    from sodkit.evaluation.proposal_recall import GOOD_IOU

    known = {one.name: r for one in several if (r := one.study.recall) is not None}
    if known:
        areas = [area.name for area in next(iter(known.values())).protocol.areas]
        recalls = ["AR", *(f"AR_{name}" for name in areas[1:])]
        rows = [(n, *(_cell(r.recall[a][limit], ".3f") for a in areas)) for n, r in known.items()]
        title = f"Average recall of {limit} proposals an image"
        print_table(title, ("checkpoint", *recalls), rows)
        rows = [(n, *(_cell(r.good[a][limit], ".2f") for a in areas)) for n, r in known.items()]
        title = f"Mean number of good proposals (IoU > {GOOD_IOU:g}) an object gets"
        print_table(title, ("checkpoint", *areas), rows)
    for one in several:
        states = one.study.states
        shares = {size: states.shares(size) for size in SIZES if states.count(size)}
        counts = ("objects", *(states.count(size) for size in shares))
        rows = [(name, *(_cell(s[name], ".1%") for s in shares.values())) for name in states.names]
        title = f"What becomes of the objects: {one.name}"
        print_table(title, ("", *shares), [counts, *rows])


def _cell(value: float | None, form: str) -> str | None:
    return None if value is None else format(value, form)


def _left_out(several: Sequence[Studied]) -> Iterator[str]:
    """Yield what the tables do not show."""
    from sodkit.analysis.object_states import STATES

    for one in several:
        missing = [name for name in STATES if name not in one.study.states.names]
        if one.study.recall is None:
            yield f"{one.name}: its detector makes no proposals"
        if missing:
            yield f"{one.name}: not told apart for its detector: {', '.join(missing)}"
    if several[0].study.ignored:
        yield f"left out: {several[0].study.ignored} ignored objects and regions"
