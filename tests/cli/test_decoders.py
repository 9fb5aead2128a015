"""What decoders write past Python: counted and summed up, while all else gets through."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from sodkit.cli.decoders import message_of, summary

LOG = "[ WARN:0@0.010] global grfmt_tiff.cpp:123 TIFF_Warning "


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("Corrupt JPEG data: 5 extraneous bytes before marker 0xd9",
         "Corrupt JPEG data: N extraneous bytes before marker N"),
        ("libpng error: IDAT: incorrect data check", "libpng error: IDAT: incorrect data check"),
        (LOG + "TIFFReadDirectory: Unknown field with tag 42112 (0xa480) encountered", ""),
        ("[ERROR:0@0.361] global grfmt_tiff.cpp:117 TIFF_Error Using code not yet in table",
         "Using code not yet in table"),
        ("Warning: unknown JFIF revision number 173.129",
         "Warning: unknown JFIF revision number N.N"),
        ("Inconsistent progression sequence for component 0 coefficient 1",
         "Inconsistent progression sequence for component N coefficient N"),
        ("error: a.png: no such image", None),
        ("Segmentation fault", None),
        ("", None),
    ],
)  # fmt: skip
def test_lines(line: str, what: str | None) -> None:
    assert message_of(line) == what


def test_summary_is_short() -> None:
    assert summary(Counter()) == []
    lines = summary(Counter({f"kind {k}": k + 1 for k in range(9)}))
    assert lines[1] == "  9 x kind 8"
    assert lines[-1] == "  and 4 other messages"


def damaged(path: Path) -> None:
    """Write a JPEG with markers in its data: decoded, in part, and complained about."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    data = bytearray(cv2.imencode(".jpg", pixels)[1].tobytes())
    middle = len(data) // 2
    data[middle : middle + 20] = b"\xff\xd0" * 10
    path.write_bytes(data)


@pytest.mark.parametrize("more", ["", "import os; os.write(2, b'from C\\n');"])
def test_a_damaged_jpeg_as_a_user_sees_it(tmp_path: Path, more: str) -> None:
    damaged(tmp_path / "a.jpg")
    damaged(tmp_path / "b.jpg")
    images = [
        {"id": i, "file_name": name, "width": 60, "height": 40}
        for i, name in enumerate(("a.jpg", "b.jpg", "c.jpg"))
    ]
    ann = tmp_path / "ann.json"
    ann.write_text(json.dumps({"images": images, "annotations": [], "categories": []}))
    code = (
        "import sys; from sodkit.cli import main;"
        f"sys.argv = ['sodkit', 'split', {str(ann)!r}, '--out', {str(tmp_path / 'p')!r}];"
        "made = main.make_app;"
        "main.make_app = lambda **k: (lambda *a, **b: [exec("
        + repr(more)
        + "), made(**k)(*a, **b)]);"
        "main.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    lines = done.stderr.splitlines()
    assert done.returncode == 3, done.stderr
    assert ("from C" in lines) == bool(more)
    assert any(line.startswith("error: ") and "c.jpg" in line for line in lines)
    assert lines[-1] == "  2 x Corrupt JPEG data: premature end of data segment"
    assert sum("has an object" in line for line in lines) == 1
    assert len(lines) == 5 + bool(more), lines


@pytest.mark.parametrize(
    "further",
    ["Apparently should be 1,1.", "  Value 1 of NumberOfInks differs from SamplesPerPixel 3"],
)
def test_further_lines_of_a_message_stay_with_it(further: str) -> None:
    """libtiff writes some messages on two lines; what follows them gets through."""
    write = f"import os; os.write(2, {(LOG + 'odd' + chr(10) + further + chr(10)).encode()!r});"
    program = (
        f"from sodkit.cli.decoders import decoders_quiet\nwith decoders_quiet():\n    {write}"
        " os.write(2, b'from C\\n')"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert further not in run.stderr
    assert "from C" in run.stderr
    assert "1 x odd" in run.stderr
