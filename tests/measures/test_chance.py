import itertools
import math

import numpy as np
import pytest
import scipy.integrate
from hypothesis import given
from hypothesis import strategies as st

import reference as ref
from svcca.core.coherence import Coherence
from svcca.errors import InputError
from svcca.measures import LinearCKA, chance
from svcca.measures.spectra import participation_ratio

# Nested adaptive quadrature with square-root edges: scipy's default request is 1.5e-8.
QUADRATURE = 1.5e-8


def arcsine_correction(a, b):
    """Sum over all correlations less the number of them times their limit: [f(l+) + f(l-)] / 4 - E f / 2, f = sqrt."""
    centre, half = math.asin(math.sqrt(b)), math.asin(math.sqrt(a))
    low, high = math.sin(centre - half) ** 2, math.sin(centre + half) ** 2
    arcsine = scipy.integrate.quad(lambda t: math.sqrt((low + high - (high - low) * math.cos(t)) / 2), 0, math.pi)[0]
    return (math.sqrt(low) + math.sqrt(high)) / 4 - arcsine / math.pi / 2


@pytest.mark.parametrize(
    ("p", "q", "n_samples", "wachter", "corrected"),
    [(100, 50, 2000, 0.2092, 0.2090), (500, 500, 10000, 0.1908, 0.1907), (20, 20, 10000, 0.0380, 0.0377)],
)
def test_the_published_table_of_gaussian_layers(p, q, n_samples, wachter, corrected):
    # The limit law alone is the table's; at finite ranks it runs high, and simulation gives the corrected values.
    assert round(ref.wachter_mean(p / (n_samples - 1), q / (n_samples - 1)), 4) == wachter
    assert round(chance.cca_mean(p, q, n_samples), 4) == corrected


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
        (98, 98, 101),  # two degrees of freedom short of certainty
    ],
)
def test_the_mean_correlation_is_the_integral_of_wachters_law_with_its_correction(x_rank, y_rank, n_samples):
    degrees = n_samples - 1
    expected = ref.wachter_mean(x_rank / degrees, y_rank / degrees)
    expected += arcsine_correction(x_rank / degrees, y_rank / degrees) / min(x_rank, y_rank)
    assert chance.cca_mean(x_rank, y_rank, n_samples) == pytest.approx(expected, abs=QUADRATURE)


@pytest.mark.parametrize(
    ("p", "q", "n_samples", "draws"), [(20, 20, 10000, 3), (30, 40, 200, 40), (60, 70, 101, 40), (100, 50, 2000, 2)]
)
def test_the_mean_correlation_is_what_independent_gaussian_layers_give(p, q, n_samples, draws):
    means = [ref.simulated_correlations(seed, n_samples, p, q).mean() for seed in range(draws)]
    # The sum of q correlations fluctuates by less than 1 whatever the sizes; the limit law is off by less than 1 / 4.
    tolerance = (4 / math.sqrt(draws) + 0.25) / min(p, q) * 0.5
    assert chance.cca_mean(p, q, n_samples) == pytest.approx(np.mean(means), abs=tolerance)


@pytest.mark.parametrize(
    ("p", "q", "n_samples", "documented"),
    [(2, 2, 100, 0.035), (3, 3, 100, 0.02), (5, 5, 50, 0.007), (5, 8, 100, 0.007), (10, 10, 100, 0.003)],
)
def test_small_layers_have_the_documented_accuracy(p, q, n_samples, documented):
    means = [ref.simulated_correlations(seed, n_samples, p, q).mean() for seed in range(1000)]
    error = np.std(means) / math.sqrt(len(means))
    expected = pytest.approx(np.mean(means), abs=3 * error + documented * np.mean(means))
    assert chance.cca_mean(p, q, n_samples) == expected


@given(y_rank=st.integers(1, 30), x_rank=st.integers(1, 30))
def test_correlations_not_forced_are_those_of_the_complements(x_rank, y_rank):
    degrees = 31
    forced = chance.forced_ones(x_rank, y_rank, degrees + 1)
    if not forced:
        return
    free = chance.cca_mean(degrees - x_rank, degrees - y_rank, degrees + 1)
    smaller = min(x_rank, y_rank)
    total = forced + (smaller - forced) * free
    assert smaller * chance.cca_mean(x_rank, y_rank, degrees + 1) == pytest.approx(total, rel=64 * ref.EPS)


