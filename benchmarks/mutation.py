"""How many small faults the tests notice: mutants of geometry, tiling, evaluation and matching.

    python benchmarks/mutation.py --seeds 0 1 --csv benchmarks/results/mutation.csv

``mutants.py`` says what a mutant is. Of all mutants of the modules below a sample is drawn for each
seed. The tests of a module are those of its folder (in ``models/parts`` those of its name);
they are collected once, compiled loops run as Python (``--uncompiled``), so that a mutant takes
effect in them at once. Each mutant then gets a process of its own, forked from the one that has
collected: it puts the changed code into the function and runs the tests until one fails: those of
the module's own file first, the quickest first, those of a second and more last. A mutant that
outlives ``--budget`` seconds of processor time has survived, though more tests might have found it.
One with which a test takes several times as long as without has been found, too: it runs without
end.

The sources are read from a copy of the tree, so they may change meanwhile. Not on Windows: no fork.
"""

from __future__ import annotations

import argparse
import ast
import csv
import json
import os
import platform
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest
from mutants import Mutant, mutants

ROOT = Path(__file__).parents[1]
FOLDERS = ("geometry", "tiling", "evaluation")
PARTS = ("matchers", "sampling", "coders", "rotated_coders", "rotated_match")
SURVIVED = "survived"
ENDLESS = (signal.SIGPROF, signal.SIGALRM)


@dataclass(frozen=True)
class Outcome:
    """A mutant is ``killed`` by a test, ``endless``, ``crashed``, or has ``survived``."""

    mutant: Mutant
    outcome: str
    test: str
    seconds: float


def sources(root: Path) -> list[Path]:
    """Return the modules to mutate."""
    found = [path for name in FOLDERS for path in sorted((root / "sodkit" / name).glob("*.py"))]
    return found + [root / "sodkit" / "models" / "parts" / f"{name}.py" for name in PARTS]


def tests_of(root: Path, chosen: Sequence[Mutant]) -> list[str]:
    """Return what pytest has to collect for some mutants."""
    folders = {one.path.parent.name for one in chosen}
    found = [root / "tests" / name for name in FOLDERS if name in folders]
    if "parts" in folders:
        tests = root / "tests" / "models" / "parts"
        found += [tests / f"test_{name}.py" for name in PARTS]
    return [str(path) for path in found]


