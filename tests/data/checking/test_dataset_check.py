import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sodkit.data.checking.check_profile import BINS
from sodkit.data.checking.dataset_check import CheckReport, check_dataset

RNG = np.random.default_rng(3)


def picture(path: Path, width: int = 100, height: int = 80, exif: int | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    ok, data = cv2.imencode(path.suffix, RNG.integers(0, 255, (height, width, 3), np.uint8))
    assert ok
    content = data.tobytes()
    if exif is not None:
        body = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0"
        body += bytes([exif]) + b"\0\0\0\0\0\0"
        content = content[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body
        content += data.tobytes()[2:]
    path.write_bytes(content)


def kinds(report: CheckReport) -> set[tuple[str, str]]:
    return {(item.severity, item.kind) for item in report.findings}


@pytest.fixture
def coco(tmp_path: Path) -> dict[str, Any]:
    names = ["a.jpg", "b.jpg", "c.png"]
    for name in names:
        picture(tmp_path / "images" / name)
    return {
        "images": [
            {"id": i, "file_name": name, "width": 100, "height": 80} for i, name in enumerate(names)
        ],
        "annotations": [
            {"id": 1, "image_id": 0, "category_id": 1, "bbox": [1, 2, 10, 10]},
            {"id": 2, "image_id": 0, "category_id": 1, "bbox": [10, 20, 30, 10]},
            {"id": 3, "image_id": 1, "category_id": 2, "bbox": [1, 2, 50, 40], "ignore": 1},
            {"id": 4, "image_id": 1, "category_id": 9, "bbox": [1, 2, 50, 40]},
        ],
        "categories": [
            {"id": 1, "name": "ship"}, {"id": 2, "name": "car"}, {"id": 9, "name": "ignore"},
        ],
    }  # fmt: skip


def check(folder: Path, content: Any, **options: Any) -> CheckReport:
    path = folder / "ann.json"
    path.write_text(json.dumps(content))
    return check_dataset(path, **options)


def test_a_sound_data_set_and_its_profile(tmp_path: Path, coco: dict[str, Any]) -> None:
    report = check(tmp_path, coco)
    assert report.findings == ()
    profile = report.profile
    assert profile is not None
    assert (profile.images, profile.empty, profile.ignored, profile.regions) == (3, 1, 1, 1)
    assert profile.counts.tolist() == [[1, 1, 0, 0, 0], [0, 0, 0, 1, 0]]
    assert profile.histogram.tolist()[BINS.index(8)] == 1
    assert profile.histogram.sum() == 3
    assert profile.as_dict()["per_class"]["car"]["N"] == 1
    assert report.images_dir == tmp_path / "images"


BOX = [30, 30, 20, 10]
POLY = [30, 30, 50, 30, 50, 40, 30, 40]
BAD: list[tuple[str, str, str, dict[str, Any]]] = [
    ("duplicate-id", "error", "annotation id 2 occurs twice", {"id": 2}),
    ("no-size", "error", "no size", {"bbox": [5, 5, 0, 9]}),
    ("no-size", "error", r"\[5, 5, 7, -3\]", {"bbox": [5, 5, 7, -3]}),
    ("outside", "error", "wholly outside", {"bbox": [500, 5, 7, 7]}),
    ("partly-outside", "warning", "10 px out", {"bbox": [90, 5, 20, 7]}),
    ("tiny", "warning", "0.5 x 9 px", {"bbox": [5, 5, 0.5, 9]}),
    ("unknown-class", "error", "unknown category id 77", {"category_id": 77}),
    ("unknown-image", "error", "no image has the id 55", {"image_id": 55}),
    ("form", "error", "expected a list, found the text '1 2 3 4'", {"bbox": "1 2 3 4"}),
    ("form", "error", "category_id", {"category_id": None}),
    ("form", "error", "neither bbox", {"bbox": None}),
    ("not-finite", "error", "not finite", {"bbox": [5, 5, 1e308, 1e308]}),
    ("duplicate-box", "warning", "same box", {"bbox": [1, 2, 10, 10], "image_id": 0}),
    ("crosses-itself", "error", "crosses itself", {"poly": [30, 30, 50, 40, 50, 30, 30, 40]}),
    ("many-corners", "warning", "5 corners", {"poly": [*POLY, 25, 35]}),
    ("bad-polygon", "error", "three corners", {"poly": [1, 2, 3, 4]}),
    ("no-size", "error", "no area", {"poly": [1, 1, 9, 9, 5, 5, 3, 3]}),
]


@pytest.mark.parametrize(("kind", "severity", "text", "change"), BAD, ids=[b[2] for b in BAD])
def test_finds_what_is_wrong_with_an_annotation(
    tmp_path: Path, coco: dict[str, Any], kind: str, severity: str, text: str, change: Any
) -> None:
    item = {"id": 5, "image_id": 1, "category_id": 1, "bbox": BOX, **change}
    coco["annotations"].insert(2, item)
    report = check(tmp_path, coco, look_at_images=False)
    assert (severity, kind) in kinds(report)
    found = next(item for item in report.findings if item.kind == kind)

    assert re.search(text, f"{found.where}: {found.what}")
    assert "annotations[2]" in found.where or kind == "duplicate-id"
    assert report.profile is not None


def test_lists_everything_at_once(tmp_path: Path, coco: dict[str, Any]) -> None:
    for number, (_, _, _, change) in enumerate(BAD):
        item = {"id": 100 + number, "image_id": 1, "category_id": 1, "bbox": BOX, **change}
        coco["annotations"].append(item)
    coco["images"].append({"id": 0, "file_name": "twice.jpg", "width": 5, "height": 5})
    coco["images"].append({"id": 8, "file_name": "../up.jpg", "width": 5, "height": 5})
    coco["images"].append({"id": "x9", "file_name": "x.jpg", "width": 5, "height": 5})
    report = check(tmp_path, coco, look_at_images=False)
    assert {kind for kind, *_ in BAD} <= {kind for _, kind in kinds(report)}
    text = "\n".join(f"{item.where}: {item.what}" for item in report.findings)
    assert "image id 0 occurs twice" in text
    assert "leads out" in text
    assert "images[5].id (id x9): expected a whole number, found the text 'x9'" in text


@pytest.mark.filterwarnings("ignore::sodkit.errors.DataWarning")  # of the JPEG that is cut off
def test_finds_what_is_wrong_with_images(tmp_path: Path, coco: dict[str, Any]) -> None:
    folder = tmp_path / "images"
    for name in ("turned", "upside", "cut", "noise", "size", "twin"):
        coco["images"].append(
            {"id": len(coco["images"]), "file_name": f"{name}.jpg", "width": 100, "height": 80}
        )
        picture(folder / f"{name}.jpg", exif={"turned": 6, "upside": 3}.get(name))
    coco["images"].append({"id": 50, "file_name": "gone.jpg", "width": 100, "height": 80})
    whole = (folder / "cut.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "noise.jpg").write_bytes(b"no image")
    picture(folder / "size.jpg", 99, 80)
    (folder / "twin.jpg").write_bytes((folder / "a.jpg").read_bytes())
    report = check(tmp_path, coco)
    found = {Path(item.where).stem: (item.severity, item.kind) for item in report.findings}
    assert found == {
        "turned": ("warning", "exif-rotated"),
        "upside": ("warning", "exif-rotated"),
        "cut": ("warning", "cut-off"),
        "noise": ("error", "unreadable"),
        "size": ("error", "size"),
        "twin": ("warning", "duplicate-image"),
        "gone": ("error", "missing"),
    }
    assert "99 x 80 px, its annotation says 100 x 80" in "".join(i.what for i in report.findings)
    one = check(tmp_path, coco, workers=1)
    assert one.findings == report.findings


def test_depth_and_values_of_images_are_reported_once(tmp_path: Path, coco: dict[str, Any]) -> None:
    """Cameras of 12 bits (dtld_parsing#10): a dark image is scaled as one of 10."""
    for highest in (900, 4000):
        name = f"deep{highest}.png"
        coco["images"].append(
            {"id": len(coco["images"]), "file_name": name, "width": 100, "height": 80}
        )
        pixels = np.full((80, 100, 3), highest, np.uint16)
        assert cv2.imwrite(str(tmp_path / "images" / name), pixels)
    (found,) = [item for item in check(tmp_path, coco).findings if item.kind == "bits"]
    assert "16 bits a channel, 3 channels, values 900 to 4000: each" in found.what
    assert "as 10 bits, as 12 bits" in found.what
    assert found.hint is not None
    assert found.hint.startswith("--bit-depth 12 ")
    assert not check(tmp_path, coco, bit_depth=12).findings
    (high,) = check(tmp_path, coco, bit_depth=11).findings
    assert (high.severity, high.kind) == ("error", "unreadable")


def test_unknown_classes_with_the_closest_name(tmp_path: Path, coco: dict[str, Any]) -> None:
    coco["categories"][0]["name"] = "shpi"
    report = check(tmp_path, coco, classes=("ship", "car"), look_at_images=False)
    assert [(i.kind, i.hint) for i in report.findings] == [
        ("unknown-class", "did you mean 'ship'?")
    ]


def test_a_rare_class_of_nearly_the_same_name(tmp_path: Path, coco: dict[str, Any]) -> None:
    coco["categories"].append({"id": 3, "name": "shipp"})
    many = [
        {"id": 50 + i, "image_id": 0, "category_id": 1, "bbox": [i, 5, 9, 9]} for i in range(60)
    ]
    rare = {"id": 200, "image_id": 0, "category_id": 3, "bbox": [5, 60, 9, 9]}
    report = check(tmp_path, {**coco, "annotations": [*many, rare]}, look_at_images=False)
    assert kinds(report) == {("warning", "class-name")}
    assert "named nearly as 'ship'" in report.findings[0].what


def test_label_files_are_all_looked_at(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.png")
    labels = tmp_path / "labelTxt"
    labels.mkdir()
    (labels / "a.txt").write_text(
        "1 1 9 1 9 9 1 9 ship 0\n1 1 9 1 9 ship 0\nnan 1 9 1 9 9 1 9 ship 0\n"
        "1 1 9 1 9 9 1 9 ship x\n\xe4 1 9 1 9 9 1 9 ship 0\n",
        "utf-8",
    )
    (labels / "b.txt").write_text("500 500 509 500 509 509 500 509 ship 0\n")
    (labels / "c.txt").write_bytes(b"1 1 9 1\n1 1 9 1 9 9 1 9 sh\xff 0\n")
    report = check_dataset(tmp_path)
    places = [(item.kind, item.where.removeprefix(str(labels))) for item in report.findings]
    assert places == [
        ("form", "/a.txt:2"), ("form", "/a.txt:3"), ("form", "/a.txt:4"), ("form", "/a.txt:5"),
        ("missing", "/b.txt"), ("form", "/c.txt:2"),
    ]  # fmt: skip
    assert report.profile is not None
    assert report.profile.counts.sum() == 2


def test_what_cannot_be_read_at_all(tmp_path: Path) -> None:
    (tmp_path / "ann.json").write_text("[")
    report = check_dataset(tmp_path / "ann.json")
    assert [item.severity for item in report.findings] == ["error"]
    assert report.profile is None
    assert check_dataset(tmp_path / "nowhere").count("error") == 1


def test_faults_of_one_cause_are_one_finding(tmp_path: Path, coco: dict[str, Any]) -> None:
    for number in range(200):
        name, size = f"gone{number:03}.jpg", {"width": 100, "height": 80}
        coco["images"].append({"id": 100 + number, "file_name": name, **size})
        item = {"id": 1000 + number, "image_id": 1, "bbox": [number % 50, number // 50, 9, 9]}
        coco["annotations"].append({**item, "category_id": 70 + number})
        coco["annotations"].append({**item, "id": 2000 + number, "category_id": f"{number} cars"})
    report = check(tmp_path, coco)
    assert [(item.kind, len(item.others)) for item in report.findings] == [
        ("form", 199), ("unknown-class", 199), ("missing", 199),
    ]  # fmt: skip
    missing = report.findings[2]
    assert missing.what == (
        "no such image (and 199 more like it: gone001.jpg, gone002.jpg, gone003.jpg, gone004.jpg, "
        "gone005.jpg, ...)"
    )
    assert missing.where.endswith("gone000.jpg")
    assert missing.hint == "--images DIR says where file names start"
    assert missing.as_dict()["others"][-1].endswith("gone199.jpg")


@pytest.mark.parametrize(
    ("empty", "expected"),
    [(0, []), (9, ["warning"]), (10, ["error"])],
)
def test_images_without_objects(
    tmp_path: Path, coco: dict[str, Any], empty: int, expected: list[str]
) -> None:
    coco["images"] = [
        {"id": i, "file_name": f"{i}.jpg", "width": 100, "height": 80} for i in range(10)
    ]
    coco["annotations"] = [
        {"id": i, "image_id": i, "category_id": 1, "bbox": [i, 5, 9, 9]} for i in range(empty, 10)
    ]
    report = check(tmp_path, coco, look_at_images=False)
    found = [item for item in report.findings if item.kind == "no-objects"]
    assert [item.severity for item in found] == expected
    if expected:
        assert str(empty if empty < 10 else "none") in found[0].what
