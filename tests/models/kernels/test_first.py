"""The best of many scores: sorted, and as a graph finds them."""

from __future__ import annotations

from unittest import mock

import pytest
import torch

from sodkit.models.kernels.first import first, fixed_shapes


@pytest.mark.parametrize("compiling", [False, True])
def test_the_greatest_come_first_and_no_more_than_there_are(compiling: bool) -> None:
    scores = torch.tensor([0.1, 0.9, 0.3])
    with mock.patch("torch.compiler.is_compiling", return_value=compiling):
        assert fixed_shapes(scores) == compiling
        found, place = first(scores, 2)
        assert place.tolist() == [1, 2]
        assert torch.equal(found, scores[place])
        assert first(scores, 9)[1].tolist() == [1, 2, 0]


def test_of_equal_scores_the_earlier_is_first() -> None:
    assert first(torch.tensor([0.5, 0.7, 0.5, 0.7]), 3)[1].tolist() == [1, 3, 0]
