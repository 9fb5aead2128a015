"""How fast evaluation and suppression are, against peers in the same run on the same files.

    python benchmarks/eval_speed.py            # full size: some minutes, 1 GB of disk
    python benchmarks/eval_speed.py --scale .1
    python benchmarks/eval_speed.py --only upright start --csv benchmarks/results/eval_speed.csv
    python benchmarks/eval_speed.py --only --upright ANN PRED --oriented ANN PRED

Wants an environment in which sodkit is installed.

Whole processes, from typing the command to the result on stdout, best of --repeat; then the
evaluation alone from arrays in memory, in CPU seconds; suppression of 50 000 boxes; memory at one,
two and four times the detections. Peers that are not installed are left out. --csv adds a line
for each figure to a file; what is compared is timed in turns, in one run on the same files.

--upright and --oriented measure on files that exist already, whose names then name the lines. The
peers read no ``poly``: a case of those names the same boxes as ``obb`` for them.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np
from eval_cases import make, oriented

SECTIONS = ("start", "upright", "oriented", "growth", "nms")

P = ParamSpec("P")
R = TypeVar("R")

PEER = """
import sys, numpy as np
{load}
truth = COCO(sys.argv[1]); found = truth.{results}(sys.argv[2])
peer = COCOeval(truth, found, {kind!r})
peer.params.areaRng = [[0, 1024], [0, 144], [144, 400], [400, 1024], [1024, 2000]]
peer.params.areaRngLbl = ["Small", "eS", "rS", "gS", "N"]
peer.params.maxDets = {limits}
start = __import__("time").process_time()
peer.evaluate(); peer.accumulate()
cpu = __import__("time").process_time() - start
precision, recall = np.array(peer.eval["precision"]), np.array(peer.eval["recall"])
mean = lambda table: float(table[table > -1].mean()) if (table > -1).any() else None
metrics = {{"AP": precision[:, :, :, 0, 0], "AP50": precision[0, :, :, 0, 0]}}
metrics["AP75"] = precision[5, :, :, 0, 0]
for area, name in enumerate(peer.params.areaRngLbl[1:], 1):
    metrics["AP_" + name] = precision[:, :, :, area, 0]
    metrics["AR_" + name] = recall[:, :, area, -1]
for place, limit in enumerate(peer.params.maxDets):
    metrics[f"AR@{{limit}}"] = recall[:, :, 0, place]
metrics = {{name: mean(table) for name, table in metrics.items()}}
print("RESULT", __import__("json").dumps([metrics, cpu]))
"""
LOAD = {
    "hotcoco": ("from hotcoco import COCO, COCOeval", "load_res"),
    "ultrafast_pycocotools": (
        "from ultrafast_pycocotools.coco import COCO\n"
        "from ultrafast_pycocotools.cocoeval import COCOeval",
        "loadRes",
    ),
    "pycocotools": (
        "from pycocotools.coco import COCO\nfrom pycocotools.cocoeval import COCOeval",
        "loadRes",
    ),
}
MEMORY = """
import sys, time
from pathlib import Path
from sodkit.data.formats import read_annotations
from sodkit.data.predictions.storage import read_predictions
from sodkit.evaluation.evaluate import evaluate
from sodkit.evaluation.protocol import protocol_for
truth = read_annotations(Path(sys.argv[1])); found = read_predictions(Path(sys.argv[2]), truth)
protocol = protocol_for(truth.kind)
evaluate(truth, found, protocol)
best = 1e9
for _ in range(5):
    start = time.process_time(); result = evaluate(truth, found, protocol)
    best = min(best, time.process_time() - start)
