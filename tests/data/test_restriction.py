import numpy as np
import pytest

from sodkit.data.records import REGION, Annotations, Category, Detections, ImageRecord
from sodkit.data.restriction import chosen_labels, only_images, only_labels
from sodkit.errors import UsageError

CLASSES = (Category(3, "car"), Category(5, "Bus"), Category(9, "van"))


def annotations() -> Annotations:
    return Annotations(
        tuple(ImageRecord(k, f"{k}.png", 9, 9) for k in (4, 6, 8)), CLASSES,
        np.arange(4), np.array([0, 1, 2, 2]), np.array([2, 0, REGION, 1]),
        np.ones((4, 4)), np.ones(4), np.zeros(4, np.bool_),
    )  # fmt: skip


def test_images() -> None:
    found = only_images(annotations(), np.array([0, 2]))
    assert [image.id for image in found.images] == [4, 8]
    assert found.ids.tolist() == [0, 2, 3]
    assert found.image_index.tolist() == [0, 1, 1]


def test_classes_of_annotations_and_detections() -> None:
    found = only_labels(annotations(), [1, 2], 3)
    assert found.categories == CLASSES[1:]
    assert found.labels.tolist() == [1, REGION, 0]
    zeros = np.zeros(3, np.int64)
    detections = Detections(zeros, np.array([0, 1, 2]), zeros + 0.5, np.ones((3, 4)))
    assert only_labels(detections, [1, 2], 3).labels.tolist() == [0, 1]


def test_names() -> None:
    said: list[str] = []
    assert chosen_labels("van, bus", CLASSES, "x", said.append) == [1, 2]
    assert len(said) == 1
    with pytest.raises(UsageError) as caught:
        chosen_labels("tram", CLASSES, "x")
    assert "car, Bus, van" in (caught.value.hint or "")
