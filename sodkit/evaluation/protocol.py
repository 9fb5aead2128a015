"""What is measured: IoU thresholds, area ranges, detections that count, and the named metrics.

``SODA_D`` and ``SODA_A`` are the protocols of the SODA benchmark's release, ``COCO`` is that of
pycocotools. ``customise`` makes others from them, as a recipe's section ``evaluation`` may ask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from sodkit.data.records import BoxKind
from sodkit.errors import UsageError

if TYPE_CHECKING:
    from sodkit.settings import Evaluation


@dataclass(frozen=True, slots=True)
class AreaRange:
    """Objects of ``low`` <= area <= ``high`` px^2 of the original image, both ends included."""

    name: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Metric:
    """A named mean over classes of average precision or of recall.

    Attributes:
        name: as printed, e.g. ``AP_eS``.
        kind: AP: mean over recall points; AR: the recall reached.
        area: the name of the area range.
        max_dets: detections a class and image that count.
        iou: one threshold, or None: the mean over all.
    """

    name: str
    kind: Literal["AP", "AR"]
    area: str
    max_dets: int
    iou: float | None = None


@dataclass(frozen=True, slots=True)
class Protocol:
    """Everything that defines the numbers.

    Attributes:
        name: as on the command line.
        ious: thresholds, ascending, at most 32; an IoU >= min(t, 1 - 1e-10) can match.
        recalls: the recall points at which precision is averaged.
        areas: ranges, at most 32; an object or unmatched detection outside one does not count
            there.
        max_dets: limits a class and image, ascending; matching uses the largest.
        metrics: what is reported, in order.
        crowd: ignored are COCO's crowds (``iscrowd``) and nothing else: they take any number of
            detections, and overlap is measured as the share of the detection that lies inside.
            Else ignored is what is flagged ``ignore``, and ``iscrowd`` has no meaning.
    """

    name: str
    ious: tuple[float, ...]
    recalls: tuple[float, ...]
    areas: tuple[AreaRange, ...]
    max_dets: tuple[int, ...]
    metrics: tuple[Metric, ...]
    crowd: bool = False

    def __repr__(self) -> str:
        areas = ", ".join(area.name for area in self.areas)
        limits = ", ".join(map(str, self.max_dets))
        return (
            f"<Protocol {self.name}: {len(self.metrics)} metrics, IoU {self.ious[0]:g} to "
            f"{self.ious[-1]:g}, {areas}, {limits} detections>"
        )

    def __post_init__(self) -> None:
        if not 1 <= len(self.ious) <= 32 or list(self.ious) != sorted(self.ious):
            raise ValueError("ious must be 1 to 32 ascending thresholds")
        if (
            not self.max_dets
            or self.max_dets[0] < 1
            or list(self.max_dets) != sorted(set(self.max_dets))
        ):
            raise ValueError("max_dets must be ascending and positive")
        if not 1 <= len(self.areas) <= 32:
            raise ValueError("areas must be 1 to 32 ranges")
        for metric in self.metrics:
            self.area_index(metric.area)
            self.max_dets.index(metric.max_dets)
            self.iou_indices(metric.iou)

    def area_index(self, name: str) -> int:
        """Return the place of an area range in ``areas``; ValueError if there is none."""
        return [area.name for area in self.areas].index(name)

    def iou_indices(self, iou: float | None) -> list[int]:
        """Return the places of a threshold in ``ious`` (None: all); ValueError if there is none."""
        if iou is None:
            return list(range(len(self.ious)))
        near = [index for index, value in enumerate(self.ious) if abs(value - iou) < 1e-9]
        if not near:
            raise ValueError(f"no IoU threshold {iou}")
        return near[:1]


# linspace, not arithmetic on decimals: the very doubles that the peers compare with.
COCO_IOUS = tuple(float(iou) for iou in np.linspace(0.5, 0.95, 10))
COCO_RECALLS = tuple(float(recall) for recall in np.linspace(0.0, 1.0, 101))

SODA_AREAS = (
    AreaRange("Small", 0.0, 32.0**2),
    AreaRange("eS", 0.0, 12.0**2),
    AreaRange("rS", 12.0**2, 20.0**2),
    AreaRange("gS", 20.0**2, 32.0**2),
    AreaRange("N", 32.0**2, 40.0 * 50.0),
)
"""AP, AP50 and AP75 of SODA are over ``Small``; larger objects count nowhere."""

COCO_AREAS = (
    AreaRange("all", 0.0, 1e5**2),
    AreaRange("small", 0.0, 32.0**2),
    AreaRange("medium", 32.0**2, 96.0**2),
    AreaRange("large", 96.0**2, 1e5**2),
)


def _metrics(areas: Sequence[AreaRange], limits: Sequence[int], precision: int) -> list[Metric]:
    """Return AP (three of the first range, one of each other) and AR in the same way.

    Args:
        areas: the ranges; the first one is the main one.
        limits: detections a class and image; AR of each, AR by range of the last.
        precision: the limit that AP is measured at.
    """
    main, *others = areas
    return [
        Metric("AP", "AP", main.name, precision),
        Metric("AP50", "AP", main.name, precision, 0.5),
        Metric("AP75", "AP", main.name, precision, 0.75),
        *(Metric(f"AP_{area.name}", "AP", area.name, precision) for area in others),
        *(Metric(f"AR@{limit}", "AR", main.name, limit) for limit in limits),
        *(Metric(f"AR_{area.name}", "AR", area.name, limits[-1]) for area in others),
    ]


def _protocol(
    name: str,
    areas: tuple[AreaRange, ...],
    max_dets: tuple[int, ...],
    precision: int,
    *,
    crowd: bool = False,
) -> Protocol:
    metrics = tuple(_metrics(areas, max_dets, precision))
    return Protocol(name, COCO_IOUS, COCO_RECALLS, areas, max_dets, metrics, crowd)


SODA_D = _protocol("soda-d", SODA_AREAS, (100, 300, 1000), 100)
SODA_A = _protocol("soda-a", SODA_AREAS, (20000,), 20000)
COCO = _protocol("coco", COCO_AREAS, (1, 10, 100), 100, crowd=True)

PROTOCOLS: Mapping[str, Protocol] = {one.name: one for one in (SODA_D, SODA_A, COCO)}
"""The protocols by the names of the command line."""


def protocol_for(kind: BoxKind) -> Protocol:
    """Return SODA's protocol for a kind of box: ``soda-a`` if oriented, else ``soda-d``."""
    return SODA_A if kind == "oriented" else SODA_D


