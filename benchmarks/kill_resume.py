"""Trainings killed by SIGKILL at random moments and resumed leave what the whole run leaves.

    python benchmarks/kill_resume.py --kills 30 --seed 0 --csv benchmarks/results/kill_resume.csv
    python benchmarks/kill_resume.py --kills 30 --set schedule.ema=0.9
    python benchmarks/kill_resume.py --kills 30 --processes 2

A tiny CFINet trains on drawn scenes and saves its state after every step. Each row of the CSV is
one kill: how long the process lived, the steps in ``losses.csv`` then, the number of half-written
files, whether a copy of the state, cut at a random multiple of 4 kB, was refused by its name, the
step from which the resumed run went on (empty: nothing had begun, or all was done), and the files
that differ in the end: none. Half a row is appended to ``losses.csv`` before a run is resumed. Runs
take turns at 0, 1 and 2 workers, with and without validation; ``--set`` adds settings to their
recipe. With several processes, as torchrun starts them, all are killed, or one at random. Then the
others mostly end by themselves; one that still waits for the killed one to join is ended as
torchrun would, by SIGTERM and later SIGKILL (``ended``). Ends with 1 if anything differs.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import os
import random
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

from sodkit import (
    DataPaths,
    ModelError,
    Recipe,
    RunPlan,
    UsageError,
    execute,
    load_recipe,
    make_dataset,
    resumed_plan,
)
from sodkit.engine.checkpoint import load_run
from sodkit.engine.connection import joined
from sodkit.engine.reports import StartReport
from sodkit.engine.run_folder import RUN, STATE
from sodkit.errors import ReportedError

RECIPE = (
    "model.fpn.channels=32", "model.roi.hidden=32", "input.patch=128", "input.stride=128",
    "schedule.batch=2", "schedule.epochs=2", "schedule.save_steps=1", "schedule.warmup=3",
)  # fmt: skip
BLOCK = 4096
FOREVER = 3600.0
ALONE_SECONDS = 30.0
"""How long a process may live on after another one was killed, and after SIGTERM."""
FIRST = "first_step"
"""A file in which a resumed run notes where it went on."""


def main() -> None:
    """Kill, resume and compare."""
    options = _options()
    with tempfile.TemporaryDirectory() as name:
        recipe = load_recipe("cfinet-r18-demo", [*RECIPE, *options.set])
        rows = []
        for row in _kills(
            options.kills, random.Random(options.seed), Path(name), recipe, options.processes
        ):
            rows.append(row)
            print(row, flush=True)
            if options.csv is not None:
                _write(options.csv, rows)
    equal = sum(not row["different"] for row in rows)
    print(f"{equal} of {len(rows)} runs that were killed ended with the bytes of the whole run")
    sys.exit(equal < len(rows))


def _write(path: Path, rows: list[dict[str, object]]) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    return parser.parse_args()


def _kills(
    count: int, chance: random.Random, home: Path, recipe: Recipe, processes: int
) -> Iterator[dict[str, object]]:
    """Yield a row for each kill."""
    data = make_dataset(home, images=5, seed=0, width=128, height=128)
    whole = {val: home / f"whole-{val}" for val in (False, True)}
    lasted = {
        val: _live(partial(_train, data, run, val, 0, recipe), FOREVER, processes)[0]
        for val, run in whole.items()
    }
    for number in range(count):
        val, workers, run = number % 2 == 1, number % 3, home / str(number)
        train = partial(_train, data, run, val, workers, recipe)
        victims = chance.choice([range(processes), (chance.randrange(processes),)])
        lived, ended = _live(train, chance.uniform(0, lasted[val]), processes, victims)
        row: dict[str, object] = {"kill": number, "validation": val, "workers": workers}
        row |= {"processes": processes, "victims": " ".join(map(str, victims))}
        row |= {"seconds": round(lived, 2), "ended": ended}
        row |= _at_the_kill(run, chance)
        begun = (run / RUN).is_file()
        _live(partial(_resume, run, workers) if begun else train, FOREVER, processes)
        first = run / FIRST
        row["resumed_at"] = first.read_text() if first.exists() else ""
        first.unlink(missing_ok=True)
        wanted, found = _left(whole[val]), _left(run)
        different = [n for n in {**wanted, **found} if wanted.get(n) != found.get(n)]
        row["different"] = " ".join(different)
        yield row
        shutil.rmtree(run)


def _live(
    work: partial[None], seconds: float, processes: int, victims: Sequence[int] = ()
) -> tuple[float, str]:
    """Let processes of their own do the work and kill some after a while.

    They are forked, so that their time is the training's and not that of importing torch.

    Args:
        work: what each process does.
        seconds: after these the victims are killed.
        processes: how many.
        victims: which of them.

    Returns:
        how long they lived, and how those that were not killed ended: alone, by SIGTERM or SIGKILL.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    all_ = [
        context.Process(target=_one, args=(work, rank, processes, port))
        for rank in range(processes)
    ]
    began = time.perf_counter()
    for process in all_:
        process.start()
    for process in all_:
        process.join(max(seconds - (time.perf_counter() - began), 0))
    lived = time.perf_counter() - began
    killed = [all_[rank] for rank in victims if all_[rank].is_alive()]
    for process in killed:
        process.kill()
    ended = _end(all_)
    if not killed and any(process.exitcode for process in all_):
        sys.exit(f"a training ended with {[process.exitcode for process in all_]}")
    return lived, ended


