from __future__ import annotations

import sys

import pytest

from sodkit.cli.main import make_app
from sodkit.cli.together import is_one_of_many, run_together


def test_torchruns_variables_decide() -> None:
    assert is_one_of_many({"WORLD_SIZE": "2"})
    assert not is_one_of_many({})
    assert not is_one_of_many({"WORLD_SIZE": "1"})


@pytest.mark.parametrize("first", [True, False])
def test_other_commands_run_in_one_process(first: bool, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        run_together(make_app, ["eval", "a", "b"], first=first)
    assert error.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert ("sodkit eval runs in one process" in printed.err) is first


@pytest.mark.parametrize(
    ("arguments", "code", "stream"), [(["train", "--nonsense"], 2, "err"), (["--help"], 0, "out")]
)
def test_usage_and_help_are_printed_by_the_first(
    arguments: list[str],
    code: int,
    stream: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for first in (True, False):
        monkeypatch.setattr(sys, "stdout", sys.stdout)
        monkeypatch.setattr(sys, "stderr", sys.stderr)
        with pytest.raises(SystemExit) as error:
            run_together(make_app, arguments, first=first)
        monkeypatch.undo()
        assert error.value.code == code
        printed = capsys.readouterr()
        assert bool(getattr(printed, stream)) is first
        assert printed.out == "" if stream == "err" else printed.err == ""


def test_errors_of_a_command_are_each_processs_own_to_print(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    with pytest.raises(SystemExit) as error:
        run_together(make_app, ["train", "--resume", "nowhere"], first=False)
    monkeypatch.undo()
    assert error.value.code == 2
    assert "holds no training run" in capsys.readouterr().err
