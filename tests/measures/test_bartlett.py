import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

import reference as ref
from svcca.core.coherence import Coherence
from svcca.errors import InputError, NonFiniteError, SampleError
from svcca.measures import bartlett


def bartlett_by_the_book(rho, p, q, n_samples, k):
    """One statistic with its p-value, term by term, with N - 1 degrees of freedom for the scatter."""
    m = n_samples - 1
    product = math.prod(1 - r**2 for r in rho[k:])
    factor = m - k - (p + q + 1) / 2 + sum(1 / r**2 for r in rho[:k])
    statistic = -factor * math.log(product)
    return statistic, scipy.stats.chi2.sf(statistic, (p - k) * (q - k))


def test_each_statistic_is_the_textbooks():
    rho = np.array([0.9, 0.5, 0.5, 0.02])
    test = bartlett(rho, 6, 4, 60)
    for k in range(4):
        statistic, p_value = bartlett_by_the_book(rho, 6, 4, 60, k)
        assert test.statistics[k] == pytest.approx(statistic, rel=1e-12)
        assert test.p_values[k] == pytest.approx(p_value, rel=1e-10)
    assert test.degrees_of_freedom.tolist() == [24, 15, 8, 3]


def test_the_first_statement_is_that_of_wilks_lambda():
    x, y = ref.related(0, 80, 3, 4)
    joint = np.corrcoef(x, y, rowvar=False)
    parts = np.linalg.det(joint[:3, :3]) * np.linalg.det(joint[3:, 3:])
    wilks = np.linalg.det(joint) / parts
    statistic = -(80 - 1 - (3 + 4 + 1) / 2) * math.log(wilks)
    test = bartlett(Coherence.from_rows(x, y).correlations, 3, 4, 80)
    assert test.statistics[0] == pytest.approx(statistic, rel=1e-10)  # determinants of a condition of about 100


@pytest.mark.parametrize(("p", "q", "n_samples"), [(1, 1, 10), (2, 3, 11), (5, 5, 41), (6, 4, 100)])
def test_p_values_of_unrelated_layers_are_uniform(p, q, n_samples):
    draws = [ref.simulated_correlations(seed, n_samples, p, q) for seed in range(1000)]
    p_values = [bartlett(rho, p, q, n_samples).p_values[0] for rho in draws]
    assert scipy.stats.kstest(p_values, "uniform").pvalue > 0.01  # fixed seeds: this passes or fails for ever


def test_p_values_beyond_the_true_correlations_are_uniform():
    n_samples, p_values = 200, []
    for seed in range(1000):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(n_samples, 4)), rng.normal(size=(n_samples, 3))
        y[:, 0] = 0.9 * x[:, 0] + math.sqrt(1 - 0.9**2) * y[:, 0]
        p_values.append(bartlett(ref.correlations(x, y), 4, 3, n_samples).p_values[1])
    assert scipy.stats.kstest(p_values, "uniform").pvalue > 0.01


def test_as_many_correlations_are_significant_as_were_planted():
    x, y = ref.planted(0, 300, 8, 6, [0.9, 0.6, 0.5])
    test = bartlett(ref.correlations(x, y), 8, 6, 300)
    assert (test.p_values[:3] < 1e-3).all()
    assert test.n_significant() == 3
    # Nothing at all is left beyond the planted ones, up to rounding.
    assert (test.p_values[3:] > 0.999).all()


def test_few_unrelated_layers_have_a_significant_correlation():
    counts = [bartlett(ref.simulated_correlations(s, 200, 5, 7), 5, 7, 200).n_significant(0.05) for s in range(400)]
    # 20 of 400 expected, with a standard deviation of 4.4.
    assert np.count_nonzero(counts) <= 20 + 3 * 4.4


def test_counting_stops_at_the_first_statement_that_stands():
    test = bartlett(np.array([0.9, 0.05, 0.05]), 3, 3, 100)
    assert test.n_significant(0.05) == 1
    assert bartlett(np.array([0.9, 0.9, 0.9]), 3, 3, 100).n_significant() == 3
    assert bartlett(np.array([0.01, 0.01]), 2, 2, 100).n_significant() == 0


