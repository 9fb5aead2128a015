"""The program ends quietly on Ctrl-C, whatever it was doing, and runs with streams closed."""

import os
import subprocess
import sys

import pytest

import sodkit.cli.main
from sodkit.__main__ import main


def test_interrupted_before_a_command_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sodkit.cli.main, "main", interrupted)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
@pytest.mark.parametrize(
    ("arguments", "closed", "code"),
    [
        ("check no.json", "2>&-", 3),
        ("recipes no-such", "2>&-", 2),
        ("recipes", "2>&-", 0),
        ("recipes", ">&-", 0),
        ("check no.json", "<&- >&- 2>&-", 3),
    ],
)
def test_closed_streams_change_no_exit_code(arguments: str, closed: str, code: int) -> None:
    command = f"{sys.executable} -m sodkit {arguments} {closed}"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert done.stderr == ""
    assert ("cfinet" in done.stdout) == (code == 0 and ">&-" not in closed.split())
