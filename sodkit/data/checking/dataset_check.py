"""Everything wrong with a data set, and its profile.

An *error* is what other commands refuse, what makes images and annotations not fit, or what cannot
have been meant; a *warning* is what they can work with but a user should know. ``check_dataset``
goes on after whatever it finds, so that one run lists all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sodkit.data.checking.check_annotations import look_at
from sodkit.data.checking.check_images import image_findings
from sodkit.data.checking.check_profile import Profile, profile_of
from sodkit.data.checking.findings import Finding
from sodkit.data.formats import collect_annotations, find_images
from sodkit.data.formats.assemble import assemble
from sodkit.data.formats.reading import AS_STATED, Reading
from sodkit.data.formats.source import MissingImageError
from sodkit.errors import DataError

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class CheckReport:
    """What a check found.

    Attributes:
        findings: in the order of the source, those of the annotations first.
        profile: of what is sound, None if nothing could be read.
        images_dir: where images were looked for, None if they were not.
    """

    findings: tuple[Finding, ...]
    profile: Profile | None
    images_dir: Path | None

    def count(self, severity: Literal["error", "warning"]) -> int:
        """Return the number of findings of a severity."""
        return sum(item.severity == severity for item in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Return the report for JSON."""
        return {
            "errors": self.count("error"),
            "warnings": self.count("warning"),
            "images_dir": None if self.images_dir is None else str(self.images_dir),
            "findings": [item.as_dict() for item in self.findings],
            "profile": None if self.profile is None else self.profile.as_dict(),
        }


def check_dataset(
    path: Path,
    *,
    images: Path | None = None,
    format: str | None = None,
    classes: Sequence[str] | None = None,
    reading: Reading = AS_STATED,
    look_at_images: bool = True,
    workers: int | None = None,
    progress: Progress | None = None,
) -> CheckReport:
    """Find everything wrong with annotations and their images.

    Args:
        path: annotations of any format that can be read.
        images: where file names start, None: looked for beside ``path``.
        format: of the annotations, None: recognised.
        classes: names that are right, None: those of the source.
        reading: what the user decides where the source can mean two things.
        look_at_images: decode every image; otherwise only annotations are checked.
        workers: threads that decode, None: one a core.
        progress: called with (done, total) images.

    Raises:
        UsageError: an unknown ``format``.
    """
    findings: list[Finding] = []
    missing: set[str] = set()

    def report(error: DataError, kind: str) -> None:
        findings.append(Finding.of(error, kind))
        if isinstance(error, MissingImageError):
            missing.add(error.stem)

    try:
        source = collect_annotations(
            path, format=format, images=images, report=report, reading=reading
        )
        findings += look_at(source, classes)
        own = assemble(source, report, reading)
    except DataError as error:
        report(error, "form")
        return CheckReport(tuple(findings), None, None)
    findings += [Finding("warning", note.kind, note.what, str(path)) for note in own.notes]
    folder = None
    if look_at_images:
        folder = find_images(path, own) if images is None else images
        there = [image for image in own.images if image.file_name not in missing]
        findings += image_findings(there, folder, workers=workers, progress=progress)
    return CheckReport(tuple(findings), profile_of(own), folder)
