import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference as ref
from svcca.core import chance
from svcca.core.coherence import Coherence
from svcca.core.measures import linear_cka, participation_ratio

# Nested adaptive quadrature with square-root edges: scipy's default request is 1.5e-8.
QUADRATURE = 1.5e-8


@pytest.mark.parametrize(
    ("p", "q", "n_samples", "wachter"),
    [(100, 50, 2000, 0.2092), (500, 500, 10000, 0.1908), (20, 20, 10000, 0.0380)],
)
def test_the_published_table_of_gaussian_layers(p, q, n_samples, wachter):
    assert round(chance.cca_mean(p, q, n_samples), 4) == wachter


@pytest.mark.parametrize(
    ("x_rank", "y_rank", "n_samples"),
    [
        (100, 50, 2000),
        (2, 2, 101),
        (3, 40, 60),
        (30, 50, 81),  # a + b = 1
        (60, 70, 101),  # a + b > 1: an atom at 1
        (50, 50, 101),  # both edges of the law at the ends of [0, 1]
        (2, 98, 101),
        (99, 99, 101),  # one degree of freedom short of certainty
    ],
)
def test_the_mean_correlation_is_the_integral_of_wachters_law(x_rank, y_rank, n_samples):
    degrees = n_samples - 1
    expected = ref.wachter_mean(x_rank / degrees, y_rank / degrees)
    assert chance.cca_mean(x_rank, y_rank, n_samples) == pytest.approx(expected, abs=QUADRATURE)


@pytest.mark.parametrize(
    ("p", "q", "n_samples", "draws"), [(20, 20, 10000, 3), (30, 40, 200, 40), (60, 70, 101, 40), (100, 50, 2000, 2)]
)
def test_the_mean_correlation_is_what_independent_gaussian_layers_give(p, q, n_samples, draws):
    means = [ref.simulated_correlations(seed, n_samples, p, q).mean() for seed in range(draws)]
    # The sum of q correlations fluctuates by less than 1 whatever the sizes; the limit law is off by less than 1 / 4.
    tolerance = (4 / math.sqrt(draws) + 0.25) / min(p, q) * 0.5
    assert chance.cca_mean(p, q, n_samples) == pytest.approx(np.mean(means), abs=tolerance)


def test_small_layers_are_near_wachters_law_too():
    means = [ref.simulated_correlations(seed, 100, 5, 8).mean() for seed in range(400)]
    # The standard error of 400 draws is 0.0014, and the limit law is 0.004 above five directions' own mean.
    assert chance.cca_mean(5, 8, 100) == pytest.approx(np.mean(means), abs=0.01)


def test_the_strongest_correlations_of_unrelated_layers_are_the_simulated_ones():
    rho = ref.simulated_correlations(0, 10000, 500, 500)
    # Published by simulation to four digits; the top of a spectrum of 500 moves in the third.
    assert rho[:20].mean() == pytest.approx(0.4101, abs=0.003)
    assert rho.mean() == pytest.approx(chance.cca_mean(500, 500, 10000), abs=0.001)


@pytest.mark.parametrize(("p", "n_samples"), [(1, 5), (1, 1000), (7, 30), (28, 30), (512, 2000)])
def test_one_unit_against_a_layer_follows_the_beta_law(p, n_samples):
    expected = ref.one_unit_mean(p, n_samples)
    assert chance.cca_mean(p, 1, n_samples) == pytest.approx(expected, abs=QUADRATURE)


def test_a_layer_of_512_units_knows_any_logit_of_2000_samples():
    assert round(chance.cca_mean(512, 1, 2000), 3) == 0.506


def test_one_unit_against_a_layer_is_what_noise_gives():
    rho = [ref.simulated_correlations(seed, 60, 10, 1)[0] for seed in range(400)]
    error = np.std(rho) / math.sqrt(len(rho))
    assert chance.cca_mean(1, 10, 60) == pytest.approx(np.mean(rho), abs=4 * error)


def test_one_unit_against_a_wide_layer_does_not_overflow():
    # The gamma functions of these sizes do; their ratio is about sqrt(p / m).
    assert chance.cca_mean(4096, 1, 100_000) == pytest.approx(math.sqrt(4096 / 99_999), rel=1 / 4096)


