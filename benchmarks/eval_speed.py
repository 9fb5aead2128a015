"""How fast evaluation and suppression are, against peers in the same run on the same files.

    python benchmarks/eval_speed.py            # full size: some minutes, 1 GB of disk
    python benchmarks/eval_speed.py --scale .1
    python benchmarks/eval_speed.py --only upright start --csv benchmarks/results/eval_speed.csv

Wants an environment in which sodkit is installed.

Whole processes, from typing the command to the result on stdout, best of --repeat; then the
evaluation alone from arrays in memory, in CPU seconds; suppression of 50 000 boxes; memory at one,
two and four times the detections. Peers that are not installed are left out. --csv adds a line
for each figure to a file; what is compared is timed in turns, in one run on the same files.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
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

RESULTS: Path | None = None
"""Where ``record`` writes to."""

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
table = np.array(peer.eval["precision"])[:, :, :, 0, 0]
print("RESULT", float(table[table > -1].mean()), cpu)
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
from sodkit.data.predictions import read_predictions
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


def compare(title: str, truth: Path, found: Path, peers: list[str], repeat: int) -> None:
    """Time us and the peers on the same files, and check that AP is the same."""
    kind = "obb" if title == "oriented" else "bbox"
    limits = "[20000]" if kind == "obb" else "[100, 300, 1000]"
    scripts = {
        peer: PEER.format(load=LOAD[peer][0], results=LOAD[peer][1], kind=kind, limits=limits)
        for peer in peers
    }
    commands = {"sodkit": ("-m", "sodkit", "eval", str(truth), str(found), "--json")}
    commands |= {peer: ("-c", text, str(truth), str(found)) for peer, text in scripts.items()}
    turns: dict[str, list[Run]] = {name: [] for name in commands}
    for turn in range(repeat):
        for name, command in commands.items():
            if turn == 0 or name != "pycocotools":
                turns[name].append(run(*command))
    quickest = {name: min(runs, key=lambda one: one.wall) for name, runs in turns.items()}
    ours = quickest["sodkit"]
    ap = json.loads(ours.output)["metrics"]["AP"]
    print(f"\n{title}: {found.stat().st_size / 1e6:.0f} MB of predictions, AP {ap:.6f}")
    print(f"{'':24s}{'wall s':>8s}{'CPU s':>8s}{'MB':>7s}   whole process: they / we")
    line("sodkit", ours, None)
    for name, one in quickest.items():
        record(f"{title} whole process", name, one.wall, one.cpu, one.memory)
    memory = float(run("-c", MEMORY, str(truth), str(found)).output.split()[-1])
    record(f"{title} from arrays", "sodkit", cpu=memory)
    in_memory = [f"from arrays, CPU s: sodkit {memory:.3f}"]
    for peer in peers:
        theirs = quickest[peer]
        value, cpu = map(float, theirs.output.split("RESULT")[1].split()[:2])
        line(peer, theirs, ours)
        record(f"{title} from arrays", peer, cpu=cpu)
        in_memory.append(f"{peer} {cpu:.3f} ({cpu / memory:.0f} times)")
        if abs(value - ap) > 1e-9:
            print(f"  AP DIFFERS: {value} against {ap}")
    print("; ".join(in_memory))


def line(name: str, one: Run, ours: Run | None) -> None:
    ratio = "" if ours is None else f"{one.wall / ours.wall:9.2f}"
    print(f"{name:24s}{one.wall:8.2f}{one.cpu:8.2f}{one.memory:7.0f}{ratio}", flush=True)


def record(
    what: str,
    tool: str,
    wall: float | None = None,
    cpu: float | None = None,
    memory: float | None = None,
) -> None:
    """Add a line to the results, if a file was named."""
    if RESULTS is None:
        return
    new = not RESULTS.exists()
    with RESULTS.open("a", encoding="utf-8") as stream:
        if new:
            stream.write("what,tool,wall_s,cpu_s,memory_mb\n")
        cells = [format(value, ".4g") if value is not None else "" for value in (wall, cpu, memory)]
        stream.write(",".join([what, tool, *cells]) + "\n")


def clock(work: Callable[[], object], repeat: int) -> float:
    """Return the least CPU seconds of some calls."""
    times = []
    for _ in range(repeat):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def suppression(count: int, results: Path | None) -> None:
    """Suppress ``count`` boxes of one image, half of them duplicates."""
    global RESULTS
    RESULTS = results
    import shapely
    import torch
    import torchvision

    from sodkit.geometry.nms import nms, nms_rotated
    from sodkit.geometry.rotated import obb_to_corners, obb_to_xyxy

    _, found = oriented(max(count // 600, 1), 5)
    rows = np.random.default_rng(0).permutation(len(found.box))[:count]
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

    record(f"nms of {len(rows)} upright boxes", "sodkit", cpu=ours)
    record(f"nms of {len(rows)} upright boxes", "torchvision", cpu=theirs)

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
    record(f"nms of {len(rows)} rotated boxes", "sodkit", cpu=ours)
    record(f"nms of {len(rows)} rotated boxes", "shapely STRtree", cpu=theirs)
    print(f"rotated  {ours:.3f}, shapely {theirs:.2f} ({theirs / ours:.0f} times), same: {same}")


def growth(folder: Path, images: int, repeat: int) -> None:
    """Show time and memory at one, two and four times the images."""
    print("\ngrowth, oriented:      MB of JSON  wall s   CPU s      MB")
    for times in (1, 2, 4):
        truth, found = apart(make, folder, "oriented", images, 88, times)
        one = best(repeat, "-m", "sodkit", "eval", str(truth), str(found), "--json")
        record(f"oriented {times} x {images} images", "sodkit", one.wall, one.cpu, one.memory)
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
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full size")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--all", action="store_true", help="pycocotools too: a minute")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--csv", type=Path, help="file that lines are added to")
    arguments = parser.parse_args()
    global RESULTS
    RESULTS = arguments.csv
    scale, repeat = arguments.scale, arguments.repeat
    known = [name for name in LOAD if importlib.util.find_spec(name)]
    quick = [name for name in known if name != "pycocotools" or arguments.all]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "start" in arguments.only:
            start(folder, repeat)
        if "upright" in arguments.only:
            files = apart(make, folder, "upright", round(7000 * scale), 77)
            compare("upright", *files, quick, repeat)
        if "oriented" in arguments.only:
            peers = [peer for peer in known if peer == "hotcoco"]
            files = apart(make, folder, "oriented", round(850 * scale), 88)
            compare("oriented", *files, peers, repeat)
        if "growth" in arguments.only:
            growth(folder, round(425 * scale), repeat)
        if "nms" in arguments.only:
            apart(suppression, round(50_000 * scale), RESULTS)


def start(folder: Path, repeat: int) -> None:
    """Time 60 images: with nothing compiled yet, and from then on."""
    small = apart(make, folder, "upright", 60, 1)
    command = ("-m", "sodkit", "eval", *map(str, small), "--json")
    for code in Path(__file__).parents[1].glob("sodkit/**/__pycache__/*.o"):
        code.unlink()
    first, again = run(*command), best(repeat, *command)
    record("60 images, nothing compiled", "sodkit", first.wall, first.cpu, first.memory)
    record("60 images", "sodkit", again.wall, again.cpu, again.memory)
    print(f"60 images, s: {again.wall:.2f} wall, {again.cpu:.2f} CPU", end="")
    print(f" (the very first time {first.wall:.2f}, {first.cpu:.2f})", flush=True)


if __name__ == "__main__":
    main()
