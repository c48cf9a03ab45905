"""The permutation test: of any statistic of a pair, and of measures by name."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
import torch

import reference as ref
from every_measure import EVERY
from svcca.core.coherence import Coherence
from svcca.core.moments import JointMoments
from svcca.core.subspace import SVDStep
from svcca.errors import InputError, NonFiniteError
from svcca.measures import PermutationTest, chance, permutation, permutation_test
from svcca.measures.permutation import permutation_null

# Two layers of `ref.related` have condition numbers up to about 10; the slack is for the rare worse draw.
TOLERANCE = ref.rounding(100, 30)


def mean_correlation(pair):
    return float(pair.correlations.mean())


def sum_of_squares(pair):
    return float((pair.matrix.abs() ** 2).sum())


@pytest.mark.parametrize("batch_elements", [1, 20 * 3 * 4, permutation._BATCH_ELEMENTS])
def test_null_values_are_those_of_rows_shuffled_before_the_decomposition(monkeypatch, batch_elements):
    monkeypatch.setattr(permutation, "_BATCH_ELEMENTS", batch_elements)  # one by one, in fours, all at once
    x, y = ref.related(0, 20, 4, 3)
    test = permutation_null(Coherence.from_rows(x, y), mean_correlation, n_permutations=10, seed=3)
    rng = np.random.default_rng(3)
    expected = [ref.correlations(x, y[rng.permutation(20)]).mean() for _ in range(10)]
    np.testing.assert_allclose(test.null, expected, rtol=0, atol=ref.rounding(20, 10))
    assert test.observed == pytest.approx(ref.correlations(x, y).mean(), abs=ref.rounding(20, 10))


def test_the_statistic_sees_the_rows_that_belong_to_the_matrix():
    pair = Coherence.from_rows(*ref.related(0, 15, 3, 2))
    seen = []

    def statistic(matched):
        seen.append(matched)
        return 0.0

    permutation_null(pair, statistic, n_permutations=3)
    assert len(seen) == 4
    for matched in seen:
        again = matched.x.basis.mH @ matched.y.basis
        torch.testing.assert_close(matched.matrix, again, rtol=0, atol=ref.rounding(15))
        assert matched.x is pair.x
        assert matched.y.singular_values is pair.y.singular_values
    assert not torch.equal(seen[1].matrix, seen[2].matrix)


def test_the_p_value_is_that_of_all_matchings():
    x, y = ref.gaussian(0, 6, 1), ref.gaussian(1, 6, 2)
    pair = Coherence.from_rows(x, y)
    observed = sum_of_squares(pair)
    exact = ref.over_all_pairings(x, y, lambda a, b: ref.correlations(a, b)[0] ** 2 >= observed - 1e-9)
    test = permutation_null(pair, sum_of_squares, n_permutations=4000)
    assert 0.05 < exact < 0.95
    # Four standard errors of a share over 4000 draws.
    assert test.p_value == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 4000) + 1 / 4000)


def test_the_mean_of_the_null_is_the_exact_chance_level():
    pair = Coherence.from_rows(*ref.related(0, 50, 4, 6))
    test = permutation_null(pair, sum_of_squares, n_permutations=1000)
    error = test.null.std() / math.sqrt(1000)
    assert test.level == pytest.approx(4 * chance.r2_cca(4, 6, 50), abs=4 * error)
    assert test.level == test.null.mean()


def test_p_values_of_unrelated_rows_are_uniform():
    p_values = []
    for seed in range(100):
        x, y = ref.gaussian(seed, 12, 2) ** 3, ref.gaussian(1000 + seed, 12, 2)  # heavy tails ask for no allowance
        p_values.append(permutation_null(Coherence.from_rows(x, y), sum_of_squares, 49, seed=seed).p_value)
    # On a grid of fiftieths; the distance allowed to 100 draws at the 1% level is 0.16.
    assert scipy.stats.kstest(p_values, "uniform").statistic < 0.16 + 0.02


def test_a_planted_relation_has_the_smallest_p_value_there_is():
    x, y = ref.planted(0, 100, 5, 4, [0.9, 0.8])
    test = permutation_null(Coherence.from_rows(x, y), mean_correlation, n_permutations=199)
    assert test.p_value == 1 / 200
    assert test.observed > test.quantile(1.0)


def test_a_statistic_that_is_the_same_for_every_matching_has_a_p_value_of_one():
    # As many directions as the samples allow: every correlation is 1 whatever the data, give or take rounding.
    pair = Coherence.from_rows(ref.gaussian(0, 10, 9), ref.gaussian(1, 10, 9))
    test = permutation_null(pair, lambda p: float(torch.linalg.svdvals(p.matrix).mean()), n_permutations=50)
    assert test.p_value == 1.0


@pytest.mark.parametrize(("others", "p_value"), [(1 - 1e-14, 1.0), (1 - 1e-6, 1 / 11)])
def test_rounding_alone_makes_no_match_better_than_another(others, p_value):
    values = itertools.chain([1.0], itertools.repeat(others))
    pair = Coherence.from_rows(*ref.related(0, 10, 2, 2))
    assert permutation_null(pair, lambda _: next(values), n_permutations=10).p_value == p_value


def test_a_quantile_is_the_value_that_a_share_stays_below():
    test = PermutationTest(1.0, np.arange(101.0), 1.0)
    assert [test.quantile(share) for share in (0.0, 0.5, 0.95, 1.0)] == [0.0, 50.0, 95.0, 100.0]
    for share in (-0.1, 1.1, math.nan):
        with pytest.raises(InputError, match=r"quantile: expected a share in \[0, 1\]; got"):
            test.quantile(share)


def test_a_seed_gives_the_same_matchings_and_leaves_the_global_generators_alone():
    pair = Coherence.from_rows(*ref.related(0, 30, 3, 3))
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    one, two, other = (permutation_null(pair, mean_correlation, 20, seed).null for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()
    assert torch.equal(torch_state, torch.get_rng_state())
    np.testing.assert_array_equal(numpy_state, np.random.get_state()[1])  # noqa: NPY002


def test_the_first_draws_do_not_depend_on_how_many_follow():
    pair = Coherence.from_rows(*ref.related(0, 30, 3, 3))
    few, many = (permutation_null(pair, mean_correlation, count).null for count in (5, 25))
    np.testing.assert_allclose(few, many[:5], rtol=0, atol=ref.rounding(30))


def test_complex_rows_are_matched_like_real_ones():
    x, y = ref.gaussian(0, 25, 3) + 1j * ref.gaussian(1, 25, 3), ref.gaussian(2, 25, 2)
    test = permutation_null(Coherence.from_rows(x, y), mean_correlation, n_permutations=5)
    rng = np.random.default_rng(0)
    expected = [ref.correlations(x, y[rng.permutation(25)]).mean() for _ in range(5)]
    np.testing.assert_allclose(test.null, expected, rtol=0, atol=ref.rounding(25, 10))


def test_after_the_svd_step_only_the_kept_directions_are_matched():
    x, y = ref.related(0, 40, 6, 5, condition=30.0)
    cut = Coherence.from_rows(x, y).truncate(SVDStep(retained_variance=0.9))
    test = permutation_null(cut, mean_correlation, n_permutations=5)
    rng = np.random.default_rng(0)
    expected = [ref.svcca(x, y[rng.permutation(40)], 0.9)[0] for _ in range(5)]
    assert cut.x.rank < 6
    np.testing.assert_allclose(test.null, expected, rtol=0, atol=ref.rounding(40, 30))


@pytest.mark.parametrize("show", [True, False, None])
def test_every_permutation_moves_the_bar_that_was_asked_for(show, monkeypatch):
    asked = []

    def track(items, description, show):
        asked.append((len(items), description, show))
        return iter(items)

    monkeypatch.setattr(permutation, "track", track)
    permutation_null(Coherence.from_rows(*ref.related(0, 10, 2, 2)), mean_correlation, 3, progress=show)
    assert asked == [(3, "permutations", show)]


def test_layers_without_their_rows_are_refused():
    pair = Coherence.from_moments(JointMoments.from_rows(*ref.related(0, 30, 3, 3)))
    with pytest.raises(InputError, match="expected subspaces that hold their basis; got one decomposed"):
        permutation_null(pair, mean_correlation)


@pytest.mark.parametrize("count", [0, -1, 2.5, True])
def test_no_permutation_at_all_is_refused(count):
    pair = Coherence.from_rows(*ref.related(0, 10, 2, 2))
    with pytest.raises(InputError, match="n_permutations: expected an integer of at least 1; got"):
        permutation_null(pair, mean_correlation, n_permutations=count)


@pytest.mark.parametrize(
    ("values", "where"), [([math.nan], "the observed rows"), ([0.5, 0.5, math.inf], "permutation 1")]
)
def test_a_statistic_without_a_value_is_refused(values, where):
    pair = Coherence.from_rows(*ref.related(0, 10, 2, 2))
    results = itertools.chain(values, itertools.repeat(0.5))
    with pytest.raises(NonFiniteError, match=rf"expected a finite statistic; got (nan|inf) for {where}"):
        permutation_null(pair, lambda _: next(results), n_permutations=5)


# -- of a measure ----------------------------------------------------------------------------------------------------


def test_a_permutation_test_is_the_measure_over_shuffled_rows():
    x, y = ref.related(0, 60, 3, 2)
    test = permutation_test(x, y, measure="procrustes", n_permutations=7, seed=3)
    rng = np.random.default_rng(3)
    expected = [ref.procrustes(x, y[rng.permutation(60)]) for _ in range(7)]
    np.testing.assert_allclose(test.null, expected, rtol=0, atol=TOLERANCE)
    assert test.observed == pytest.approx(ref.procrustes(x, y), abs=TOLERANCE)
    assert test.p_value == (1 + sum(value >= test.observed for value in expected)) / 8
    assert test.level == pytest.approx(np.mean(expected), abs=TOLERANCE)


@pytest.mark.parametrize("name", EVERY)
def test_every_measure_can_be_tested_by_permutation(name):
    x, y = ref.related(0, 60, 4, 3)
    test = permutation_test(x, y, measure=EVERY[name], retained_variance=0.9, n_permutations=19)
    assert test.observed == pytest.approx(ref.MEASURES[name](x, y, 0.9), abs=1e3 * TOLERANCE)
    assert test.null.shape == (19,)
    assert np.isfinite(test.null).all()
    assert test.null.max() < test.observed
    assert test.p_value == 1 / 20


def test_unrelated_layers_are_not_significant_and_related_ones_are():
    x, y = ref.gaussian(0, 100, 3), ref.gaussian(1, 100, 3)
    assert permutation_test(x, y, n_permutations=99).p_value > 0.05
    assert permutation_test(x, x + 3 * y, n_permutations=99).p_value == 0.01


def test_a_seed_gives_the_same_permutations_and_no_global_generator_is_touched():
    x, y = ref.related(0, 60, 3, 2)
    before = np.random.get_state()[1].copy(), torch.random.get_rng_state()  # noqa: NPY002 - it is what is watched
    first, again = (permutation_test(x, y, n_permutations=9, seed=5).null for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, permutation_test(x, y, n_permutations=9, seed=6).null)
    assert np.array_equal(before[0], np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(before[1], torch.random.get_rng_state())


def test_a_permutation_test_decomposes_each_layer_once(monkeypatch):
    x, y = ref.related(0, 60, 3, 2)
    original, calls = torch.linalg.eigh, []
    monkeypatch.setattr(torch.linalg, "eigh", lambda matrix: calls.append(matrix.shape) or original(matrix))
    permutation_test(x, y, n_permutations=9)
    assert len(calls) == 2