def test_one_correlation_short_of_certainty_follows_the_beta_law():
    # Ranks 18 and 5 of m = 19: the complement of y is one unit against 14 directions.
    expected = (4 + ref.one_unit_mean(14, 20)) / 5
    assert chance.cca_mean(5, 18, 20) == pytest.approx(expected, abs=QUADRATURE)


def test_the_strongest_correlations_of_unrelated_layers_are_the_published_ones():
    # Published by one simulation to four digits; the top of a spectrum of 500 moves in the third.
    assert chance.cca_top(20, 500, 500, 10000) == pytest.approx(0.4101, abs=0.002)


@pytest.mark.parametrize(("k", "p", "q"), [(1, 20, 20), (5, 20, 20), (7, 20, 30), (19, 20, 20), (20, 90, 60)])
def test_the_mean_of_the_strongest_is_what_independent_gaussian_layers_give(k, p, q):
    means = [ref.simulated_correlations(seed, 200, p, q)[:k].mean() for seed in range(40)]
    error = np.std(means) / math.sqrt(len(means))
    # 1.5% of the level as documented, and three standard errors.
    expected = pytest.approx(np.mean(means), abs=3 * error + 0.015 * np.mean(means))
    assert chance.cca_top(k, p, q, 200) == expected


def test_the_strongest_of_too_many_directions_are_the_forced_ones_and_the_complements_strongest():
    assert chance.cca_top(5, 15, 10, 21) == 1.0
    free = chance.cca_top(2, 5, 10, 21)
    assert chance.cca_top(7, 15, 10, 21) == pytest.approx((5 + 2 * free) / 7, rel=8 * ref.EPS)
    means = [ref.simulated_correlations(seed, 21, 15, 10)[:7].mean() for seed in range(400)]
    assert chance.cca_top(7, 15, 10, 21) == pytest.approx(np.mean(means), abs=0.005)  # the documented 1.5% of two of 7


@pytest.mark.parametrize(("k", "p", "q", "n_samples"), [(3, 3, 7, 50), (20, 3, 7, 50), (2, 19, 19, 20), (1, 1, 4, 9)])
def test_the_strongest_of_all_are_the_mean_of_all(k, p, q, n_samples):
    assert chance.cca_top(k, p, q, n_samples) == chance.cca_mean(p, q, n_samples)


def test_the_edge_is_the_end_of_wachters_law():
    a, b = 500 / 9999, 300 / 9999
    edge = chance.cca_largest(500, 300, 10000)
    assert edge == pytest.approx(math.sin(math.asin(math.sqrt(a)) + math.asin(math.sqrt(b))), rel=8 * ref.EPS)
    # The density ends there: the mean of the single largest of a million comes within (1e-6)^(2/3) of the width.
    assert chance._wachter_top(1e-6, b, a) == pytest.approx(edge, rel=1e-3)


def test_the_largest_correlation_of_large_unrelated_layers_is_near_the_edge():
    largest = [ref.simulated_correlations(seed, 300, 60, 60)[0] for seed in range(30)]
    edge = chance.cca_largest(60, 60, 300)
    # Documented as 7% below at rank 20 and 1.7% at 100; the standard error of 30 draws is 0.3%.
    assert 1.0 < edge / np.mean(largest) < 1.05
    assert np.mean(np.array(largest) > edge) < 0.4  # about 12%


@pytest.mark.parametrize(("x_rank", "y_rank"), [(10, 10), (19, 1), (11, 10), (15, 12), (19, 19)])
def test_the_edge_is_one_where_the_ranks_fill_the_samples(x_rank, y_rank):
    assert chance.cca_largest(x_rank, y_rank, 21) == 1.0