def _end(processes: Sequence[BaseProcess]) -> str:
    """Wait for processes; end those that do not end by themselves as torchrun does."""
    ways = {"alone": lambda _: None, "SIGTERM": BaseProcess.terminate, "SIGKILL": BaseProcess.kill}
    needed = "alone"
    for name, end in ways.items():
        for process in processes:
            if process.is_alive():
                end(process)
                needed = name
        for process in processes:
            process.join(ALONE_SECONDS)
    return needed


def _one(work: partial[None], rank: int, processes: int, port: int) -> None:
    """Do the work as one of the processes, named as torchrun names them."""
    if processes > 1:
        os.environ |= {
            "RANK": str(rank), "WORLD_SIZE": str(processes), "LOCAL_RANK": str(rank),
            "LOCAL_WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }  # fmt: skip
    work()


def _train(data: Path, run: Path, val: bool, workers: int, recipe: Recipe) -> None:
    paths = DataPaths(str(data), None, str(data) if val else None, None, None)
    plan = RunPlan(recipe, paths, run, resume=False)
    with joined() as world:
        execute(plan, device="cpu", workers=workers, threads=1, world=world)


def _resume(run: Path, workers: int) -> None:
    """Go on, and note the step."""

    def note(report: StartReport) -> None:
        (run / FIRST).write_text(str(report.epoch * report.steps + report.step))

    with suppress(UsageError, ReportedError), joined() as world:  # all was done before the kill
        plan = world.from_first(lambda: resumed_plan(run, [], out=None))
        start = note if world.first else lambda _: None
        execute(plan, device="cpu", workers=workers, threads=1, on_start=start, world=world)


def _at_the_kill(run: Path, chance: random.Random) -> dict[str, object]:
    """Return what a run left when it was killed, and spoil its log as a crash can."""
    state, losses = run / STATE, run / "losses.csv"
    logged = max(len(losses.read_text().splitlines()) - 1, 0) if losses.exists() else 0
    if logged:
        with losses.open("a") as file:
            file.write("1,9,0.0")
    return {
        "steps_logged": logged,
        "half_written": len(list(run.rglob(".tmp*"))),
        "cut_state": _cut(state, chance) if state.exists() else "",
    }


def _cut(state: Path, chance: random.Random) -> str:
    """Return "refused" if a copy of the state, cut somewhere, is refused by its name."""
    copy = state.parents[2] / "cut.safetensors"
    whole = state.read_bytes()
    copy.write_bytes(whole[: BLOCK * chance.randrange(len(whole) // BLOCK + 1)])
    try:
        load_run(copy)
    except ModelError as error:
        return "refused" if error.where == str(copy) else "refused without its name"
    return "read"


def _left(run: Path) -> dict[str, bytes]:
    """Return the bytes of all files that do not hold times or, as run.json does, paths."""
    files = [p for p in run.rglob("*") if p.is_file() and "tfevents" not in p.name]
    named = {p.relative_to(run).as_posix(): p.read_bytes() for p in files}
    return {name: data for name, data in named.items() if name not in (RUN, "times.csv")}


if __name__ == "__main__":
    main()
