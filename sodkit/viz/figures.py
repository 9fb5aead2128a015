"""What all plots share: colours of the size classes, plain axes, and files that repeat."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sodkit.files import StrPath, atomic_path

COLOURS = ("#d55e00", "#e69f00", "#009e73", "#0072b2")
"""Of eS, rS, gS, N."""
DOTS_PER_INCH = 150
FORMATS = ("png", "svg")


def tidy(axes: Any) -> None:
    """Leave out the frame above and right, and make the marks' texts small."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)


def save_figure(figure: Figure, paths: Sequence[StrPath]) -> None:
    """Write a figure to PNG or SVG files; the same figure gives the same bytes.

    Letters that the font lacks become boxes.
    """
    FigureCanvasAgg(figure)
    for path in map(Path, paths):
        form = path.suffix.lower().removeprefix(".")
        metadata = {"Date": None} if form == "svg" else {}
        with (
            atomic_path(path) as temporary,
            rc_context({"svg.hashsalt": path.name}),
            warnings.catch_warnings(),
        ):
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
            figure.savefig(temporary, dpi=DOTS_PER_INCH, format=form, metadata=metadata)
