"""A closer look in one call."""

import json

import numpy as np
import pytest
from report_cases import random_case

from sodkit.errors import UsageError
from sodkit.evaluation.evaluate import evaluate
from sodkit.evaluation.protocol import SODA_D
from sodkit.evaluation.study import study


def look(seed=1, **options):
    case = random_case(seed, decimals=2)
    return study(evaluate(*case, SODA_D), *case, resamples=5, **options)


def test_the_parts_are_of_the_same_score():
    got = look()
    assert got.score_is_best
    assert got.score == got.curves.everything.best.score
    shown = got.outcomes.score >= got.score
    assert got.confusion.score == got.score
    assert got.worst[0].missed + got.worst[0].false > 0
    assert sum(one.found for one in got.worst) <= (got.outcomes.right & shown).sum()


def test_a_given_score_is_taken():
    got = look(score=0.9)
    assert (got.score, got.score_is_best, got.confusion.score) == (0.9, False, 0.9)


def test_number_of_images():
    assert len(look(worst=2).worst) == 2
    assert look(worst=0).worst == ()


def test_regions_absorb_everywhere():
    case = random_case(2, decimals=2)
    evaluation = evaluate(*case, SODA_D, ignore_regions="absorb")
    drop = study(evaluation, *case, resamples=0, score=0.2)
    absorb = study(evaluation, *case, resamples=0, score=0.2, ignore_regions="absorb")
    assert absorb.outcomes.wrong.sum() < drop.outcomes.wrong.sum()
    assert absorb.confusion.matrix[-1].sum() < drop.confusion.matrix[-1].sum()
    assert np.isclose(absorb.tide.ap, evaluation.metrics["AP50"])


def test_as_dict_is_json():
    data = json.loads(json.dumps(look().as_dict(), allow_nan=False))
    assert set(data) == {"errors", "scores", "calibration", "confusion", "intervals"}


def test_numbers_out_of_range():
    with pytest.raises(UsageError, match="at score 1"):
        look(score=1.5)
    with pytest.raises(UsageError, match=r"at score -0\.1"):
        look(score=-0.1)
    with pytest.raises(UsageError, match="-1 images"):
        look(worst=-1)


@pytest.mark.parametrize("score", [0, 1])
def test_both_ends_of_the_scores_can_be_asked_for(score):
    assert look(score=score).confusion.score == score
