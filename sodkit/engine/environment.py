"""What matters for a bug report: versions, machine, devices, compiled kernels, codecs, extras."""

from __future__ import annotations

import os
import platform
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from types import FunctionType
from typing import cast

from sodkit._version import __version__

Value = str | int | float | bool | None
Section = dict[str, Value]

FORMATS = (".jpg", ".png", ".tif", ".jp2", ".webp", ".bmp", ".avif")
"""Image formats, by suffix, that are tried."""

GB = 1e9


def environment() -> dict[str, Section]:
    """Return the environment by section.

    It raises nothing: a section that cannot be found out has one key ``error``.
    """
    return {name: _tried(find) for name, find in SECTIONS.items()}


def _tried(find: Callable[[], Section]) -> Section:
    try:
        return find()
    except Exception as error:  # a broken installation is what a report is about
        return {"error": f"{type(error).__name__}: {error}"}


def _versions() -> Section:
    """Return the version of each package that sodkit needs; None: it is missing."""
    own: Section = {"sodkit": __version__, "python": platform.python_version()}
    return own | {name: _version(name) for name in _requirements().get("", ())}


def _extras() -> Section:
    """Return for each extra ``installed``, or which of its packages are missing."""
    missing = {
        extra: [name for name in names if _version(name) is None]
        for extra, names in _requirements().items()
        if extra
    }
    return {
        extra: f"missing: {', '.join(names)}" if names else "installed"
        for extra, names in missing.items()
    }


def _requirements() -> Mapping[str, list[str]]:
    """Return the packages of each extra, those that are always needed under the empty name."""
    found = defaultdict[str, list[str]](list)
    for line in metadata.requires("sodkit") or ():
        name = re.match(r"[\w.-]+", line)
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)", line)
        if name is not None:
            found[extra[1] if extra else ""].append(name[0])
    return found


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _machine() -> Section:
    """Return the system, its cores and its memory."""
    found: Section = {"system": platform.platform(), "machine": platform.machine()}
    found["cores"] = os.cpu_count()
    if hasattr(os, "sched_getaffinity"):
        found["cores_usable"] = len(os.sched_getaffinity(0))
    if hasattr(os, "sysconf"):
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        found["memory_gb"] = round(memory / GB, 1)
    return found


def _devices() -> Section:
    """Return what PyTorch computes on: its name, and of a GPU the memory."""
    import torch

    found: Section = {"cpu": f"{torch.get_num_threads()} threads"}
    found["cuda_of_torch"] = torch.version.cuda
    for index in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(index)
        found[f"cuda:{index}"] = f"{card.name}, {card.total_memory / GB:.1f} GB"
    if torch.backends.mps.is_available():
        found["mps"] = "available"
    return found


def _kernels() -> Section:
    """Return where compiled loops are kept, whether that folder can be used, and how many are."""
    from sodkit.compiled.object_files import files, find_place

    paths = files(cast(FunctionType, find_place), "probe")
    place = find_place(paths)
    if not isinstance(place, Path):
        why = "no folder can be written to" if place is None else str(place)
        return {"usable": False, "why": f"{why}: each process compiles anew, which takes seconds"}
    beside = place.parent.name == "__pycache__"
    folder = place.parents[2] if beside else place.parent
    kept = folder.rglob("__pycache__/*.o") if beside else folder.glob("*.o")
    return {"usable": True, "folder": str(folder), "files": len(list(kept))}


def _codecs() -> Section:
    """Return OpenCV's version, and for each format whether it can be written and read."""
    import cv2
    import numpy as np

    image = np.zeros((64, 64, 3), np.uint8)  # JPEG 2000 refuses smaller ones

    def works(suffix: str) -> bool:
        if not cv2.haveImageWriter(f"probe{suffix}"):
            return False
        try:
            done, data = cv2.imencode(suffix, image)
            return bool(done) and cv2.imdecode(data, cv2.IMREAD_COLOR) is not None
        except cv2.error:
            return False

    opencv: Section = {"opencv": cv2.__version__}
    return opencv | {suffix.removeprefix("."): works(suffix) for suffix in FORMATS}


SECTIONS: Mapping[str, Callable[[], Section]] = {
    "versions": _versions,
    "machine": _machine,
    "devices": _devices,
    "kernels": _kernels,
    "codecs": _codecs,
    "extras": _extras,
}
"""How each section is found out."""