def test_a_correlation_of_one_is_certain():
    test = bartlett(np.array([1.0, 1.0, 0.1]), 3, 3, 50)
    assert np.isinf(test.statistics[:2]).all()
    assert (test.p_values[:2] == 0).all()
    assert test.n_significant() == 2


@pytest.mark.parametrize("first", [0.9, 1.0, 0.0])
def test_correlations_of_zero_have_a_p_value_of_one(first):
    test = bartlett(np.array([first, 0.0, 0.0]), 3, 3, 50)
    assert (test.statistics[1:] == 0).all()
    assert (test.p_values[1:] == 1).all()
    assert (test.p_values[0] == 1) == (first == 0)


def test_tiny_correlations_do_not_cancel():
    # log(1 - rho^2) is about -rho^2, far below the last digit of 1 for the smaller ones.
    rho = np.array([0.5, 1e-9, 1e-10])
    test = bartlett(rho, 3, 3, 50)
    factor = 49 - 1 - 3.5 + 1 / 0.25
    assert test.statistics[1] == pytest.approx(factor * (1e-18 + 1e-20), rel=1e-12)
    assert test.statistics[2] == pytest.approx((factor - 1 + 1e18) * 1e-20, rel=1e-12)


@given(
    values=st.lists(st.floats(0, 1), min_size=1, max_size=5),
    wider=st.integers(0, 4),
    spare=st.integers(1, 50),
)
def test_no_correlations_give_anything_but_a_probability(values, wider, spare):
    rho = np.sort(values)[::-1].copy()
    rank = len(rho)
    test = bartlett(rho, rank, rank + wider, 2 * rank + wider + spare)
    assert ((test.p_values >= 0) & (test.p_values <= 1)).all()
    assert (test.statistics >= 0).all()
    assert 0 <= test.n_significant() <= rank


def test_a_tensor_and_its_sides_may_be_given_either_way():
    rho = torch.tensor([0.7, 0.2], dtype=torch.float32)
    one, two = bartlett(rho, 2, 5, 40), bartlett(rho.double().numpy(), 5, 2, 40)
    np.testing.assert_array_equal(one.p_values, two.p_values)
    assert one.p_values.dtype == one.statistics.dtype == np.float64


def test_more_ranks_than_samples_carry_are_refused():
    with pytest.raises(SampleError, match=r"bartlett: expected more samples than x_rank \+ y_rank = 20; got 20\. Some"):
        bartlett(np.full(10, 0.5), 10, 10, 20)
    assert np.isfinite(bartlett(np.full(10, 0.5), 10, 10, 21).statistics).all()


@pytest.mark.parametrize(
    "rho",
    [np.array([0.5, 0.1]), np.array([[0.5], [0.1], [0.0]]), np.zeros(0), np.array([0.5, 0.1, 0.0], dtype=complex)],
    ids=["too few", "two axes", "none", "complex"],
)
def test_other_than_one_real_correlation_for_each_rank_is_refused(rho):
    with pytest.raises(InputError, match=r"bartlett correlations: expected min\(x_rank, y_rank\) = 3 real values"):
        bartlett(rho, 3, 4, 100)


def test_no_rank_at_all_is_refused():
    with pytest.raises(InputError, match="at least 1; got shape"):
        bartlett(np.zeros(0), 0, 4, 100)


@pytest.mark.parametrize("rho", [[0.5, 0.6], [1.1, 0.5], [0.5, -0.1]])
def test_what_is_no_descending_list_of_correlations_is_refused(rho):
    with pytest.raises(InputError, match=r"expected values in \[0, 1\], largest first; got values from"):
        bartlett(np.array(rho), 2, 2, 100)


def test_nan_among_the_correlations_is_refused():
    with pytest.raises(NonFiniteError, match="bartlett correlations: expected finite"):
        bartlett(np.array([0.5, np.nan]), 2, 2, 100)


@pytest.mark.parametrize("level", [0.0, 1.0, -0.1, math.nan])
def test_a_level_that_is_no_probability_is_refused(level):
    with pytest.raises(InputError, match=r"n_significant level: expected a probability in \(0, 1\); got"):
        bartlett(np.array([0.5]), 1, 1, 100).n_significant(level)
