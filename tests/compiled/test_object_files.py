"""A kept file is named by everything the machine code depends on."""

import numpy as np
import pytest

from sodkit.compiled.object_files import fingerprint

STEP = 2.0


def helper(row: np.ndarray, weight: float) -> tuple[float, int]:
    return row[0] * weight + STEP, len(row)


def total(rows, weight):
    return helper(rows[0], weight)[0]


def test_a_changed_helper_or_constant_changes_the_fingerprint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = fingerprint(total, "f8(f8[:,:], f8)")
    assert fingerprint(total, "f8(f8[:,:], f8)") == before
    monkeypatch.setitem(globals(), "STEP", 3.0)
    assert fingerprint(total, "f8(f8[:,:], f8)") != before
    monkeypatch.undo()

    def other(row: np.ndarray, weight: float) -> tuple[float, int]:
        return row[0] - weight, len(row)

    monkeypatch.setitem(globals(), "helper", other)
    assert fingerprint(total, "f8(f8[:,:], f8)") != before
