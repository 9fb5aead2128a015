"""The command ends quietly on Ctrl-C, whatever it was doing."""

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
