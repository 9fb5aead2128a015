from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from sodkit.cli import common
from sodkit.errors import DataError, MissingExtraError, ModelError, SodkitError, UsageError


def run(error: BaseException, *, debug: bool = False) -> tuple[int, str]:
    app = typer.Typer(pretty_exceptions_enable=False)

    def fail() -> None:
        raise error

    app.command()(common.guarded(fail, debug=debug))
    result = CliRunner().invoke(app, [])
    return result.exit_code, result.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SodkitError("failed"), 1),
        (UsageError("wrong"), 2),
        (DataError("bad"), 3),
        (ModelError("misfit"), 4),
        (MissingExtraError("rasterio", "geo"), 5),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_codes(error: BaseException, code: int) -> None:
    assert run(error)[0] == code


def test_an_error_is_what_where_and_hint() -> None:
    error = DataError("box is [inverted]", where="a.json: annotations[3] (id 7)", hint="swap them")
    assert run(error)[1] == "error: a.json: annotations[3] (id 7): box is [inverted]\n  swap them\n"


def test_full_memory_is_an_error_of_ours() -> None:
    hint = "\n  close other programs, or give fewer images\n"
    assert run(MemoryError("8 GiB")) == (1, f"error: the memory is full: 8 GiB{hint}")
    assert run(MemoryError()) == (1, f"error: the memory is full{hint}")


def test_debug_lets_the_error_through() -> None:
    app = typer.Typer(pretty_exceptions_enable=False)

    def fail() -> None:
        raise DataError("bad")

    app.command()(common.guarded(fail, debug=True))
    assert isinstance(CliRunner().invoke(app, []).exception, DataError)


def test_json_has_a_schema_version_and_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    common.print_json({"a": None})
    assert json.loads(capsys.readouterr().out) == {"schema_version": 1, "a": None}
    with pytest.raises(ValueError, match="not JSON compliant"):
        common.print_json({"a": float("nan")})


def test_progress_is_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with common.progress("working") as report:
        report(1, 2)
    assert capsys.readouterr() == ("", "")


def test_progress_is_a_line_each_half_minute_without_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(common.time, "monotonic", lambda: now)
    with common.progress("splitting") as report:
        for done in range(101):
            now = done * 10.0
            report(done, 100)
        report(0, 10)  # of the next subset
        now += 31
        report(0, 10)
        now += 31
        report(4, 10)
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[:2] == ["splitting: 3/100, 0:16:10 left", "splitting: 6/100, 0:15:40 left"]
    assert len(lines) == 33 + 2
    assert lines[-2:] == ["splitting: 0/10", "splitting: 4/10, 0:01:33 left"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00:00"), (59.9, "0:00:59"), (3661, "1:01:01"), (360000, "100:00:00")],
)
def test_clock(seconds: float, text: str) -> None:
    assert common.clock(seconds) == text
