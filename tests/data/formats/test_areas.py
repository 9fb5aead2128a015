import numpy as np
import pytest

from sodkit.data.formats.areas import impossible, usable_areas

BOXES = np.array([[10, 12, 12, 9], [40, 20, 8, 14], [30, 30, 14, 10.0]])
OWN = BOXES[:, 2] * BOXES[:, 3]


@pytest.mark.parametrize("value", [6144.0, 1.0, 0.0, -5.0])
def test_areas_that_are_none_of_the_boxes_give_way(value: float) -> None:
    """obss/sahi (area of the image), prepare_detection_dataset#8 (1.0), cocoapi#296 (0)."""
    stated = np.full(3, value)
    area, notes = usable_areas(stated, BOXES, None)
    assert area.tolist() == OWN.tolist()
    assert "3 of 3 stated areas" in notes[0].what
    area, notes = usable_areas(stated, BOXES, "stated")
    assert area.tolist() == np.maximum(stated, 0).tolist()
    assert notes
    assert usable_areas(stated, BOXES, "box") == (pytest.approx(OWN), ())


def test_areas_of_segmentations_and_whole_pixels_stay() -> None:
    stated = np.array([40.0, 9 * 15, np.nan])
    area, notes = usable_areas(stated, BOXES, None)
    assert area.tolist() == [40, 135, 140]
    assert not notes
    assert not impossible(OWN, BOXES).any()


def test_a_few_wrong_areas_leave_the_others() -> None:
    area, notes = usable_areas(np.array([0.0, 100, 120]), BOXES, None)
    assert area.tolist() == [108, 100, 120]
    assert len(notes) == 1
