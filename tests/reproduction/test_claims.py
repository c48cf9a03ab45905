import json

import numpy as np
import pytest
from reproduce.claims import FAILS, HOLDS, OPEN, half_width, judge
from scipy import stats


def verdict(values, **threshold):
    return judge("a claim", "a number", values, **threshold).verdict


def test_a_claim_holds_if_the_whole_interval_is_beyond_the_threshold():
    assert verdict([0.8, 0.9, 0.85], above=0.5) == HOLDS
    assert verdict([0.8, 0.9, 0.85], below=0.5) == FAILS
    assert verdict([0.2, 0.1, 0.15], above=0.5) == FAILS
    assert verdict([0.2, 0.1, 0.15], below=0.5) == HOLDS


@pytest.mark.parametrize("threshold", [{"above": 0.5}, {"below": 0.5}])
def test_an_interval_across_the_threshold_decides_nothing(threshold):
    assert verdict([0.1, 0.9, 0.7], **threshold) == OPEN


@pytest.mark.parametrize("threshold", [{"above": 0.5}, {"below": 0.5}])
def test_one_seed_decides_nothing_however_far_it_is(threshold):
    assert verdict([100.0], **threshold) == OPEN


def test_one_value_without_randomness_decides():
    assert verdict(0.7, above=0.5, exact=True) == HOLDS
    assert verdict(0.7, below=0.5, exact=True) == FAILS
    assert verdict([0.7, 0.4], above=0.5, exact=True) == OPEN


def test_the_threshold_itself_counts_as_reached():
    assert verdict(0.5, above=0.5, exact=True) == HOLDS
    assert verdict(0.5, below=0.5, exact=True) == HOLDS


def test_the_interval_is_students():
    values = np.array([0.6, 0.62, 0.67])
    low, high = stats.t.interval(0.95, 2, values.mean(), stats.sem(values))
    assert judge("", "", values, above=0).interval == pytest.approx((low, high), abs=1e-12)
    assert half_width(values) == pytest.approx((high - low) / 2, abs=1e-12)


@pytest.mark.parametrize("values", [[np.nan, 0.1], [np.inf], [1.2, 0.1], []])
def test_a_statistic_that_is_not_finite_or_out_of_range_is_refused(values):
    with pytest.raises(ValueError, match="judge 'a number': expected finite values"):
        judge("a claim", "a number", values, above=0, limits=(-1, 1))


def test_a_statistic_without_limits_must_still_be_finite():
    with pytest.raises(ValueError, match="expected finite values; got"):
        judge("a claim", "a number", [np.inf, 1.0], above=0)


@pytest.mark.parametrize("threshold", [{}, {"above": 0.1, "below": 0.2}])
def test_there_is_just_one_threshold(threshold):
    with pytest.raises(ValueError, match="expected one of above and below"):
        judge("a claim", "a number", 0.1, **threshold)


def test_a_finding_is_plain_json():
    plain = json.loads(json.dumps(judge("a claim", "a number", [0.4], above=0.1).to_dict()))
    assert plain["interval"] == [None, None]
    assert plain["limits"] == [None, None]
    assert (plain["verdict"], plain["values"], plain["threshold"]) == (OPEN, [0.4], 0.1)