class Session:
    """A pytest plugin that, in place of running the tests once, runs them for every mutant."""

    def __init__(
        self, chosen: Sequence[Mutant], jobs: int, budget: float, seconds: dict[str, float]
    ) -> None:
        self.chosen = chosen
        self.jobs = jobs
        self.budget = budget
        self.seconds = seconds
        self.outcomes: list[Outcome] = []
        self.failed: list[str] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> None:
        """Have hypothesis report the first failing example as it is: one is enough."""
        import hypothesis  # not before pytest has hooked itself into imports

        phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
        hypothesis.settings.register_profile(
            "mutation", hypothesis.settings(), phases=phases, database=None
        )
        hypothesis.settings.load_profile("mutation")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember what fails."""
        if report.failed:
            self.failed.append(report.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run all tests as they are, then those of each mutant."""
        self._measure(session.items)
        running: dict[int, tuple[Mutant, int, float]] = {}
        for number, mutant in enumerate(self.chosen, start=1):
            if len(running) == self.jobs:
                self._wait(running)
            chosen = self._tests_of(mutant, session.items)
            child, reader = _fork(partial(self._try, mutant, chosen))
            running[child] = mutant, reader, time.perf_counter()
            if number % 25 == 0:
                print(f"{number} of {len(self.chosen)}", flush=True)
        while running:
            self._wait(running)
        return True

    def _measure(self, items: list[pytest.Item]) -> None:
        """Run all tests in a child, too: threads that they start would not outlive a fork here."""
        new = [item for item in items if item.nodeid not in self.seconds]
        child, reader = _fork(partial(self._run_all, new))
        with os.fdopen(reader) as stream:
            lines = [line.split(" ", 1) for line in stream.read().splitlines()]
        if os.waitpid(child, 0)[1]:
            raise SystemExit(f"without a mutant this fails: {lines[-1][1] if lines else 'all'}")
        self.seconds |= {nodeid: float(seconds) for seconds, nodeid in lines}

    def _run_all(self, items: list[pytest.Item], writer: int) -> bool:
        for item, following in zip(items, [*items[1:], None], strict=True):
            start = time.process_time()
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            os.write(writer, f"{time.process_time() - start} {item.nodeid}\n".encode())
            if self.failed:
                return True
        return False

    def _try(self, mutant: Mutant, chosen: list[pytest.Item], writer: int) -> bool:
        """Run a mutant's tests until one fails; return whether one did."""
        resource.setrlimit(resource.RLIMIT_DATA, (8 << 30, 8 << 30))
        apply(mutant)
        start = time.process_time()
        for item, following in zip(chosen, [*chosen[1:], None], strict=True):
            os.write(writer, f"{item.nodeid}\n".encode())
            usual = self.seconds[item.nodeid]
            signal.setitimer(signal.ITIMER_PROF, 5 + 3 * usual)  # seconds of processor time
            signal.setitimer(signal.ITIMER_REAL, 60 + 20 * usual)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self.failed or time.process_time() - start > self.budget:
                break
        return bool(self.failed)

    def _wait(self, running: dict[int, tuple[Mutant, int, float]]) -> None:
        """Wait for one child and note what it found."""
        child, status = os.wait()
        mutant, reader, start = running.pop(child)
        with os.fdopen(reader) as stream:
            lines = stream.read().splitlines()
        last = lines[-1] if lines else "before the first test"
        if os.WIFSIGNALED(status):
            word = "endless" if os.WTERMSIG(status) in ENDLESS else "crashed"
        else:
            word = SURVIVED if os.WEXITSTATUS(status) == 0 else "killed"
        seconds = round(time.perf_counter() - start, 1)
        self.outcomes.append(Outcome(mutant, word, "" if word == SURVIVED else last, seconds))

    def _tests_of(self, mutant: Mutant, items: list[pytest.Item]) -> list[pytest.Item]:
        """Return a module's tests: its own file's first, the quickest first, slow ones last."""
        folder, own = mutant.path.parent.name, f"test_{mutant.path.stem}.py"
        if folder == "parts":
            chosen = [item for item in items if item.path.name == own]
        else:
            chosen = [item for item in items if item.path.parent.name == folder]

        def key(item: pytest.Item) -> tuple[bool, bool, float]:
            seconds = self.seconds[item.nodeid]
            return seconds > 1, item.path.name != own, seconds

        return sorted(chosen, key=key)