@pytest.mark.parametrize(("x_rank", "y_rank"), [(1, 19), (19, 1), (19, 19), (7, 19), (25, 3)])
def test_a_layer_of_full_rank_over_the_samples_makes_everything_certain(x_rank, y_rank):
    assert chance.cca_mean(x_rank, y_rank, 20) == 1.0


def test_the_largest_rank_short_of_certainty_is_below_one():
    assert 0.9 < chance.cca_mean(5, 18, 20) < 1


@given(x_rank=st.integers(1, 60), y_rank=st.integers(1, 60), n_samples=st.integers(3, 200))
def test_the_level_lies_between_zero_and_one_and_has_no_sides(x_rank, y_rank, n_samples):
    level = chance.cca_mean(x_rank, y_rank, n_samples)
    assert 0 < level <= 1
    assert level == chance.cca_mean(y_rank, x_rank, n_samples)


@given(x_rank=st.integers(2, 40), y_rank=st.integers(2, 40), n_samples=st.integers(45, 400))
def test_more_samples_lower_the_level_and_more_directions_raise_it(x_rank, y_rank, n_samples):
    level = chance.cca_mean(x_rank, y_rank, n_samples)
    assert chance.cca_mean(x_rank, y_rank, n_samples + 1) < level
    larger = max(x_rank, y_rank)
    assert chance.cca_mean(min(x_rank, y_rank), larger + 1, n_samples) > level


@pytest.mark.parametrize(
    ("x_rank", "y_rank", "n_samples"), [(15, 12, 21), (20, 20, 21), (20, 1, 21), (10, 10, 21), (3, 4, 21)]
)
def test_as_many_correlations_are_one_as_are_counted_forced(x_rank, y_rank, n_samples):
    rho = ref.correlations(ref.gaussian(0, n_samples, x_rank), ref.gaussian(1, n_samples, y_rank))
    assert chance.forced_ones(x_rank, y_rank, n_samples) == int((rho > 1 - ref.rounding(n_samples, 10)).sum())


def test_the_squared_correlations_of_all_pairings_sum_to_their_exact_mean():
    x, y = ref.gaussian(0, 6, 2), ref.gaussian(1, 6, 3)
    mean = ref.over_all_pairings(x, y, lambda a, b: float((Coherence.from_rows(a, b).correlations ** 2).sum()))
    assert mean == pytest.approx(2 * 3 / 5, abs=ref.rounding(6, 10))


@pytest.mark.parametrize(("p", "q"), [(2, 3), (1, 1), (9, 2)])
def test_linear_cka_over_all_pairings_is_its_chance_level_for_any_data(p, q):
    # Skewed and unequal units on purpose: the identity asks for no distribution.
    x, y = ref.gaussian(0, 6, p) ** 3, np.exp(ref.gaussian(1, 6, q))
    pair = Coherence.from_rows(x, y)
    level = chance.linear_cka(participation_ratio(pair.x), participation_ratio(pair.y), 6)
    mean = ref.over_all_pairings(x, y, lambda a, b: linear_cka(Coherence.from_rows(a, b)))
    assert mean == pytest.approx(level, abs=ref.rounding(6, 10))


@pytest.mark.parametrize(("p", "q", "n_samples"), [(1, 1, 3), (10, 20, 101), (512, 64, 1000), (300, 300, 50)])
def test_linear_cka_of_isotropic_gaussian_units_is_the_closed_form(p, q, n_samples):
    m = n_samples - 1
    # Participation ratio of a Wishart spectrum: (m p)^2 / (m p (m + p + 1)).
    level = chance.linear_cka(m * p / (m + p + 1), m * q / (m + q + 1), n_samples)
    assert level == pytest.approx(math.sqrt(p * q / ((m + p + 1) * (m + q + 1))), rel=8 * ref.EPS)


def test_linear_cka_of_gaussian_layers_has_the_closed_forms_level():
    x, y = ref.gaussian(0, 1000, 40), ref.gaussian(1, 1000, 60)
    pair = Coherence.from_rows(x, y)
    level = chance.linear_cka(participation_ratio(pair.x), participation_ratio(pair.y), 1000)
    # Participation ratios of one draw of n p numbers fluctuate by about 2 / sqrt(n p), here 0.01.
    assert level == pytest.approx(math.sqrt(40 * 60 / ((999 + 41) * (999 + 61))), rel=0.02)
