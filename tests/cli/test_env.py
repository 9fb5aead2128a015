"""``sodkit env``: a table, or JSON."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from sodkit.cli.main import make_app
from sodkit.engine import environment


def test_a_table_and_json() -> None:
    done = CliRunner().invoke(make_app(), ["env"])
    assert done.exit_code == 0
    assert done.stderr == ""
    for word in ("sodkit", "python", "torch", "threads", "jpg", "extras"):
        assert word in done.stdout
    content = json.loads(CliRunner().invoke(make_app(), ["env", "--json"]).stdout)
    assert content["schema_version"] == 1
    assert content["codecs"]["png"] is True


def test_what_fails_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("no driver")

    monkeypatch.setattr(environment, "SECTIONS", {"devices": fail})
    done = CliRunner().invoke(make_app(), ["env"])
    assert done.exit_code == 0
    assert "RuntimeError: no driver" in done.stdout
