"""Run the tests at the lowest versions that pyproject.toml allows, and at the newest.

    python benchmarks/versions.py --csv benchmarks/results/versions.csv

For each of the two a virtual environment is made in a temporary folder (3 to 8 GB while it is
there), sodkit is installed into it with the test tools, and the tests run. ``lowest`` takes of
every package that pyproject.toml names the oldest release that its bound allows and that has a
wheel for this Python; what those packages need themselves is as new as they allow. ``newest`` takes
the newest of everything. The exit code is 1 if a test failed in either. What follows ``--`` goes to
pytest.
"""

from __future__ import annotations

import argparse
import csv
import platform
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import astuple, dataclass, fields
from pathlib import Path

ROOT = Path(__file__).parents[1]
SETS = ("lowest", "newest")


@dataclass(frozen=True)
class Outcome:
    """One row of the table: what was installed, and what pytest said."""

    versions: str
    python: str
    torch: str
    numpy: str
    minutes: float
    exit_code: int
    result: str


def lower_bounds(pyproject: Path) -> dict[str, str]:
    """Return the lowest version of every package that a pyproject.toml names.

    Raises:
        SystemExit: a requirement has no lower bound, or one package has two.
    """
    project = tomllib.loads(pyproject.read_text("utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    bounds: dict[str, str] = {}
    for requirement in [*project["dependencies"], *(one for extra in extras for one in extra)]:
        found = re.fullmatch(r"([\w.-]+)>=([\d.]+)(,.*)?", requirement.replace(" ", ""))
        if found is None:
            raise SystemExit(f"{pyproject}: {requirement} has no lower bound of the form NAME>=1.2")
        name, bound = found[1].lower(), found[2]
        if bounds.setdefault(name, bound) != bound:
            raise SystemExit(f"{pyproject}: {name} has two lower bounds")
    return bounds


def oldest(bound: str, available: list[str]) -> str:
    """Return the oldest of the available versions that is not below a bound."""
    fitting = [one for one in available if _key(one) >= _key(bound)]
    if not fitting:
        raise SystemExit(f"no release from {bound} on among {', '.join(available) or 'none'}")
    return min(fitting, key=_key)


def _key(version: str) -> tuple[int, ...]:
    """Return what orders released versions: 2.0 and 2.0.0 are the same."""
    numbers = [int(one) for one in re.findall(r"\d+", version)]
    return tuple(numbers + [0] * (6 - len(numbers)))


def _released(python: Path, name: str) -> list[str]:
    """Ask pip for the released versions of a package that this Python can install."""
    command = [python, "-m", "pip", "index", "versions", name, "--only-binary", ":all:"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"^Available versions: (.*)$", done.stdout, re.MULTILINE)
    if found is None:
        raise SystemExit(f"pip lists no version of {name}:\n{done.stderr}")
    return found[1].split(", ")


def install(folder: Path, versions: str) -> Path:
    """Make an environment with sodkit and its test tools, unless it is there; return its Python."""
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    done = folder / "installed"
    if done.is_file():
        return python
    subprocess.run([sys.executable, "-m", "venv", "--upgrade-deps", folder], check=True)
    command = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--upgrade",
        "--editable",
        f"{ROOT}[test]",
    ]
    if versions == "lowest":
        bounds = lower_bounds(ROOT / "pyproject.toml")
        pins = [f"{name}=={oldest(low, _released(python, name))}" for name, low in bounds.items()]
        (folder / "lowest.txt").write_text("\n".join(pins) + "\n", "utf-8")
        print(*pins, flush=True)
        command += ["--constraint", folder / "lowest.txt"]
    else:
        command += ["--upgrade-strategy", "eager"]
    subprocess.run(command, check=True)
    done.touch()
    return python


def run_tests(python: Path, versions: str, arguments: list[str]) -> Outcome:
    """Run pytest; return what it said on its last line."""
    start = time.perf_counter()
    command = [python, "-m", "pytest", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = ""
    for line in process.stdout:  # the last one is the result
        print(line, end="", flush=True)
    code = process.wait()
    minutes = round((time.perf_counter() - start) / 60, 1)
    return Outcome(
        versions, platform.python_version(), _version(python, "torch"), _version(python, "numpy"),
        minutes, code, line.strip().strip("= "),
    )  # fmt: skip


def _version(python: Path, name: str) -> str:
    code = f"from importlib.metadata import version; print(version({name!r}))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def main() -> int:
    """Make the environments one after the other; run the tests in each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=SETS, help="one of the two")
    parser.add_argument("--keep", type=Path, help="folder where environments stay, to use again")
    parser.add_argument("--csv", type=Path, help="table of the outcomes")
    parser.add_argument("pytest", nargs="*", help="arguments of pytest, after --")
    args = parser.parse_args()
    outcomes = []
    for versions in [args.only] if args.only else SETS:
        with tempfile.TemporaryDirectory() as temporary:
            python = install((args.keep or Path(temporary)) / versions, versions)
            outcomes.append(run_tests(python, versions, args.pytest))
        print(outcomes[-1], flush=True)
    if args.csv:
        with args.csv.open("w", encoding="utf-8", newline="") as file:
            file.write("# python benchmarks/versions.py --csv FILE\n")
            table = csv.writer(file)
            table.writerow(field.name for field in fields(Outcome))
            table.writerows(astuple(one) for one in outcomes)
    return int(any(one.exit_code for one in outcomes))


if __name__ == "__main__":
    sys.exit(main())
