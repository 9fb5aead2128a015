"""What the synthetic objects and the clutter around them look like: polygons with colours.

A shape lives in the unit square: x along its length, y across, both in [-0.5, 0.5]; its silhouette
touches all four sides, so the square scaled to (length, width) is its oriented box. Colours are
RGB 0..255 as floats. Clutter has the size, contrast and rough form of objects but another build;
it is never labelled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sodkit.arrays import FloatArray

Colour = tuple[float, float, float]
Rng = np.random.Generator

PAINTS: tuple[Colour, ...] = (
    (238, 238, 236),
    (196, 200, 204),
    (52, 54, 60),
    (178, 32, 34),
    (34, 74, 156),
    (222, 176, 40),
    (38, 110, 84),
)
DARK: Colour = (30, 34, 40)


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A polygon (K, 2) in unit coordinates and its colour."""

    points: FloatArray
    colour: Colour


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """A thing to paint.

    Attributes:
        silhouette: polygons (K, 2) whose union is the thing.
        layers: painted in order, cut to the silhouette.
        base: colour of what no layer covers.
        aspect: length / width.
        height: length of its shadow in parts of its width.
    """

    silhouette: tuple[FloatArray, ...]
    layers: tuple[Layer, ...]
    base: Colour
    aspect: float
    height: float


def car(rng: Rng) -> Shape:
    """A car: rounded body, dark windscreens, a lighter roof."""
    paint = _pick(rng, PAINTS)
    layers = (
        Layer(_box(0.14, 0.30, -0.38, 0.38), DARK),
        Layer(_box(-0.40, -0.27, -0.36, 0.36), DARK),
        Layer(_box(-0.26, 0.13, -0.36, 0.36), _shade(paint, 1.12)),
        Layer(_box(0.44, 0.5, -0.42, -0.2), (250, 246, 210)),
        Layer(_box(0.44, 0.5, 0.2, 0.42), (250, 246, 210)),
    )
    return Shape((_superellipse(4.5),), layers, paint, rng.uniform(1.8, 2.1), 0.35)


def lorry(rng: Rng) -> Shape:
    """A lorry: a coloured cab, a gap, a long box with ribs."""
    paint = _pick(rng, PAINTS[3:])
    load = _pick(rng, ((236, 234, 226), (214, 208, 190), (120, 150, 176)))
    ribs = tuple(
        Layer(_box(x, x + 0.025, -0.5, 0.5), _shade(load, 0.74)) for x in (-0.3, -0.1, 0.1)
    )
    layers = (
        Layer(_box(-0.5, 0.22, -0.5, 0.5), load),
        *ribs,
        Layer(_box(0.22, 0.27, -0.5, 0.5), DARK),
        Layer(_box(0.40, 0.45, -0.40, 0.40), DARK),
    )
    return Shape((_box(-0.5, 0.5, -0.5, 0.5),), layers, paint, rng.uniform(2.8, 3.3), 0.6)


def boat(rng: Rng) -> Shape:
    """A boat: pointed white hull, wooden deck, dark cockpit."""
    trim = _pick(rng, ((34, 74, 156), (178, 32, 34), (30, 34, 40), (38, 110, 84)))
    layers = (
        Layer(0.8 * _hull(), (176, 122, 70)),
        Layer(_box(-0.30, -0.06, -0.22, 0.22), DARK),
        Layer(_box(0.0, 0.14, -0.24, 0.24), (240, 240, 238)),
        Layer(_box(-0.5, -0.42, -0.5, 0.5), trim),
    )
    return Shape((_hull(),), layers, (244, 244, 240), rng.uniform(2.3, 2.8), 0.25)


def plane(rng: Rng) -> Shape:
    """A light aircraft: fuselage, straight wings, coloured tail and wing tips."""
    trim = _pick(rng, ((200, 40, 40), (30, 80, 170), (230, 140, 30)))
    wings = _box(-0.02, 0.26, -0.5, 0.5)
    tail = _box(-0.5, -0.33, -0.22, 0.22)
    body = 0.5 * np.array([[1, -0.1], [1, 0.1], [0.7, 0.22], [-1, 0.12], [-1, -0.12], [0.7, -0.22]])
    layers = (
        Layer(tail, trim),
        Layer(_box(-0.02, 0.26, -0.5, -0.38), trim),
        Layer(_box(-0.02, 0.26, 0.38, 0.5), trim),
        Layer(body, (250, 250, 250)),
        Layer(_box(0.26, 0.36, -0.07, 0.07), DARK),
    )
    return Shape((wings, tail, body), layers, (226, 228, 232), rng.uniform(0.92, 1.0), 0.18)


def silo(rng: Rng) -> Shape:
    """A round silo: a cone of light and dark sectors around a hatch, seen from above."""
    paint = _pick(rng, ((232, 230, 222), (200, 184, 152), (168, 176, 184), (178, 120, 92)))
    turns = np.arange(24) / 24 * 2 * np.pi
    lights = 0.86 + 0.22 * np.cos(turns - 0.8)
    sectors = tuple(
        Layer(_sector(turn, 2 * np.pi / 24), _shade(paint, light))
        for turn, light in zip(turns, lights, strict=True)
    )
    layers = (*sectors, Layer(0.2 * _disc(), _shade(paint, 0.55)))
    return Shape((_disc(),), layers, paint, 1.0, 0.55)


