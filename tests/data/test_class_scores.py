"""``scores.json``: what is read, what is said, and what is refused."""

import json

import pytest

from sodkit.data.class_scores import read_class_scores, write_class_scores
from sodkit.errors import DataError

CLASSES = ["car", "truck", "行人", "<b>"]


def test_written_scores_are_read_to_the_bit(tmp_path):
    path = tmp_path / "scores.json"
    scores = {"<b>": 0.1 + 0.2, "car": 1.0, "行人": 1 / 3, "truck": 0.0}
    write_class_scores(path, scores)
    said = []
    read = read_class_scores(path, CLASSES, 0.05, said.append)
    assert read.tolist() == [1.0, 0.0, 1 / 3, 0.1 + 0.2]
    assert said == []
    assert json.loads(path.read_text())["schema_version"] == 1


def test_what_a_user_writes(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text('\ufeff{"scores": {"Car": 1, "truck": 0.2}}', "utf-8")
    said = []
    assert read_class_scores(path, CLASSES, 0.05, said.append).tolist() == [1, 0.2, 0.05, 0.05]
    assert said == [
        f"{path}: class 'Car' is taken as 'car'",
        f"{path}: no score for 行人, <b>: at least 0.05, as --score says",
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"scores": {"trukc": 0.5}}', "'trukc' is no class of the predictions"),
        ('{"scores": {"car": 0.5, "CAR": 0.4}}', "class 'car' has two scores"),
        ('{"scores": {"car": 1.5}}', "the score of 'car' is not a number from 0 to 1 but 1.5"),
        ('{"scores": {"car": true}}', "but true"),
        ('{"scores": {"car": "high"}}', "but the text 'high'"),
        ('{"car": 0.5}', "the field 'scores' is missing"),
        ('{"scores": {', "ends too early"),
        ("[]", "expected an object"),
    ],
)
def test_what_is_refused(tmp_path, content, words):
    path = tmp_path / "scores.json"
    path.write_text(content)
    with pytest.raises(DataError) as caught:
        read_class_scores(path, CLASSES, 0.05)
    assert words in str(caught.value)
    assert str(path) in str(caught.value.where)
    if "trukc" in words:
        assert caught.value.hint == "is 'truck' meant? the classes are: car, truck, 行人, <b>"


def test_no_such_file(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_class_scores(tmp_path / "scores.json", CLASSES, 0.05)