@given(x_rank=st.integers(1, 60), y_rank=st.integers(1, 60), n_samples=st.integers(3, 200))
def test_the_strongest_lie_between_the_mean_and_one(x_rank, y_rank, n_samples):
    levels = [chance.cca_top(k, x_rank, y_rank, n_samples) for k in range(1, min(x_rank, y_rank) + 1)]
    assert levels[-1] == chance.cca_mean(x_rank, y_rank, n_samples)
    assert all(one >= two for one, two in itertools.pairwise(levels))
    assert levels[0] <= 1
    if levels[0] < 1 and len(levels) > 1:
        assert levels[0] <= chance.cca_largest(x_rank, y_rank, n_samples)


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


@pytest.mark.parametrize(("p", "q"), [(2, 3), (4, 3), (1, 1)])
def test_the_mean_squared_correlation_over_all_pairings_is_its_chance_level(p, q):
    # Ranks 4 + 3 exceed m = 5: the identity holds with forced ones as well.
    x, y = ref.gaussian(0, 6, p) ** 3, np.exp(ref.gaussian(1, 6, q))
    mean = ref.over_all_pairings(x, y, lambda a, b: float((Coherence.from_rows(a, b).correlations ** 2).mean()))
    assert mean == pytest.approx(chance.r2_cca(p, q, 6), abs=ref.rounding(6, 10))


@pytest.mark.parametrize("p", [1, 2, 4])
def test_explained_variance_over_all_pairings_is_its_chance_level(p):
    x, y = ref.gaussian(0, 6, p) ** 3, np.exp(ref.gaussian(1, 6, 2)) * [1.0, 30.0]
    u = ref.basis(x)[0]

    def explained(_, shuffled):
        z = ref.centred(shuffled)
        return float(np.sum((u.T @ z) ** 2) / np.sum(z**2))

    assert ref.over_all_pairings(x, y, explained) == pytest.approx(chance.linear_regression_r2(p, 6), rel=1e-12)


def test_a_layer_of_full_rank_explains_everything():
    assert chance.linear_regression_r2(19, 20) == chance.r2_cca(19, 3, 20) == 1.0


@pytest.mark.parametrize(
    ("rho", "documented"),
    [
        (np.zeros(50), 0.002),
        (0.95 * 0.9 ** np.arange(50), 0.01),
        (np.linspace(0.95, 0.0, 50), 0.015),
        (np.full(50, 0.7), 0.015),
    ],
    ids=["unrelated", "few", "graded", "all"],
)
def test_corrected_for_chance_the_mean_squared_correlation_is_near_the_truth(rho, documented):
    means = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(1000, 50)), rng.normal(size=(1000, 80))
        y[:, :50] = rho * x + np.sqrt(1 - rho**2) * y[:, :50]
        means.append(float((ref.correlations(x, y) ** 2).mean()))
    value, truth = float(np.mean(means)), float((rho**2).mean())
    corrected = chance.chance_corrected(value, chance.r2_cca(50, 80, 1000))
    assert corrected == pytest.approx(truth, abs=documented)
    assert value - truth > 1.5 * abs(corrected - truth)


def test_corrected_for_chance_identical_layers_have_one_and_unrelated_ones_zero():
    assert chance.chance_corrected(1.0, 0.3) == 1.0
    assert chance.chance_corrected(0.3, 0.3) == 0.0
    assert chance.chance_corrected(0.1, 0.2) < 0


@pytest.mark.parametrize("level", [1.0, math.nan])
def test_a_chance_level_of_one_cannot_be_corrected_for(level):
    with pytest.raises(InputError, match=r"chance_corrected: expected a chance level below 1; got (1\.0|nan)\."):
        chance.chance_corrected(1.0, level)


def spectrum(rank, power):
    return np.arange(1.0, rank + 1) ** -power


def unrelated_procrustes(seed, x_values, y_values, n_samples):
    """Similarity of one draw of uniformly random subspaces with these singular values."""
    u_y = np.linalg.qr(ref.gaussian(seed, n_samples - 1, len(y_values)))[0]
    cross = x_values[:, None] * u_y[: len(x_values)] * y_values
    norms = math.sqrt(np.sum(x_values**2) * np.sum(y_values**2))
    return np.linalg.svd(cross, compute_uv=False).sum() / norms


