import torch

from sodkit.models.parts.corner_head import CornerMaps
from sodkit.models.parts.corner_pairs import NONE, Corners, best_corners, paired


def maps(peaks):
    """Return maps (1, 2, 6, 8) with peaks (label, row, column, logit, embedding, x, y)."""
    logits, embedding = torch.full((1, 2, 6, 8), -20.0), torch.zeros(1, 1, 6, 8)
    offset = torch.zeros(1, 2, 6, 8)
    for label, row, column, logit, tag, x, y in peaks:
        logits[0, label, row, column] = logit
        embedding[0, 0, row, column] = tag
        offset[0, :, row, column] = torch.tensor([x, y])
    return CornerMaps(logits, embedding, offset)


def test_corners_are_peaks_of_the_heat_map():
    given = maps([(0, 1, 2, 2.0, 0.3, 0.5, 0.25), (1, 4, 7, 1.0, -0.4, 0.0, 0.0),
                  (0, 1, 3, 1.5, 0.0, 0.0, 0.0), (1, 0, 0, 0.5, 0.0, -9.0, 0.0)])  # fmt: skip
    usable = torch.ones(1, 48, dtype=torch.bool)
    found = best_corners(given, usable, torch.tensor([4.0, 4.0]), 3)
    # the third has a greater neighbour; what is left of the image begins with it
    assert found.labels.tolist() == [[0, 1, 1]]
    torch.testing.assert_close(found.scores, torch.tensor([[2.0, 1.0, 0.5]]).sigmoid())
    assert found.at.tolist() == [[[10, 5], [28, 16], [0, 0]]]
    torch.testing.assert_close(found.embedding, torch.tensor([[0.3, -0.4, 0.0]]))
    usable[0, 8 + 2] = False
    found = best_corners(given, usable, torch.tensor([4.0, 4.0]), 48 * 2)
    assert found.labels[0, :2].tolist() == [1, 1]


def corners(rows):
    """Return corners of rows (score, label, x, y, embedding)."""
    table = torch.tensor(rows)[None]
    return Corners(table[..., 0], table[..., 1].long(), table[..., 2:4], table[..., 4])


def test_pairs_are_of_one_class_alike_and_in_order():
    first = corners([[0.9, 0, 10, 10, 0.0], [0.5, 1, 20, 20, 1.0], [0.0, 0, 0, 0, 0.0]])
    second = corners(
        [
            [0.8, 0, 30, 30, 0.4],  # with the first one
            [0.7, 0, 30, 30, 0.6],  # unlike
            [0.6, 1, 25, 25, 1.0],  # of the second one
            [0.5, 0, 10, 30, 0.0],  # below, not right
            [0.4, 0, 30, 5, 0.0],  # above
        ]
    )
    found = paired(first, second, 0.5, 100)
    assert found.boxes.shape == (1, 15, 4)
    assert int((found.scores > 0).sum()) == 2
    torch.testing.assert_close(found.scores[0, :3], torch.tensor([0.85, 0.55, NONE]))
    assert found.boxes[0, :2].tolist() == [[10, 10, 30, 30], [20, 20, 25, 25]]
    assert found.labels[0, :2].tolist() == [0, 1]
    assert paired(first, second, 0.5, 1).boxes.shape == (1, 1, 4)
