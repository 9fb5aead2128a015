import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sodkit import json_columns
from sodkit.data.formats.reading import Angle
from sodkit.data.predictions.columns import Stated
from sodkit.data.predictions.storage import read_predicted, read_predictions, write_predictions
from sodkit.data.records import Annotations, Category, Detections, ImageRecord
from sodkit.errors import DataError
from sodkit.geometry.rotated import obb_to_corners, obb_to_xywh

GOOD: dict[str, Any] = {"image_id": 4, "category_id": 1, "score": 0.5, "bbox": [1, 2, 3, 4]}


def annotations() -> Annotations:
    return Annotations(
        images=(ImageRecord(4, "a.jpg", 99, 99), ImageRecord(9, "b.jpg", 99, 99)),
        categories=(Category(5, "car"), Category(1, "ship")),
        ids=np.zeros(0, np.int64),
        image_index=np.zeros(0, np.int64),
        labels=np.zeros(0, np.int64),
        xywh=np.zeros((0, 4)),
        area=np.zeros(0),
        ignore=np.zeros(0, np.bool_),
    )


def some(count: int, *, oriented: bool) -> Detections:
    rng = np.random.default_rng(0)
    obb = np.column_stack([
        rng.uniform(-50, 4000, (count, 2)), rng.uniform(20, 40, count), rng.uniform(0, 20, count),
        rng.uniform(-1.5, 1.5, count),
    ])  # fmt: skip
    return Detections(
        rng.choice([4, 9], count), rng.integers(0, 2, count), rng.random(count),
        obb_to_xywh(obb), obb if oriented else None,
    )  # fmt: skip


