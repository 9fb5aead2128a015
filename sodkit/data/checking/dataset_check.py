"""Everything wrong with a data set, and its profile.

An *error* is what other commands refuse, what makes images and annotations not fit, or what cannot
have been meant; a *warning* is what they can work with but a user should know. ``check_dataset``
goes on after whatever it finds, so that one run lists all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sodkit.data.checking.check_annotations import empty_images, look_at
from sodkit.data.checking.check_images import image_findings
from sodkit.data.checking.check_profile import Profile, profile_of
from sodkit.data.checking.findings import Finding, one_a_cause
from sodkit.data.formats import collect_annotations, find_images, find_subsets
from sodkit.data.formats.assemble import assemble
from sodkit.data.formats.reading import AS_STATED, Reading
from sodkit.data.formats.recognise import is_plain
from sodkit.data.formats.source import MissingImageError
from sodkit.errors import DataError
from sodkit.files import StrPath

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class CheckReport:
    """What a check found.

    Attributes:
        findings: in the order of the source, those of the annotations first; of one cause one.
        profile: of what is sound, None if nothing could be read.
        images_dir: where images were looked for, None if they were not.
        subsets: of a root folder: the report of each, whose findings ``findings`` has, too.
    """

    findings: tuple[Finding, ...]
    profile: Profile | None
    images_dir: Path | None
    subsets: Mapping[str, CheckReport] = field(default_factory=dict)

    def __repr__(self) -> str:
        images = "nothing read" if self.profile is None else f"{self.profile.images} images"
        counts = f"{self.count('error')} errors, {self.count('warning')} warnings"
        return f"<CheckReport: {counts}; {images}>"

    def count(self, severity: Literal["error", "warning"]) -> int:
        """Return the number of findings of a severity."""
        return sum(item.severity == severity for item in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Return the report for JSON."""
        subsets = {name: report.as_dict() for name, report in self.subsets.items()}
        return {
            "errors": self.count("error"),
            "warnings": self.count("warning"),
            "images_dir": None if self.images_dir is None else str(self.images_dir),
            "findings": [item.as_dict() for item in self.findings],
            "profile": None if self.profile is None else self.profile.as_dict(),
            **({"subsets": subsets} if subsets else {}),
        }


def check_dataset(
    path: StrPath,
    *,
    images: StrPath | None = None,
    format: str | None = None,
    classes: Sequence[str] | None = None,
    reading: Reading = AS_STATED,
    look_at_images: bool = True,
    workers: int | None = None,
    progress: Progress | None = None,
    subset: str | None = None,
    bit_depth: int | None = None,
) -> CheckReport:
    """Find everything wrong with annotations and their images.

    All subsets of a root folder are checked, and compared: an image is in one of them only.

    Args:
        path: annotations of any format that can be read.
        images: where file names start, None: looked for beside ``path``.
        format: of the annotations, None: recognised.
        classes: names that are right, None: those of the source.
        reading: what the user decides where the source can mean two things.
        look_at_images: decode every image; otherwise only annotations are checked.
        workers: threads that decode, None: one a core.
        progress: called with (done, total) images.
        subset: the only one to check.
        bit_depth: bits in use of images of more than 8; None: each by its own range.

    Raises:
        UsageError: an unknown ``format`` or ``subset``.
    """
    path = Path(path)
    images = None if images is None else Path(images)
    options = _Options(
        images, format, classes, reading, look_at_images, workers, progress, bit_depth
    )
    names = [] if subset is not None else _subset_names(path)
    if len(names) < 2:
        return _check_source(path, names[0] if names else subset, options, {})
    earlier: dict[bytes, str] = {}
    reports = {name: _check_source(path, name, options, earlier) for name in names}
    findings = dict.fromkeys(item for part in reports.values() for item in part.findings)
    return CheckReport(tuple(findings), None, None, reports)


@dataclass(frozen=True, slots=True)
class _Options:
    """Arguments of ``check_dataset`` that are the same for all subsets."""

    images: Path | None
    format: str | None
    classes: Sequence[str] | None
    reading: Reading
    look_at_images: bool
    workers: int | None
    progress: Progress | None
    bit_depth: int | None


def _subset_names(path: Path) -> list[str]:
    """Return the subsets of a root folder or YAML, none of another source."""
    try:
        return [] if is_plain(path) else [item.name for item in find_subsets(path)]
    except DataError:
        return []


def _check_source(
    path: Path, subset: str | None, options: _Options, earlier: dict[bytes, str]
) -> CheckReport:
    """Check a source or one subset; ``earlier`` are the images of the subsets before it."""
    findings: list[Finding] = []
    missing: set[str] = set()

    def report(error: DataError, kind: str) -> None:
        findings.append(Finding.of(error, kind))
        if isinstance(error, MissingImageError):
            missing.add(error.stem)

    try:
        source = collect_annotations(
            path, format=options.format, images=options.images, report=report,
            reading=options.reading, subset=subset,
        )  # fmt: skip
        if not findings:
            findings += empty_images(source)
        findings += look_at(source, options.classes)
        own = assemble(source, report, options.reading)
    except DataError as error:
        report(error, "form")
        return CheckReport(tuple(one_a_cause(findings)), None, None)
    findings += [Finding("warning", note.kind, note.what, str(path)) for note in own.notes]
    folder = None
    if options.look_at_images:
        folder = options.images or find_images(path, own, subset=subset)
        there = [image for image in own.images if image.file_name not in missing]
        findings += image_findings(
            there,
            folder,
            workers=options.workers,
            progress=options.progress,
            earlier=earlier,
            bit_depth=options.bit_depth,
        )
    return CheckReport(tuple(one_a_cause(findings)), profile_of(own), folder)