print("RESULT", result.metrics["AP"], best)
"""


@dataclass(frozen=True)
class Run:
    """One process: seconds, CPU seconds of all threads, peak memory in MB, its output."""

    wall: float
    cpu: float
    memory: float
    output: str


def run(*command: str) -> Run:
    """Run a Python command to its end."""
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        handle = os.posix_spawn(
            sys.executable,
            [sys.executable, *command],
            {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            file_actions=[(os.POSIX_SPAWN_DUP2, output.fileno(), 1)],
        )
        _, status, usage = os.wait4(handle, 0)
        wall = time.perf_counter() - start
        output.seek(0)
        text = output.read().decode()
    if status:
        raise SystemExit(f"{' '.join(command[:3])} failed")
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, text)


def best(repeat: int, *command: str) -> Run:
    """Return the fastest of several runs."""
    return min((run(*command) for _ in range(repeat)), key=lambda one: one.wall)


@dataclass(frozen=True)
class Case:
    """Files to evaluate: ours, and the peers' with the same content."""

    title: str
    oriented: bool
    truth: Path
    found: Path
    peer_truth: Path
    peer_found: Path

    @classmethod
    def of(cls, title: str, oriented: bool, *files: Path) -> Case:
        """Make a case of two files, or four if the peers need others."""
        if len(files) not in (2, 4):
            raise SystemExit("a case is ANN PREDICTIONS [PEER_ANN PEER_PREDICTIONS]")
        return cls(title, oriented, *files[:2], *files[-2:])


@dataclass(frozen=True)
class Table:
    """The CSV file that figures are added to; None: they are only printed."""

    path: Path | None

    def add(
        self,
        what: str,
        tool: str,
        wall: float | None = None,
        cpu: float | None = None,
        memory: float | None = None,
    ) -> None:
        """Add a line of seconds, CPU seconds and MB."""
        if self.path is None:
            return
        new = not self.path.exists()
        with self.path.open("a", encoding="utf-8") as stream:
            if new:
                stream.write("what,tool,wall_s,cpu_s,memory_mb\n")
            figures = (wall, cpu, memory)
            cells = [format(value, ".4g") if value is not None else "" for value in figures]
            stream.write(",".join([what, tool, *cells]) + "\n")


def compare(case: Case, peers: list[str], repeat: int, table: Table) -> None:
    """Time us and the peers on the same files, and check that all metrics are the same."""
    quickest = in_turns(case, peers, repeat)
    ours, title = quickest["sodkit"], case.title
    metrics = json.loads(ours.output)["metrics"]
    size = case.found.stat().st_size / 1e6
    print(f"\n{title}: {size:.0f} MB of predictions, AP {metrics['AP']:.6f}")
    print(f"{'':24s}{'wall s':>8s}{'CPU s':>8s}{'MB':>7s}   whole process: they / we")
    line("sodkit", ours, None)
    for name, one in quickest.items():
        table.add(f"{title} whole process", name, one.wall, one.cpu, one.memory)
    files = str(case.truth), str(case.found)
    memory = float(run("-c", MEMORY, *files).output.split()[-1])
    table.add(f"{title} from arrays", "sodkit", cpu=memory)
    in_memory = [f"from arrays, CPU s: sodkit {memory:.3f}"]
    for peer in peers:
        theirs = quickest[peer]
        values, cpu = json.loads(theirs.output.split("RESULT")[1])
        line(peer, theirs, ours)
        table.add(f"{title} from arrays", peer, cpu=cpu)
        in_memory.append(f"{peer} {cpu:.3f} ({cpu / memory:.0f} times)")
        print(f"  {agreement(metrics, values)}")
    print("; ".join(in_memory))


def in_turns(case: Case, peers: list[str], repeat: int) -> dict[str, Run]:
    """Return the fastest run of everybody; they take turns."""
    kind, limits = ("obb", "[20000]") if case.oriented else ("bbox", "[100, 300, 1000]")
    ours = ("-m", "sodkit", "eval", str(case.truth), str(case.found), "--json")
    commands: dict[str, tuple[str, ...]] = {"sodkit": ours}
    for peer in peers:
        load, results = LOAD[peer]
        text = PEER.format(load=load, results=results, kind=kind, limits=limits)
        commands[peer] = ("-c", text, str(case.peer_truth), str(case.peer_found))
    turns: dict[str, list[Run]] = {name: [] for name in commands}
    for turn in range(repeat):
        for name, command in commands.items():
            if turn == 0 or name != "pycocotools":
                turns[name].append(run(*command))
    return {name: min(runs, key=lambda one: one.wall) for name, runs in turns.items()}


