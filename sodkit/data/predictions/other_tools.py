"""Predictions that are not read: the signs they are known by, and what to write instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sodkit.data.formats.foreign import Foreign
from sodkit.errors import DataError

RECORD = (
    "a prediction is {image_id: number or file name, category_id: number or class name, score, "
    "bbox: [x, y, width, height]}; obb and poly stand for oriented boxes"
)
"""What a record of ours is, for messages."""

_PICKLES = tuple(bytes((0x80, protocol)) for protocol in range(2, 6))
"""First bytes of a pickle from protocol 2 on."""

_MMDETECTION = (
    "MMDetection 3 writes results.bbox.json with: tools/test.py CONFIG CHECKPOINT --cfg-options "
    "test_evaluator.outfile_prefix=results; MMDetection 2 with: --format-only --eval-options "
    "jsonfile_prefix=results; MMRotate writes DOTA's Task 1 with: --format-only --eval-options "
    "submission_dir=results"
)
_DETECTRON2 = "Detectron2 writes coco_instances_results.json beside it: give that"
_TABLE = f"write a JSON list of records, as pandas' to_json(orient='records') does: {RECORD}"

_FILES: tuple[tuple[str, Foreign], ...] = (
    (".pkl .pickle", Foreign("a pickle, which could run any program when it is read",
                             _MMDETECTION)),
    (".pth .pt", Foreign("a pickle of torch, which could run any program when it is read",
                         _DETECTRON2)),
    (".csv .tsv .xlsx .parquet", Foreign("a table, and its columns have no fixed names", _TABLE)),
    (".jsonl .ndjson", Foreign("JSON Lines, a record a line",
                               "make one list of it: jq -s . FILE > predictions.json")),
    (".xml", Foreign("XML, which holds annotations", "predictions have a score each")),
)  # fmt: skip
"""By the ending of a file's name."""

_JSON: tuple[tuple[str, Foreign], ...] = (
    ("name class confidence box",
     Foreign("Ultralytics' result.to_json()",
             "model.val(save_json=True) writes predictions.json; predict(save_txt=True, "
             "save_conf=True) writes text files: give their folder")),
    ("xmin ymin xmax ymax confidence",
     Foreign("YOLOv5's pandas()", "val.py --save-json writes predictions.json; detect.py "
             "--save-txt --save-conf writes text files: give their folder")),
    ("frame_id objects",
     Foreign("Darknet's result.json",
             "darknet detector valid with eval=coco in the .data file writes coco_results.json")),
    ("labels scores bboxes", Foreign("MMDetection's DetInferencer", _MMDETECTION)),
    ("boxes scores labels", Foreign("torchvision's output", RECORD)),
    ("score label box", Foreign("the output of a pipeline of transformers", RECORD)),
    ("x_min y_min x_max y_max confidence", Foreign("supervision's JSONSink", RECORD)),
    ("predictions image",
     Foreign("Roboflow's inference",
             f"its x and y are the box's centre; {RECORD}")),
    ("samples", Foreign("a data set of FiftyOne", "export it with dataset.export(dataset_type="
                        "fo.types.COCODetectionDataset, label_field='predictions')")),
)  # fmt: skip
"""By the fields of a JSON, or of its first record."""


def refuse_file(path: Path, head: bytes) -> None:
    """Raise DataError for a file that is no JSON; ``head``: its first bytes."""
    suffix = path.suffix.lower()
    if head.startswith(_PICKLES):
        suffix = suffix if suffix == ".pth" else ".pkl"
    lines = head.split(b"\n", 2)
    if len(lines) > 1 and lines[0].strip()[-1:] == b"}" and lines[1].lstrip()[:1] == b"{":
        suffix = ".jsonl"
    found = next((item for suffixes, item in _FILES if suffix in suffixes.split()), None)
    if found is not None:
        raise DataError(f"is {found.name}: not read", where=path, hint=found.advice)


def refuse_json(value: Any, where: str) -> None:
    """Raise DataError if a JSON object has the fields of another tool's predictions."""
    if not isinstance(value, dict):
        return
    for keys, found in _JSON:
        if set(keys.split()) <= value.keys():
            what = f"looks like {found.name}, which is not read"
            raise DataError(what, where=where, hint=found.advice)
    for name, inner in value.items():
        first = inner[0] if isinstance(inner, list) and inner else None
        if isinstance(first, dict) and {"image_id", "score"} <= first.keys():
            raise DataError(
                "is an object, predictions are a list",
                where=where,
                hint=f"write what is in '{name}' as a file of its own: jq .{name} FILE > "
                "predictions.json",
            )
