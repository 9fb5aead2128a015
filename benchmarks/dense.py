"""Dense images: memory and CPU time of every system, of merging and of evaluation.

    python benchmarks/dense.py --out benchmarks/results/dense.csv

Objects are ships in rows in one patch of ``--size`` px, enclosed by upright boxes for systems that
know no others. ``train`` is losses and gradients with some objects and with many; ``predict`` is a
detector's whole work when no score counts (0 detections) and when all do (``--detections``): the
difference is the post-processing. Weights are random. ``merge`` and ``evaluate`` have as many
detections an object as overlapping patches make.

Every row is measured in a process of its own, on one thread: "mb" is by how much its peak memory
rose above what it held before. A process that wants more than ``--limit`` GB ends, and its row says
so. ``result`` is the sum of the losses or the number of detections: a change that may alter nothing
leaves it as it is. Rows that the table has are not measured again. Prints a line a system.

``--divisor 4`` gives a system ResNet-18 and a quarter of its channels, as ``systems.py`` does: what
grows with the objects is seen in a fraction of the time.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import resource
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import systems
from dense_stages import KEY, STAGES, Case

NO_MEMORY = ("can't allocate memory", "could not create", "bad allocation", "Unable to allocate")
"""What PyTorch, oneDNN, C++ and NumPy say when there is not enough."""

HEAD = (*KEY, "result", "cpu_seconds", "mb")

Rows = dict[tuple[str, ...], list[str]]


def main() -> None:
    """Measure what the table lacks, write it after every row, and print it."""
    options = _options()
    comments, rows = _read(options.out)
    for case in _cases(options):
        if case.key() not in rows:
            rows[case.key()] = _apart(case, options.limit)
            _write(options.out, comments, rows)
            print(*case.key(), *rows[case.key()], flush=True)
    print(*_table(rows), sep="\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--stages", nargs="+", default=list(STAGES), choices=list(STAGES))
    parser.add_argument("--recipes", nargs="+", metavar="RECIPE", help="default: every system")
    parser.add_argument("--divisor", type=int, default=1, help="of the widths; 1: as they are")
    parser.add_argument("--size", type=int, default=1200, help="of the patch, px")
    parser.add_argument("--objects", type=int, nargs="+", default=[10, 4000])
    parser.add_argument("--detections", type=int, nargs="+", default=[0, 2000])
    parser.add_argument("--limit", type=float, default=10.0, help="GB a process may take")
    return parser.parse_args()


def _cases(options: argparse.Namespace) -> Iterator[Case]:
    """Yield all rows there are to be."""
    every = [name for boxes in ("horizontal", "oriented") for name in systems.systems(boxes)]
    for stage in options.stages:
        of_detectors = stage in ("train", "predict")
        for recipe in (options.recipes or every) if of_detectors else [""]:
            for count in options.detections if stage == "predict" else options.objects:
                yield Case(stage, recipe, options.divisor, options.size, count)


def _apart(case: Case, limit: float) -> list[str]:
    """Measure a row in a process of its own; return result, seconds and MB as cells."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_measure, case, limit).result()


def _measure(case: Case, limit: float) -> list[str]:
    """Measure a row in this process, which may take no more than ``limit`` GB from now on."""
    import torch

    most = int(limit * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    torch.set_num_threads(1)
    try:
        return _cells(case)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY):
            return [f"more than {limit:g} GB", "", ""]
        raise


def _cells(case: Case) -> list[str]:
    """Prepare a stage, run it, and return result, seconds and MB."""
    run = STAGES[case.stage](case)
    before = _forget_peak()
    began = time.process_time()
    result = run()
    seconds = time.process_time() - began
    return [str(result), f"{seconds:.3f}", f"{_status('VmHWM') - before:.1f}"]


def _forget_peak() -> float:
    """Make the peak of this process what it holds now, and return it, MB (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(name: str) -> float:
    """Return the memory of this process that Linux calls ``name``, MB."""
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def _read(path: Path) -> tuple[list[str], Rows]:
    """Return the lines of comment and the rows of a table that may not exist yet."""
    if not path.is_file():
        return [], {}
    lines = path.read_text("utf-8").splitlines()
    comments = [line for line in lines if line.startswith("#")]
    cells = list(csv.reader(line for line in lines if not line.startswith("#")))
    return comments, {tuple(row[: len(KEY)]): row[len(KEY) :] for row in cells[1:]}


def _write(path: Path, comments: list[str], rows: Rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        stream.writelines(f"{line}\n" for line in comments)
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(HEAD)
        writer.writerows([*key, *cells] for key, cells in rows.items())


def _table(rows: Mapping[tuple[str, ...], list[str]]) -> Iterator[str]:
    """Yield lines of Markdown: a stage of a system each, with seconds and MB by count."""
    lines: dict[tuple[str, ...], list[str]] = {}
    for (*key, count), (result, seconds, mb) in rows.items():
        said = f"{seconds} s, {mb} MB" if seconds else result
        lines.setdefault(tuple(key), []).append(f"{count}: {said}")
    yield "| stage | system | divisor | px | number: CPU seconds, memory |"
    yield "|---|---|---|---|---|"
    for key, cells in lines.items():
        yield f"| {' | '.join(key)} | {'; '.join(cells)} |"


if __name__ == "__main__":
    main()