def protocol_named(name: str) -> Protocol:
    """Return a built-in protocol; UsageError names the known ones."""
    if name not in PROTOCOLS:
        raise UsageError(f"no protocol named '{name}'", hint=f"known: {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def protocol_of(settings: Evaluation, kind: BoxKind) -> Protocol:
    """Return the protocol that a recipe's section ``evaluation`` asks for.

    Args:
        settings: the section.
        kind: of the data's boxes; decides where the section names no protocol.

    Raises:
        UsageError: as ``customise``.
    """
    base = protocol_for(kind) if settings.protocol is None else protocol_named(settings.protocol)
    if settings.areas is None and settings.max_dets is None:
        return base
    name = f"{base.name} (custom)"
    return customise(base, name, areas=settings.areas, max_dets=settings.max_dets)


def customise(
    base: Protocol,
    name: str,
    *,
    areas: Mapping[str, tuple[float, float]] | None = None,
    max_dets: Sequence[int] | None = None,
) -> Protocol:
    """Return a protocol with other area ranges or limits.

    AP, AP50, AP75 and AR@N are over the first range, AP_X and AR_X over each other range X. AP is
    measured at the limit where ``base`` measures it, or at the largest new one if that is gone.

    Args:
        base: gives thresholds, recall points and whatever is not stated.
        name: the new protocol's.
        areas: name -> (low, high) in px^2, the main range first.
        max_dets: detections a class and image that count; any order.

    Raises:
        UsageError: an empty or inverted range, none or more than 32, or a limit below 1.
    """
    ranges = base.areas
    if areas is not None:
        ranges = tuple(
            AreaRange(key, float(low), float(high)) for key, (low, high) in areas.items()
        )
        wrong = [one.name for one in ranges if not 0 <= one.low < one.high]
        if wrong or not ranges:
            raise UsageError(
                f"area range {wrong[0]} is empty" if wrong else "there is no area range"
            )
        if len(ranges) > 32:
            raise UsageError(f"{len(ranges)} area ranges are too many", hint="at most 32")
    limits = base.max_dets if max_dets is None else tuple(sorted(set(max_dets)))
    if not limits or limits[0] < 1:
        raise UsageError("a limit of detections must be 1 or more")
    at = next(metric.max_dets for metric in base.metrics if metric.kind == "AP")
    metrics = tuple(_metrics(ranges, limits, at if at in limits else limits[-1]))
    return replace(base, name=name, areas=ranges, max_dets=limits, metrics=metrics)
