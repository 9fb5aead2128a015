"""Where the AP is lost, as rows of a page."""

from __future__ import annotations

from collections.abc import Sequence

from sodkit.evaluation.tide import ERRORS, Tide

EXPLAINED = {
    "classification": "on an object of another class (IoU .5 or more)",
    "localisation": "right class, but IoU with its object between .1 and .5",
    "both": "another class, and IoU between .1 and .5",
    "duplicate": "on an object that a better-scored detection found already",
    "background": "on nothing: IoU below .1 with every object",
    "missed": "objects that no detection comes near",
}


def losses(tides: Sequence[Tide]) -> list[dict[str, object]]:
    """Return one entry for each error type: for each run dAP, length of its bar, and count."""
    longest = max([tide.gain[name] or 0.0 for tide in tides for name in ERRORS] + [1e-9])
    return [
        {
            "name": name,
            "bars": [
                {
                    "gain": tide.gain[name],
                    "length": 100 * (tide.gain[name] or 0.0) / longest,
                    "count": tide.count[name],
                }
                for tide in tides
            ],
        }
        for name in ERRORS
    ]
