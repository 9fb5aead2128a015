"""Image files that annotations name but that are not there: looked for before long work begins."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from sodkit.data.records import ImageRecord
from sodkit.errors import DataError


def check_images_exist(images: Sequence[ImageRecord], folder: Path, option: str) -> None:
    """Raise DataError naming the first image that is no file.

    Args:
        images: what is about to be read.
        folder: where ``file_name`` starts.
        option: of the command line, that names the folder.
    """
    missing = [one.file_name for one in images if not os.path.isfile(folder / one.file_name)]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(images)} images cannot be found",
            where=folder / missing[0],
            hint=f"{option} DIR says where file_name starts",
        )