def _fork(work: Callable[[int], bool]) -> tuple[int, int]:
    """Run work in a child, silently; it is given a pipe to write to, 1 is its exit code if true.

    Returns:
        the child, and the end of the pipe to read from.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        return child, reader
    failed = True
    try:
        os.close(reader)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        failed = work(writer)
    finally:
        os._exit(int(failed))


def apply(mutant: Mutant) -> None:
    """Put a mutant into the modules that are loaded."""
    parts = mutant.path.with_suffix("").parts
    module = sys.modules[".".join(parts[parts.index("sodkit") :])]
    if not mutant.unit:
        _apply_to_constant(module, mutant)
        return
    owner: Any = module
    *classes, name = mutant.unit.split(".")
    for one in classes:
        owner = vars(owner)[one]
    function = _plain(vars(owner)[name])
    assert isinstance(mutant.tree, ast.FunctionDef)
    mutant.tree.decorator_list = []
    space = dict(vars(module))
    exec(_compiled([mutant.tree], mutant.path), space)
    changed = space[name]
    function.__code__ = changed.__code__
    function.__defaults__ = changed.__defaults__
    function.__kwdefaults__ = changed.__kwdefaults__


def _apply_to_constant(module: ModuleType, mutant: Mutant) -> None:
    """Run a changed assignment and those below it; give everyone who imported them the new ones."""
    before = dict(vars(module))
    source = ast.parse(mutant.path.read_text("utf-8"))
    below = [one for one in source.body if isinstance(one, ast.Assign | ast.AnnAssign)]
    below = [one for one in below if one.lineno > mutant.tree.lineno]
    exec(_compiled([mutant.tree, *below], mutant.path), vars(module))
    new = {name: value for name, value in vars(module).items() if before.get(name) is not value}
    for other in list(sys.modules.values()):
        for name, value in list(vars(other).items()):
            if name in new and value is before.get(name):
                setattr(other, name, new[name])


def _compiled(body: list[ast.stmt], path: Path) -> Any:
    """Compile statements as they would be in their file."""
    future = ast.ImportFrom("__future__", [ast.alias("annotations")], 0)
    tree = ast.Module([future, *body], [])
    return compile(ast.fix_missing_locations(tree), str(path), "exec")


def _plain(value: Any) -> FunctionType:
    """Return the function inside a property, a class method or a compiled loop."""
    for name in ("fget", "__func__", "function", "__wrapped__"):
        value = getattr(value, name, value)
    assert isinstance(value, FunctionType), value
    return value


def measure(
    chosen: Sequence[Mutant], root: Path, jobs: int, budget: float, times: Path | None
) -> list[Outcome]:
    """Run the tests of a copy of the tree for each mutant; ``times`` keeps what the tests take."""
    known = times is not None and times.is_file()
    session = Session(chosen, jobs, budget, json.loads(times.read_text()) if known else {})
    options = ["--uncompiled", "-p", "no:cacheprovider", "--capture=no", "--rootdir", str(root)]
    options += ["--basetemp", str(root / "temporary")]
    os.chdir(root)
    code = pytest.main([*options, *tests_of(root, chosen)], plugins=[session])
    if times is not None:
        times.write_text(json.dumps(session.seconds))
    if len(session.outcomes) != len(chosen):
        raise SystemExit(f"pytest ended with {code}")
    return session.outcomes


def write_csv(path: Path, root: Path, samples: dict[int, list[Outcome]], budget: float) -> None:
    """Write a row for each mutant, ahead of them what was run and how many were found."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write("# python benchmarks/mutation.py --csv FILE\n")
        file.write(
            f"# {platform.machine()}, Python {platform.python_version()}, budget {budget:g} s\n"
        )
        for seed, outcomes in samples.items():
            file.write(f"# seed {seed}: {_share(outcomes)}\n")
        table = csv.writer(file)
        table.writerow(["seed", "module", "line", "kind", "change", "outcome", "test", "seconds"])
        for seed, outcomes in samples.items():
            for one in sorted(outcomes, key=lambda o: (str(o.mutant.path), o.mutant.line)):
                place = one.mutant.path.relative_to(root).as_posix()
                what = [seed, place, one.mutant.line, one.mutant.kind, one.mutant.change]
                table.writerow([*what, one.outcome, one.test, one.seconds])


def _share(outcomes: Sequence[Outcome]) -> str:
    counts = Counter(one.outcome for one in outcomes)
    found = len(outcomes) - counts[SURVIVED]
    parts = ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))
    return f"{found} of {len(outcomes)} found, {found / len(outcomes):.1%} ({parts})"


def main() -> None:
    """Draw the samples, run the tests for each mutant, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="a sample for each")
    parser.add_argument("--samples", type=int, default=300, help="mutants of a sample")
    parser.add_argument("--only", default="", help="modules whose path contains this")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at once")
    parser.add_argument("--budget", type=float, default=25.0, help="seconds of tests for a mutant")
    parser.add_argument("--csv", type=Path, help="table of all mutants")
    what = "file that keeps what each test takes: without a mutant only new ones run again"
    parser.add_argument("--times", type=Path, help=what)
    args = parser.parse_args()
    csv_path, times = args.csv and args.csv.resolve(), args.times and args.times.resolve()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        for name in ("sodkit", "tests"):
            shutil.copytree(ROOT / name, root / name)
        shutil.copy(ROOT / "pyproject.toml", root)
        os.environ["PYTHONPATH"] = str(root)
        sys.path.insert(0, str(root))
        pool = [one for path in sources(root) if args.only in str(path) for one in mutants(path)]
        print(f"{len(pool)} mutants", flush=True)
        drawn = {
            seed: random.Random(seed).sample(pool, min(args.samples, len(pool)))
            for seed in args.seeds
        }
        chosen = list({id(one): one for sample in drawn.values() for one in sample}.values())
        done = {id(one.mutant): one for one in measure(chosen, root, args.jobs, args.budget, times)}
        samples = {seed: [done[id(one)] for one in sample] for seed, sample in drawn.items()}
        for seed, outcomes in samples.items():
            for one in outcomes:
                if one.outcome == SURVIVED:
                    place = f"{one.mutant.path.relative_to(root)}:{one.mutant.line}"
                    print(seed, place, one.mutant.kind, one.mutant.change)
            print(f"seed {seed}: {_share(outcomes)}")
        if csv_path:
            write_csv(csv_path, root, samples, args.budget)


if __name__ == "__main__":
    main()