def parasol(rng: Rng) -> Shape:
    """A parasol: eight sectors, coloured and white in turn."""
    paint = _pick(rng, ((208, 36, 44), (24, 92, 180), (240, 170, 20), (20, 130, 80)))
    eighth = 2 * np.pi / 8
    sectors = tuple(
        Layer(_sector(k * eighth, eighth), paint if k % 2 else (248, 246, 240)) for k in range(8)
    )
    return Shape((_disc(8),), sectors, paint, 1.0, 0.45)


OBJECTS: dict[str, Callable[[Rng], Shape]] = {
    "car": car,
    "lorry": lorry,
    "boat": boat,
    "plane": plane,
    "silo": silo,
    "parasol": parasol,
}
"""The classes, in the order of their labels."""


def bush(rng: Rng) -> Shape:
    """A round bush: like a silo or parasol, but ragged and green throughout."""
    green = _pick(rng, ((70, 98, 52), (86, 108, 58), (52, 82, 48)))
    outline = _blob(rng, 0.16)
    layers = (
        Layer(0.75 * outline + np.array([0.06, -0.08]), _shade(green, 1.22)),
        Layer(0.35 * outline + np.array([0.14, -0.16]), _shade(green, 1.45)),
    )
    return Shape((outline,), layers, green, rng.uniform(1.0, 1.25), 0.4)


def vent(rng: Rng) -> Shape:
    """An air conditioning unit: like a car, but square, grey, with a fan."""
    grey = _shade((176, 178, 178), rng.uniform(0.75, 1.15))
    layers = (
        Layer(0.74 * _disc(), _shade(grey, 0.5)),
        Layer(0.26 * _disc(), _shade(grey, 0.9)),
    )
    return Shape((_box(-0.5, 0.5, -0.5, 0.5),), layers, grey, rng.uniform(1.0, 1.3), 0.3)


def mark(rng: Rng) -> Shape:
    """A painted cross: like a plane, but flat and symmetric."""
    white = _shade((232, 230, 222), rng.uniform(0.82, 1.0))
    arms = (_box(-0.5, 0.5, -0.1, 0.1), _box(-0.1, 0.1, -0.5, 0.5))
    return Shape(arms, (), white, 1.0, 0.0)


def slab(rng: Rng) -> Shape:
    """A concrete slab or hatch: like a lorry's box, without a cab."""
    grey = _shade((160, 156, 148), rng.uniform(0.7, 1.25))
    layers = (Layer(_box(-0.40, 0.40, -0.36, 0.36), _shade(grey, 0.9)),)
    return Shape((_box(-0.5, 0.5, -0.5, 0.5),), layers, grey, rng.uniform(1.6, 3.2), 0.12)


def rock(rng: Rng) -> Shape:
    """A rock or a crest of foam: ragged, pale, longish like a boat."""
    grey = _pick(rng, ((186, 182, 174), (140, 134, 126), (214, 216, 216)))
    outline = _blob(rng, 0.22)
    layers = (Layer(0.6 * outline + np.array([0.05, -0.1]), _shade(grey, 1.14)),)
    return Shape((outline,), layers, grey, rng.uniform(1.2, 2.4), 0.2)


def stain(rng: Rng) -> Shape:
    """A puddle or oil stain: dark and flat, like a dark car."""
    dark = _shade((58, 60, 62), rng.uniform(0.8, 1.3))
    return Shape((_blob(rng, 0.2),), (), dark, rng.uniform(1.2, 2.2), 0.0)


CLUTTER: tuple[Callable[[Rng], Shape], ...] = (bush, vent, mark, slab, rock, stain)
FLOATING: tuple[Callable[[Rng], Shape], ...] = (bush, slab, rock, rock)
"""Clutter on water: weed, rafts, rocks and foam."""


def _pick(rng: Rng, colours: tuple[Colour, ...]) -> Colour:
    """Pick a colour and vary it a little."""
    return _shade(colours[int(rng.integers(len(colours)))], rng.uniform(0.88, 1.08))


def _shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(255.0, part * factor) for part in colour)
    return red, green, blue


def _box(x0: float, x1: float, y0: float, y1: float) -> FloatArray:
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def _disc(corners: int = 32) -> FloatArray:
    """A regular polygon of diameter 1 with corners on both axes."""
    turns = np.arange(corners) / corners * 2 * np.pi
    return 0.5 * np.stack([np.cos(turns), np.sin(turns)], axis=1)


def _superellipse(power: float) -> FloatArray:
    """A rectangle with round corners."""
    turns = np.arange(28) / 28 * 2 * np.pi
    circle = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    return np.asarray(0.5 * np.sign(circle) * np.abs(circle) ** (2 / power))


def _hull() -> FloatArray:
    right = [[0.5, 0.0], [0.36, 0.22], [0.14, 0.42], [-0.1, 0.5], [-0.4, 0.46], [-0.5, 0.38]]
    left = [[x, -y] for x, y in reversed(right) if y > 0]
    return np.array(right + left)


def _sector(start: float, width: float) -> FloatArray:
    turns = start + np.array([0.0, 0.5, 1.0]) * width
    rim = 0.55 * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    return np.concatenate([np.zeros((1, 2)), rim])


def _blob(rng: Rng, raggedness: float) -> FloatArray:
    """A ragged disc that touches all four sides of the unit square."""
    turns = np.arange(14) / 14 * 2 * np.pi
    radii = 1 + raggedness * rng.uniform(-1, 1, 14)
    points = np.stack([radii * np.cos(turns), radii * np.sin(turns)], axis=1)
    low, high = points.min(axis=0), points.max(axis=0)
    return np.asarray((points - low) / (high - low) - 0.5)