@pytest.mark.parametrize(
    ("p", "q", "power", "n_samples", "draws", "documented"),
    [
        (60, 70, 0.5, 101, 25, 0.001),  # ranks that exceed the samples together
        (60, 60, 0.5, 600, 20, 0.008),
        (99, 99, 0.5, 101, 25, 0.001),
        (20, 30, 1, 100, 400, 0.02),
        (5, 5, 0, 60, 400, 0.03),
        (2, 2, 0, 100, 400, 0.055),
        (20, 30, 2, 100, 400, 0.064),
    ],
)
def test_procrustes_of_unrelated_layers_has_the_documented_accuracy(p, q, power, n_samples, draws, documented):
    x_values, y_values = spectrum(p, power), spectrum(q, power)
    values = [unrelated_procrustes(seed, x_values, y_values, n_samples) for seed in range(draws)]
    error = np.std(values) / math.sqrt(draws)
    expected = pytest.approx(np.mean(values), abs=3 * error + documented * np.mean(values))
    assert chance.procrustes(x_values, y_values, n_samples) == expected


def test_procrustes_over_all_pairings_is_near_its_chance_level():
    x, y = ref.gaussian(0, 7, 2), np.exp(ref.gaussian(1, 7, 3))
    s_x, s_y = ref.basis(x)[1], ref.basis(y)[1]
    norms = math.sqrt(np.sum(s_x**2) * np.sum(s_y**2))
    mean = ref.over_all_pairings(
        ref.centred(x), ref.centred(y), lambda a, b: np.linalg.svd(a.T @ b, compute_uv=False).sum() / norms
    )
    assert chance.procrustes(s_x, s_y, 7) == pytest.approx(mean, rel=0.064)


@pytest.mark.parametrize(("p", "q", "n_samples"), [(1, 1, 50), (2, 2, 100), (30, 50, 81), (60, 70, 101), (99, 99, 101)])
def test_procrustes_of_equal_singular_values_is_wachters_law(p, q, n_samples):
    expected = ref.wachter_mean(p / (n_samples - 1), q / (n_samples - 1)) * min(p, q) / math.sqrt(p * q)
    # Equal singular values make the interpolation exact; the rest is the midpoint rule over 400 nodes.
    assert chance.procrustes(np.full(p, 3.0), np.full(q, 0.1), n_samples) == pytest.approx(expected, rel=1e-6)


@given(
    x_power=st.floats(0, 8),
    y_power=st.floats(0, 8),
    p=st.integers(1, 30),
    q=st.integers(1, 30),
    exponent=st.integers(-150, 150),
)
def test_procrustes_has_no_sides_and_no_scale(x_power, y_power, p, q, exponent):
    x_values, y_values = spectrum(p, x_power), spectrum(q, y_power)
    level = chance.procrustes(x_values, y_values, 40)
    assert 0 < level <= 1
    assert level == chance.procrustes(y_values, x_values, 40)
    # Logarithms of a scale of 1e150 keep 13 of the 16 digits.
    assert chance.procrustes(10.0**exponent * x_values, y_values, 40) == pytest.approx(level, rel=1e-11)


def test_procrustes_of_a_spectrum_with_a_wide_gap_is_that_of_its_leading_part():
    gap = np.array([3.0, 2.0, 1.0, 1e-8, 1e-8])
    # The interpolation over 400 nodes is good to 0.2% where the spectrum spans 16 decades of variance.
    assert chance.procrustes(gap, gap, 100) == pytest.approx(chance.procrustes(gap[:3], gap[:3], 100), rel=2e-3)


@pytest.mark.parametrize(("p", "q"), [(2, 3), (1, 1), (9, 2)])
def test_linear_cka_over_all_pairings_is_its_chance_level_for_any_data(p, q):
    # Skewed and unequal units on purpose: the identity asks for no distribution.
    x, y = ref.gaussian(0, 6, p) ** 3, np.exp(ref.gaussian(1, 6, q))
    pair = Coherence.from_rows(x, y)
    level = chance.linear_cka(participation_ratio(pair.x), participation_ratio(pair.y), 6)
    mean = ref.over_all_pairings(x, y, lambda a, b: LinearCKA().value(Coherence.from_rows(a, b)))
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