def agreement(ours: dict[str, float | None], theirs: dict[str, float | None]) -> str:
    """Say how far the metrics are apart; NaN stands for undefined in one of them only."""
    pairs = [(ours[name], value) for name, value in theirs.items()]
    apart = [
        0.0 if a is None and b is None else abs((math.nan if a is None else a) - (b or 0.0))
        for a, b in pairs
    ]
    verdict = "same" if max(apart) <= 1e-9 else "DIFFERENT"
    return f"{verdict} {len(apart)} metrics, largest difference {max(apart):.1e}"


def line(name: str, one: Run, ours: Run | None) -> None:
    ratio = "" if ours is None else f"{one.wall / ours.wall:9.2f}"
    print(f"{name:24s}{one.wall:8.2f}{one.cpu:8.2f}{one.memory:7.0f}{ratio}", flush=True)


def clock(work: Callable[[], object], repeat: int) -> float:
    """Return the least CPU seconds of some calls."""
    times = []
    for _ in range(repeat):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def suppression(count: int, table: Table) -> None:
    """Suppress ``count`` boxes of one image, half of them duplicates."""
    import shapely
    import torch
    import torchvision

    from sodkit.geometry.nms import nms, nms_rotated
    from sodkit.geometry.rotated import obb_to_corners, obb_to_xyxy

    _, found = oriented(max(count // 400, 3), 5)
    rows = np.random.default_rng(0).permutation(len(found.box))[:count]
    if len(rows) < count:
        raise SystemExit(f"the generator made {len(rows)} boxes instead of {count}")
    boxes, scores = found.box[rows], found.score[rows] + 0.0
    xyxy = obb_to_xyxy(boxes)
    print(f"\nsuppression of {len(rows)} boxes at IoU .5, CPU s")
    ours = clock(lambda: nms(xyxy, scores, 0.5), 4)
    torch.set_num_threads(1)
    tensors = torch.tensor(xyxy), torch.tensor(scores)
    theirs = clock(lambda: torchvision.ops.nms(*tensors, 0.5), 1)
    same = np.array_equal(torchvision.ops.nms(*tensors, 0.5).numpy(), nms(xyxy, scores, 0.5))
    print(
        f"upright  {ours:.3f}, torchvision {theirs:.2f} ({theirs / ours:.0f} times), same: {same}"
    )

    table.add(f"nms of {len(rows)} upright boxes", "sodkit", cpu=ours)
    table.add(f"nms of {len(rows)} upright boxes", "torchvision", cpu=theirs)

    def by_tree() -> list[int]:
        polygons = shapely.polygons(obb_to_corners(boxes))
        areas = shapely.area(polygons)
        a, b = shapely.STRtree(polygons).query(polygons, predicate="intersects")
        a, b = a[a != b], b[a != b]
        inter = shapely.area(shapely.intersection(polygons[a], polygons[b]))
        above = inter / (areas[a] + areas[b] - inter) > 0.5
        near: dict[int, list[int]] = {}
        for i, j in zip(a[above].tolist(), b[above].tolist(), strict=True):
            near.setdefault(i, []).append(j)
        gone = np.zeros(len(boxes), np.bool_)
        kept = []
        for i in np.argsort(-scores, kind="stable").tolist():
            if not gone[i]:
                kept.append(i)
                gone[near.get(i, [])] = True
        return kept

    ours = clock(lambda: nms_rotated(boxes, scores, 0.5), 4)
    theirs = clock(by_tree, 1)
    same = by_tree() == nms_rotated(boxes, scores, 0.5).tolist()
    table.add(f"nms of {len(rows)} rotated boxes", "sodkit", cpu=ours)
    table.add(f"nms of {len(rows)} rotated boxes", "shapely STRtree", cpu=theirs)
    print(f"rotated  {ours:.3f}, shapely {theirs:.2f} ({theirs / ours:.0f} times), same: {same}")


def growth(folder: Path, images: int, repeat: int, table: Table) -> None:
    """Show time and memory at one, two and four times the images."""
    print("\ngrowth, oriented:      MB of JSON  wall s   CPU s      MB")
    for times in (1, 2, 4):
        truth, found = apart(make, folder, "oriented", images, 88, times)
        one = best(repeat, "-m", "sodkit", "eval", str(truth), str(found), "--json")
        table.add(f"oriented {times} x {images} images", "sodkit", one.wall, one.cpu, one.memory)
        size = (truth.stat().st_size + found.stat().st_size) / 1e6
        print(
            f"{times:16d} times{size:12.0f}{one.wall:8.2f}{one.cpu:8.2f}{one.memory:8.0f}",
            flush=True,
        )
        truth.unlink()
        found.unlink()


def apart(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call in a process of its own: a child's peak memory starts at its parent's."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *args, **kwargs).result()


def main() -> None:
    """Run everything."""
    arguments = parse()
    table = Table(arguments.csv)
    scale, repeat = arguments.scale, arguments.repeat
    known = [name for name in LOAD if importlib.util.find_spec(name) and not arguments.no_peers]
    quick = [name for name in known if name != "pycocotools" or arguments.all]
    obb = [peer for peer in known if peer == "hotcoco"]
    for files in arguments.upright:
        compare(Case.of(f"upright {title(files)}", False, *files), quick, repeat, table)
    for files in arguments.oriented:
        compare(Case.of(f"oriented {title(files)}", True, *files), obb, repeat, table)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "start" in arguments.only:
            start(folder, repeat, table)
        if "upright" in arguments.only:
            files = apart(make, folder, "upright", round(7000 * scale), 77)
            compare(Case.of("upright", False, *files), quick, repeat, table)
        if "oriented" in arguments.only:
            files = apart(make, folder, "oriented", round(850 * scale), 88)
            compare(Case.of("oriented", True, *files), obb, repeat, table)
        if "growth" in arguments.only:
            growth(folder, round(425 * scale), repeat, table)
        if "nms" in arguments.only:
            apart(suppression, round(50_000 * scale), table)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full size")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--all", action="store_true", help="pycocotools too: a minute")
    parser.add_argument("--no-peers", action="store_true", help="only sodkit")
    parser.add_argument("--only", nargs="*", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--csv", type=Path, help="file that lines are added to")
    for kind in ("upright", "oriented"):
        parser.add_argument(
            f"--{kind}",
            nargs="+",
            type=Path,
            action="append",
            default=[],
            metavar="FILE",
            help="measure ANN PREDICTIONS [PEER_ANN PEER_PREDICTIONS], too; may be repeated",
        )
    return parser.parse_args()


def title(files: list[Path]) -> str:
    """Name a case by its predictions."""
    return files[1].stem.removesuffix("_found")


def start(folder: Path, repeat: int, table: Table) -> None:
    """Time 60 images: with nothing compiled yet, and from then on."""
    small = apart(make, folder, "upright", 60, 1)
    command = ("-m", "sodkit", "eval", *map(str, small), "--json")
    for code in Path(__file__).parents[1].glob("sodkit/**/__pycache__/*.o"):
        code.unlink()
    first, again = run(*command), best(repeat, *command)
    table.add("60 images, nothing compiled", "sodkit", first.wall, first.cpu, first.memory)
    table.add("60 images", "sodkit", again.wall, again.cpu, again.memory)
    print(f"60 images, s: {again.wall:.2f} wall, {again.cpu:.2f} CPU", end="")
    print(f" (the very first time {first.wall:.2f}, {first.cpu:.2f})", flush=True)


if __name__ == "__main__":
    main()