def assert_same(a: Detections, b: Detections) -> None:
    for name in ("image_ids", "labels", "scores"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    if a.obb is None:
        np.testing.assert_array_equal(a.xywh, b.xywh)
        assert b.obb is None
    else:
        assert b.obb is not None
        np.testing.assert_array_equal(a.obb, b.obb)
        np.testing.assert_allclose(a.xywh, b.xywh)


@pytest.mark.parametrize("suffix", [".json", ".npz"])
@pytest.mark.parametrize("oriented", [False, True])
@pytest.mark.parametrize("large", [1, 10**9])
def test_what_is_written_is_read(
    tmp_path: Path, suffix: str, oriented: bool, large: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_columns, "LARGE", large)  # both readers
    found = some(2000, oriented=oriented)
    path = tmp_path / f"p{suffix}"
    write_predictions(path, found, annotations().categories)
    assert_same(found, read_predictions(path, annotations()))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_proposals_have_no_category(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"p{suffix}"
    found = some(5, oriented=False)
    write_predictions(path, found, None)
    read = read_predictions(path, annotations(), proposals=True)
    assert read.labels.tolist() == [0] * 5
    np.testing.assert_array_equal(read.xywh, found.xywh)
    with pytest.raises(DataError, match="no category_id") as caught:
        read_predictions(path, annotations())
    assert caught.value.hint == "are these --proposals?"


def test_category_ids_become_indices(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text(json.dumps([GOOD, {**GOOD, "category_id": 5}]))
    assert read_predictions(path, annotations()).labels.tolist() == [1, 0]


def test_polygons_become_oriented_boxes(tmp_path: Path) -> None:
    box = np.array([[30.0, 20.0, 8.0, 4.0, 0.3]])
    record = {k: v for k, v in GOOD.items() if k != "bbox"}
    record["poly"] = obb_to_corners(box).ravel().tolist()
    path = tmp_path / "p.json"
    path.write_text(json.dumps([{**record, "bbox": [0, 0, 1, 1]}]))
    read = read_predictions(path, annotations())
    assert read.obb is not None
    np.testing.assert_allclose(read.obb, box, atol=1e-9)
    np.testing.assert_allclose(read.xywh, obb_to_xywh(box), atol=1e-9)


def test_other_fields_and_whole_numbers_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text(json.dumps([{**GOOD, "score": 1, "segmentation": [[1, 2]], "id": 3}]))
    assert read_predictions(path, annotations()).scores.tolist() == [1.0]


def test_a_box_without_area_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text(json.dumps([{**GOOD, "bbox": [1, 2, 0, 4]}]))
    assert len(read_predictions(path, annotations())) == 1


def bad(**change: Any) -> str:
    record = {**GOOD, **change}
    return json.dumps([GOOD, {key: value for key, value in record.items() if value is not None}])


@pytest.mark.parametrize("large", [1, 10**9], ids=["scanner", "careful"])
@pytest.mark.parametrize(
    ("text", "message", "where"),
    [
        ("", "breaks off after 0 bytes", "$[0]"),
        ('{"images": []}', "not a list of predictions", ""),
        (bad()[:-20], "breaks off after", "$[1] (image_id 4)"),
        (bad()[:-1], "breaks off after", "$[1] (image_id 4)"),
        (bad() + "x", "not valid JSON", ""),
        ("[5]", "expected an object {...}, found 5", "$[0]"),
        (bad(score=None), "the field 'score' is missing", "$[1] (image_id 4)"),
        (bad(image_id=None), "the field 'image_id' is missing", "$[1]"),
        (bad(category_id=None), "has no category_id", "$[1] (image_id 4)"),
        (bad(bbox=None), "mixed kinds of box: has no box", "$[1] (image_id 4)"),
        (
            bad(bbox=[1, 2, 3]),
            "bbox: expected a list of 4 values, found [1,2,3]",
            "$[1] (image_id 4)",
        ),
        (bad(bbox=None, obb=[1, 2, 3, 4, 0]), "mixed kinds of box: has obb", "$[1] (image_id 4)"),
        (bad(score="high"), "score: expected a number, found the text 'high'", "$[1] (image_id 4)"),
        (bad(score=float("nan")), "NaN or Infinity", "$[1] (image_id 4)"),
        (bad(bbox=[1, 2, float("-inf"), 4]), "NaN or Infinity", "$[1] (image_id 4)"),
        (bad(score=-0.1), "score is negative", "$[1] (image_id 4)"),
        (bad(score=87.5), "score is above 1", "$[1] (image_id 4)"),
        (bad(bbox=[1, 2, 3e9, 4]), "beyond 1e+09 px", "$[1] (image_id 4)"),
        (bad(bbox=[1, 2, -3, 4]), "negative width or height", "$[1] (image_id 4)"),
        (bad(image_id=7), "image 7 is not in the annotations", "$[1] (image_id 7)"),
        (bad(category_id=2), "category_id 2 is no class", "$[1] (image_id 4)"),
        (bad(image_id="c"), "image c is not in the annotations", "$[1] (image_id c)"),
        (bad(image_id=4.5), "expected a whole number or a text, found 4.5", "$[1] (image_id 4.5)"),
        (bad(image_id=True), "image_id: expected a number or a text, found true", "$[1]"),
        (bad(category_id="bus"), "class 'bus' is no class", "$[1] (image_id 4)"),
        (bad(image_id=2**70), "image_id: expected a whole number", "$[1]"),
        ('[{"image_id": 4, "category_id": 1, "score": 0.5}]', "has none of bbox", "$[0]"),
    ],
)
def test_rejects_bad_json(
    tmp_path: Path,
    text: str,
    message: str,
    where: str,
    large: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(json_columns, "LARGE", large)
    path = tmp_path / "p.json"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_predictions(path, annotations())
    assert message in caught.value.what
    assert caught.value.where is not None
    assert caught.value.where.startswith(str(path))
    assert where in caught.value.where


DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize("large", [1, 10**9], ids=["scanner", "careful"])
@pytest.mark.parametrize(
    ("data", "message", "where"),
    [
        (DEEP.encode(), "nested too deeply", ""),
        (f'[{{"image_id": 4, "x": {DEEP}}}]'.encode(), "nested too deeply", ""),
        (bad().encode("utf-16"), "is UTF-16 text: save it as UTF-8", "$[0]"),
        (b"\xff\xfe", "UTF-16", "$[0]"),
        (bad().encode() + b"\xff", "not UTF-8 text", "$[1] (image_id 4)"),
        (b'[{"image_id": "\xff", "score": 1}]', "not UTF-8", "$[0]"),
        (b'[{"image_id": 4, "\\ud800": 1}]', "JSON", "$[0] (image_id 4)"),
        (b'[{"image_id": 4, "score": 1e999, "bbox": [1, 2, 3, 4]}]', "too large", "$[0]"),
        (b'[{"image_id": ' + b"9" * 5000 + b', "score": 1}]', "too large", "$[0]"),
        (b'[{"image_id": ' + b"9" * 5000 + b", x}]", "not valid JSON", "$[0]"),
    ],
)
def test_rejects_bad_bytes(
    tmp_path: Path,
    data: bytes,
    message: str,
    where: str,
    large: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(json_columns, "LARGE", large)
    path = tmp_path / "p.json"
    path.write_bytes(data)
    with pytest.raises(DataError) as caught:
        read_predictions(path, annotations())
    assert message.lower() in caught.value.what.lower()
    assert (caught.value.where or "").startswith(f"{path}")
    assert where in (caught.value.where or "")


@pytest.mark.parametrize("large", [1, 10**9], ids=["scanner", "careful"])
def test_a_byte_order_mark_is_skipped(
    tmp_path: Path, large: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_columns, "LARGE", large)
    path = tmp_path / "p.json"
    path.write_text(json.dumps([GOOD]), "utf-8-sig")
    assert len(read_predictions(path, annotations())) == 1


@pytest.mark.parametrize("oriented", [False, True])
@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_a_detector_that_found_nothing(tmp_path: Path, suffix: str, oriented: bool) -> None:
    path, truth = tmp_path / f"p{suffix}", annotations()
    none = Detections.empty("oriented" if oriented else "horizontal")
    write_predictions(path, none, truth.categories)
    said: list[str] = []
    found = read_predicted(path, truth, say=said.append)
    assert len(found.detections) == len(found.images) == 0
    assert found.detections.kind == truth.kind
    assert said == [f"{path}: holds no predictions: every object counts as missed"]


def test_counts_the_unknown(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text(json.dumps([GOOD, {**GOOD, "image_id": 7}, {**GOOD, "image_id": 8}]))
    with pytest.raises(DataError, match="2 of 3 predictions are of unknown images"):
        read_predictions(path, annotations())


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such predictions file"):
        read_predictions(tmp_path / "none.json", annotations())


def test_ctrl_c_while_a_large_file_is_scanned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scanner's view of the file is alive then: closing the file must not become the error."""
    path = tmp_path / "large.json"
    path.write_text('[{"image_id": 1, "category_id": 1, "score": 0.5, "bbox": [1, 2, 3, 4]}]')
    seen = []

    def interrupted(data: np.ndarray, *_: object, **__: object) -> None:
        seen.append(data[:8])
        raise KeyboardInterrupt

    monkeypatch.setattr(json_columns, "LARGE", 0)
    monkeypatch.setattr("sodkit.json_columns.scan.scan", interrupted)
    with pytest.raises(KeyboardInterrupt):
        read_predictions(path, annotations())
    assert len(seen) == 1


def test_angles_in_degrees_are_refused(tmp_path: Path) -> None:
    record = {"image_id": 1, "category_id": 1, "score": 0.5, "obb": [48, 32, 20, 10, 30]}
    path = tmp_path / "pred.json"
    path.write_text(json.dumps([record]))
    images = (ImageRecord(1, "a.jpg", 96, 64),)
    none, no_boxes = np.zeros(0, np.int64), np.zeros((0, 4))
    own = Annotations(
        images, (Category(1, "car"),), none, none, none, no_boxes, np.zeros(0), none != 0
    )
    with pytest.raises(DataError, match="beyond two pi"):
        read_predictions(path, own)


# detectron2#21: x, y, w, h and degrees, counter-clockwise, in bbox
@pytest.mark.parametrize("field", ["obb", "bbox"])
@pytest.mark.parametrize("large", [1, 10**9])
def test_the_unit_of_angles_is_stated(
    tmp_path: Path, field: str, large: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_columns, "LARGE", large)  # both readers
    path, boxes = tmp_path / "p.json", [[50, 40, 20, 10, 60], [30, 30, 12, 6, 0.5]]
    records = [{"image_id": 4, "category_id": 1, "score": 0.5, field: box} for box in boxes]
    path.write_text(json.dumps(records))
    with pytest.raises(DataError) as caught:
        read_predictions(path, annotations())
    assert "--predictions-angle degrees-ccw" in (caught.value.hint or "")
    factors: dict[Angle, int] = {"degrees": 1, "degrees-ccw": -1}
    for angle, factor in factors.items():
        found = read_predicted(path, annotations(), stated=Stated(angle)).detections
        assert found.obb is not None
        np.testing.assert_allclose(found.obb[:, 4], np.deg2rad([60, 0.5]) * factor)
    with pytest.raises(DataError, match="beyond two pi"):
        read_predicted(path, annotations(), stated=Stated("radians"))


def test_the_unit_of_angles_that_are_not_there(tmp_path: Path) -> None:
    path, said = tmp_path / "p.json", list[str]()
    path.write_text(json.dumps([GOOD]))
    read_predicted(path, annotations(), stated=Stated("degrees"), say=said.append)
    assert "without an angle" in said[0]
