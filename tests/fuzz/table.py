"""All readers under test."""

from __future__ import annotations

from . import annotations, images, predictions, settings, weights

READERS = (
    *annotations.READERS,
    *predictions.READERS,
    *settings.READERS,
    *weights.READERS,
    *images.READERS,
)
