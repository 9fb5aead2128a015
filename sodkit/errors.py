"""Everything a user can cause, as exceptions that say what, where and what to do.

The command line prints one of these as a single message and ends with its exit code; the Python
API raises them. Anything else that escapes is a bug of ours.

=====  ======================  ==========================================
code   class                   when
=====  ======================  ==========================================
1      SodkitError             failed while running
2      UsageError              wrong usage: options, settings, paths
3      DataError               bad annotations, images or predictions
4      ModelError              bad recipe weights or checkpoint
5      MissingExtraError       an optional package is not installed
130    (KeyboardInterrupt)     interrupted
143    TerminatedError         ended by SIGTERM
=====  ======================  ==========================================
"""

from __future__ import annotations

from pathlib import Path


class SodkitError(Exception):
    """A failure with a place and a hint.

    Args:
        what: one sentence: what is wrong.
        where: the file (with ``:line`` or a JSON path and id), image or option concerned.
        hint: what the user can do about it.
    """

    exit_code = 1

    def __init__(
        self, what: str, *, where: str | Path | None = None, hint: str | None = None
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = None if where is None else str(where)
        self.hint = hint

    def __str__(self) -> str:
        place = "" if self.where is None else f"{self.where}: "
        advice = "" if self.hint is None else f"\n{self.hint}"
        return f"{place}{self.what}{advice}"


class UsageError(SodkitError):
    """Options, settings or paths that make no sense together."""

    exit_code = 2


class DataError(SodkitError):
    """Annotations, images or predictions that cannot be used."""

    exit_code = 3


class ImageError(DataError):
    """An image file that cannot be read as the annotations state it; ``--skip-bad`` leaves it out.

    Args:
        what: one sentence: what is wrong.
        where: the file.
        hint: what the user can do about it.
    """


class ImageSizeError(ImageError):
    """An image has another size than its annotations say."""


class ModelError(SodkitError):
    """Weights or a checkpoint that do not fit."""

    exit_code = 4


class MissingExtraError(SodkitError):
    """An optional package is missing."""

    exit_code = 5

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"the package '{package}' is not installed",
            hint=f"install it with: pip install 'sodkit[{extra}]'",
        )


class TerminatedError(SodkitError):
    """SIGTERM came: the process was to end."""

    exit_code = 143

    def __init__(self) -> None:
        super().__init__("ended by SIGTERM")


class ReportedError(SodkitError):
    """Another process of the same run reports what went wrong: this one says nothing.

    Args:
        exit_code: what the process ends with.
    """

    def __init__(self, exit_code: int) -> None:
        super().__init__("another process reports what went wrong")
        self.exit_code = exit_code


class DataWarning(UserWarning):
    """Data that are used although something is wrong with them."""
