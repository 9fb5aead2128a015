from __future__ import annotations

import subprocess
import sys

import pytest

import sodkit


@pytest.mark.parametrize("name", [n for n in sodkit.__all__ if n != "__version__"])
def test_public_names_are_there_and_say_what_they_are(name: str) -> None:
    thing = getattr(sodkit, name)
    assert thing.__doc__
    assert name in dir(sodkit)


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        sodkit.nothing  # noqa: B018


def test_python_m_sodkit_and_version() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sodkit", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"sodkit {sodkit.__version__}\n"


def test_debug_may_stand_anywhere() -> None:
    command = [sys.executable, "-m", "sodkit", "eval", "no.json", "no.json"]
    plain = subprocess.run(command, capture_output=True, text=True, check=False)
    assert plain.returncode == 3
    assert "Traceback" not in plain.stderr
    loud = subprocess.run([*command, "--debug"], capture_output=True, text=True, check=False)
    assert "Traceback" in loud.stderr
