import json
from pathlib import Path
from typing import Any

import pytest

from sodkit import json_columns
from sodkit.data.predictions.json_records import read_json
from sodkit.errors import DataError


def coco(*annotations: dict[str, Any]) -> dict[str, Any]:
    return {
        "images": [{"id": 1, "file_name": "data/b.png"}, {"id": 2, "file_name": "data/a.png"}],
        "categories": [{"id": 0, "name": "bus"}, {"id": 1, "name": "car"}],
        "annotations": list(annotations),
    }


def box(image: int, category: int, **more: Any) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": [1, 2, 3, 4], **more}


# FiftyOne exports predictions as COCO JSON whose annotations have a score
@pytest.mark.parametrize("large", [1, 10**9])
@pytest.mark.parametrize("start", ["", "\ufeff", " \n"])
def test_coco_with_scores_names_its_images_and_classes(
    tmp_path: Path, large: int, start: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_columns, "LARGE", large)  # both readers
    path = tmp_path / "p.json"
    path.write_text(start + json.dumps(coco(box(2, 1, score=0.5), box(1, 0, score=0.25))))
    columns = read_json(path)
    assert columns.image_names == ("data/b.png", "data/a.png")
    assert columns.class_names == ("bus", "car")
    assert columns.image_id.tolist() == [1, 0]
    assert columns.category_id is not None
    assert columns.category_id.tolist() == [1, 0]
    assert columns.score.tolist() == [0.5, 0.25]


@pytest.mark.parametrize(
    ("record", "what", "advice"),
    [
        (box(1, 1), "'score' is missing", "annotations?"),
        (box(7, 1, score=0.5), "image_id 7 is not in its list", "images and categories"),
        (box(1, 5, score=0.5), "category_id 5 is not in its list", "images and categories"),
    ],
)
def test_coco_that_holds_no_predictions(
    tmp_path: Path, record: dict[str, Any], what: str, advice: str
) -> None:
    path = tmp_path / "p.json"
    path.write_text(json.dumps(coco(record)))
    with pytest.raises(DataError) as caught:
        read_json(path)
    assert what in caught.value.what
    assert advice in (caught.value.hint or "")


@pytest.mark.parametrize(
    "text", ["{", '{"images": [', '{"images": 3}', "{}", '{"a": NaN}', '{"images": 3, "b" 4}']
)
def test_broken_objects(tmp_path: Path, text: str) -> None:
    path = tmp_path / "p.json"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_json(path)
    assert str(path) in (caught.value.where or "")
