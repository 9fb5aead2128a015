"""Prediction into a file, image by image, that goes on where it was ended."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from sodkit._version import __version__
from sodkit.data.images.pixel_source import (
    FrameSource,
    OpenImage,
    PixelSource,
    Unreadable,
    file_source,
)
from sodkit.data.images.video import VideoReader
from sodkit.data.left_out import LeftOut
from sodkit.data.records import ImageRecord
from sodkit.engine.checkpoint import Checkpoint
from sodkit.engine.journal import Journal
from sodkit.engine.predict import predict_results
from sodkit.engine.predict_options import PredictOptions
from sodkit.engine.targets import Targets
from sodkit.engine.world import ALONE, World
from sodkit.errors import DataError

_IDLE = ("readers",)
"""Options that the results do not depend on."""


def run_identity(
    checkpoint: Path, targets: Targets, options: PredictOptions, device: torch.device
) -> dict[str, str]:
    """Return what predictions depend on, by name: the same again gives the same file.

    Args:
        checkpoint: the file.
        targets: images and classes; an image file counts by name, length and time of change.
        options: windows and merging.
        device: numbers differ between kinds of devices in their last bits.
    """
    with checkpoint.open("rb") as file:
        weights = hashlib.file_digest(file, "sha256").hexdigest()
    own = {**asdict(options), "keep": options.keep.model_dump()}
    for name in _IDLE:
        del own[name]
    return {
        "checkpoint": weights,
        "images": _digest([_image_state(targets, image) for image in targets.images]),
        "records": _digest([asdict(image) for image in targets.images]),
        "classes": _digest([[asdict(c) for c in targets.categories], targets.labels]),
        "options": json.dumps(own, sort_keys=True),
        "device": device.type,
        "version of sodkit": __version__,
    }


def _image_state(targets: Targets, image: ImageRecord) -> list[object]:
    frame = targets.frames.get(image.id)
    path = targets.folder / image.file_name if frame is None else frame.path
    try:
        state = path.stat()
    except OSError:
        return [str(path)]
    return [str(path), state.st_size, state.st_mtime_ns]


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def target_images(targets: Targets, options: PredictOptions) -> OpenImage:
    """Return what gives the pixels of targets: files, or frames of videos in ascending order."""
    readers: dict[Path, VideoReader] = {}

    def open_image(image: ImageRecord) -> PixelSource:
        frame = targets.frames.get(image.id)
        size = (image.width, image.height)
        if frame is None:
            path = targets.folder / image.file_name
            return file_source(path, size, bands=options.bands, bit_depth=options.bit_depth)
        try:
            if frame.path not in readers:
                readers.clear()  # one video is open at a time
                readers[frame.path] = VideoReader(frame.path)
            return FrameSource(readers[frame.path].read(frame.number), size, frame, options.bands)
        except DataError as error:
            return Unreadable(error)

    return open_image


def predict_into(
    journal: Journal,
    loaded: Checkpoint,
    targets: Targets,
    *,
    device: torch.device,
    options: PredictOptions,
    left: LeftOut,
    progress: Callable[[int, int], None] = lambda done, total: None,
    open_image: OpenImage | None = None,
    world: World = ALONE,
) -> Targets:
    """Predict on the images that a journal lacks, and add each as soon as it is done.

    Args:
        journal: of these images.
        loaded: the checkpoint.
        targets: what to predict on.
        device: where to compute.
        options: windows and merging.
        left: collects the images that cannot be read, or raises.
        progress: called with (images done, images in all).
        open_image: gives the pixels of an image; None: the file or frame of the targets.
        world: the processes; this is the first one, the others call ``help_first``.

    Returns:
        the targets that could be read.

    Raises:
        DataError: an image that cannot be read and may not be left out, or none can be read.
        ModelError: the detector returns what cannot be.
        SodkitError: the disk is full.
    """
    images, classes = targets.images, len(loaded.categories)
    bad: list[int] = []
    for image, error in journal.errors():
        left.image(error)
        bad.append(image.id)
    stream = predict_results(
        loaded.detector, loaded.recipe, images, open_image or target_images(targets, options),
        device=device, options=options, classes=classes,
        first=world.from_first(lambda: journal.done), world=world,
    )  # fmt: skip
    for image, found in stream:
        if isinstance(found, DataError):
            left.image(found)
            bad.append(image.id)
            journal.add(found)
        elif options.proposals is not None:
            journal.add(found.parts())
        else:
            journal.add(targets.chosen(part, classes) for part in found.parts())
        progress(journal.done, len(images))
    left.check_some_left(len(images) - len(bad), len(images))
    return targets.without(bad)


def help_first(
    loaded: Checkpoint,
    targets: Targets,
    device: torch.device,
    options: PredictOptions,
    *,
    world: World,
    open_image: OpenImage | None = None,
) -> None:
    """Compute the share of a process that is not the first one; see ``predict_into``."""
    first = world.from_first(lambda: 0)  # what the first process says: where it goes on
    stream = predict_results(
        loaded.detector, loaded.recipe, targets.images,
        open_image or target_images(targets, options), device=device, options=options,
        classes=len(loaded.categories), first=first, world=world,
    )  # fmt: skip
    for _ in stream:
        pass
