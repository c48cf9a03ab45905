import math
import warnings

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cross_decomposition import CCA

import reference as ref
from svcca.core import SVDStep
from svcca.core.coherence import Coherence
from svcca.core.moments import JointMoments
from svcca.errors import InputError, NonFiniteError, RankError, SampleError, SvccaWarning
from svcca.measures import CCAResult, cca, linear_cka, pwcca, svcca
from svcca.measures.chance import cca_mean

seeds = st.integers(0, 2**32 - 1)
# Widths and 100 samples keep the chance level below the one that warns.
widths = st.integers(1, 5)
MEASURES = {"cca": cca, "svcca": svcca, "pwcca": pwcca, "linear_cka": linear_cka}
every_measure = pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES.keys())
invariant_to_maps = pytest.mark.parametrize("measure", [cca, pwcca], ids=["cca", "pwcca"])
# Two layers of `ref.related` have condition numbers up to about 10; the slack is for the rare worse draw.
TOLERANCE = ref.rounding(100, 30)


def from_moments(x, y, retained_variance=1.0):
    return CCAResult.from_moments(JointMoments.from_rows(x, y), SVDStep(retained_variance))


both_routes = pytest.mark.parametrize("route", [cca, from_moments])


# -- correlations -----------------------------------------------------------------------------------------------------


@both_routes
@given(seed=seeds, p=widths, q=widths)
def test_correlations_are_the_oracles(route, seed, p, q):
    x, y = ref.related(seed, 100, p, q)
    result = route(x, y)
    np.testing.assert_allclose(result.correlations, ref.correlations(x, y), rtol=0, atol=TOLERANCE)
    assert result.similarity == pytest.approx(ref.correlations(x, y).mean(), abs=TOLERANCE)


@both_routes
@given(seed=seeds, p=st.integers(3, 5), q=st.integers(3, 5))
def test_planted_correlations_mixed_by_invertible_maps_are_found(route, seed, p, q):
    x, y = ref.planted(seed, 100, p, q, [0.95, 0.5, 0.1])
    expected = np.zeros(min(p, q))
    expected[:3] = 0.95, 0.5, 0.1
    np.testing.assert_allclose(route(x, y).correlations, expected, rtol=0, atol=TOLERANCE)


def test_planted_correlations_of_a_population_are_found_as_samples_grow():
    n_samples, rho = 20_000, np.array([0.9, 0.6, 0.3])
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(n_samples, 5)), rng.normal(size=(n_samples, 4))
    y[:, :3] = rho * x[:, :3] + np.sqrt(1 - rho**2) * y[:, :3]
    result = cca(x @ ref.invertible(rng, 5), y @ ref.invertible(rng, 4))
    # Standard error (1 - rho^2) / sqrt(n), five of them; the bias is (p + q) / n.
    tolerance = 5 * (1 - rho**2) / math.sqrt(n_samples) + 9 / n_samples
    assert (np.abs(result.correlations[:3] - rho) < tolerance).all()


@pytest.mark.parametrize(("p", "q", "n_samples", "level"), [(100, 50, 2000, 0.2092), (20, 20, 10000, 0.0380)])
def test_unrelated_gaussian_layers_give_the_published_mean(p, q, n_samples, level):
    result = cca(ref.gaussian(0, n_samples, p), ref.gaussian(1, n_samples, q))
    # The sum of the correlations fluctuates by a few tenths whatever the sizes.
    assert result.similarity == pytest.approx(level, abs=0.3 / math.sqrt(min(p, q)) * level * 3)
    assert result.chance == pytest.approx(level, abs=5e-4)  # the limit law, before its correction for finite ranks


@given(seed=seeds, p=widths, q=widths)
def test_squared_correlations_are_the_roots_of_hotellings_eigenproblem(seed, p, q):
    x, y = ref.related(seed, 100, p, q)
    joint = np.atleast_2d(np.cov(x, y, rowvar=False))
    xx, yy, xy = joint[:p, :p], joint[p:, p:], joint[:p, p:]
    roots = scipy.linalg.eigh(xy @ np.linalg.solve(yy, xy.T), xx, eigvals_only=True)[::-1][: min(p, q)]
    np.testing.assert_allclose(cca(x, y).correlations ** 2, roots, rtol=0, atol=TOLERANCE)


def test_correlations_are_the_cosines_of_scipys_subspace_angles():
    x, y = ref.related(0, 100, 4, 5)
    angles = scipy.linalg.subspace_angles(ref.centred(x), ref.centred(y))
    np.testing.assert_allclose(cca(x, y).correlations, np.cos(angles[::-1]), rtol=0, atol=TOLERANCE)


@both_routes
@given(seed=seeds, p=widths)
def test_a_layer_correlates_fully_with_itself(route, seed, p):
    x = ref.related(seed, 100, p, 1)[0]
    np.testing.assert_allclose(route(x, x).correlations, 1, rtol=0, atol=1e-12)  # the definition's own figure


@both_routes
@given(seed=seeds, p=widths)
def test_a_layer_correlates_fully_with_its_invertible_image(route, seed, p):
    x = ref.related(seed, 100, p, 1)[0]
    y = x @ ref.invertible(np.random.default_rng(seed), p) + 3
    np.testing.assert_allclose(route(x, y).correlations, 1, rtol=0, atol=1e-12)  # the definition's own figure


@both_routes
@given(seed=seeds, p=st.integers(1, 4))
def test_one_unit_correlates_by_the_root_of_its_regression_r2(route, seed, p):
    x, y = ref.related(seed, 100, p, 1)
    result = route(x, y)
    assert result.correlations.shape == (1,)
    assert result.similarity == pytest.approx(math.sqrt(ref.ols_r2(x, y[:, 0])), abs=TOLERANCE)


@invariant_to_maps
@given(seed=seeds)
def test_an_invertible_map_of_the_wider_layer_changes_nothing(measure, seed):
    x, y = ref.related(seed, 100, 3, 4)
    mapped = y @ ref.invertible(np.random.default_rng(seed), 4) - 7
    assert measure(x, mapped).similarity == pytest.approx(measure(x, y).similarity, abs=10 * TOLERANCE)


@pytest.mark.parametrize(
    ("route", "condition"),
    [(cca, 1e1), (cca, 1e2), (cca, 1e3), (cca, 1e4), (from_moments, 1e1), (from_moments, 1e2), (from_moments, 1e3)],
)
@pytest.mark.parametrize(("n_samples", "p", "q"), [(300, 12, 10), (600, 30, 30), (2000, 80, 40)])
def test_ill_conditioned_layers_hold_nine_digits(route, condition, n_samples, p, q):
    for seed in range(3):
        x, y = ref.planted(seed, n_samples, p, q, np.linspace(0.999, 0.05, min(p, q)), condition)
        # 1e-9 is what the library promises: with the rows in memory up to a condition of 1e4.
        np.testing.assert_allclose(route(x, y).correlations, ref.correlations(x, y), rtol=0, atol=1e-9)


# -- directions -------------------------------------------------------------------------------------------------------


@both_routes
@given(seed=seeds, p=widths, q=widths)
def test_variates_are_uncorrelated_of_unit_variance_and_pair_up(route, seed, p, q):
    x, y = ref.related(seed, 100, p, q)
    result = route(x, y)
    u = (x - result.x_mean) @ result.x_directions
    v = (y - result.y_mean) @ result.y_directions
    r = min(p, q)
    assert result.x_directions.shape == (p, r)
    assert result.y_directions.shape == (q, r)
    joint = np.atleast_2d(np.cov(u, v, rowvar=False, ddof=1))
    expected = np.block([[np.eye(r), np.diag(result.correlations)], [np.diag(result.correlations), np.eye(r)]])
    np.testing.assert_allclose(joint, expected, rtol=0, atol=TOLERANCE)


@both_routes
@given(seed=seeds, p=widths, q=widths)
def test_the_largest_loading_of_each_x_direction_is_positive(route, seed, p, q):
    directions = route(*ref.related(seed, 100, p, q)).x_directions
    assert (np.take_along_axis(directions, np.abs(directions).argmax(axis=0)[None], axis=0) > 0).all()


def test_both_routes_give_the_same_directions():
    x, y = ref.planted(0, 200, 4, 5, [0.9, 0.6, 0.3, 0.1])
    rows, moments = cca(x, y), from_moments(x, y)
    # The correlations lie 0.2 apart.
    for side in ("x_directions", "y_directions"):
        scale = np.abs(getattr(rows, side)).max()
        np.testing.assert_allclose(getattr(rows, side), getattr(moments, side), rtol=0, atol=5 * TOLERANCE * scale)


def test_an_offset_of_1000_keeps_the_same_directions():
    x, y = ref.planted(0, 200, 4, 5, [0.9, 0.6, 0.3, 0.1])
    plain, moved = svcca(x, y), svcca(x + 1000, y - 1000)
    assert (plain.x_rank, plain.y_rank) == (moved.x_rank, moved.y_rank)
    np.testing.assert_allclose(moved.correlations, plain.correlations, rtol=0, atol=1000 * TOLERANCE)
    scale = np.abs(plain.x_directions).max()
    np.testing.assert_allclose(moved.x_directions, plain.x_directions, rtol=0, atol=1000 * TOLERANCE * scale)


def test_variates_are_those_of_scikit_learn():
    x, y = ref.planted(1, 200, 4, 3, [0.9, 0.6, 0.2])
    result = cca(x, y)
    peer = CCA(n_components=3, max_iter=20_000, tol=1e-14).fit(x, y)
    for data, mean, directions, scores in (
        (x, result.x_mean, result.x_directions, peer.transform(x, y)[0]),
        (y, result.y_mean, result.y_directions, peer.transform(x, y)[1]),
    ):
        ours = (data - mean) @ directions
        overlaps = np.corrcoef(ours, scores, rowvar=False)[:3, 3:]
        # Its iteration stops at a squared change of 1e-14; each component is deflated from the rounding of the last.
        np.testing.assert_allclose(np.abs(overlaps), np.eye(3), rtol=0, atol=1e-6)


def test_complex_variates_have_unit_variance_and_real_positive_correlation():
    x = ref.gaussian(0, 100, 3) + 1j * ref.gaussian(1, 100, 3)
    y = ref.gaussian(2, 100, 2) + 1j * ref.gaussian(3, 100, 2) + (1 + 2j) * x[:, :2]
    for result in (cca(x, y), from_moments(x, y)):
        u = (x - result.x_mean) @ result.x_directions
        v = (y - result.y_mean) @ result.y_directions
        np.testing.assert_allclose(u.conj().T @ u / 99, np.eye(2), rtol=0, atol=TOLERANCE)
        np.testing.assert_allclose(v.conj().T @ v / 99, np.eye(2), rtol=0, atol=TOLERANCE)
        np.testing.assert_allclose(u.conj().T @ v / 99, np.diag(result.correlations), rtol=0, atol=TOLERANCE)


def test_directions_of_a_cut_layer_see_the_kept_variance_only():
    x, y = ref.gaussian(0, 200, 4) * [100.0, 50.0, 1.0, 1.0], ref.gaussian(1, 200, 3)
    x[:, 0] += 100 * y[:, 0]
    result = svcca(x, y, retained_variance=0.99)
    assert (result.x_rank, result.y_rank) == (2, 3)
    assert result.x_directions.shape == (4, 2)
    u = (x - result.x_mean) @ result.x_directions
    np.testing.assert_allclose(np.cov(u, rowvar=False), np.eye(2), rtol=0, atol=ref.rounding(200, 100))


# -- svcca and the other measures -------------------------------------------------------------------------------------


@given(seed=seeds, p=widths, q=widths, share=st.floats(0.3, 0.999))
def test_svcca_is_the_oracles_with_its_ranks(seed, p, q, share):
    x, y = ref.related(seed, 100, p, q)
    result = svcca(x, y, retained_variance=share)
    similarity, x_rank, y_rank = ref.svcca(x, y, share)
    assert (result.x_rank, result.y_rank, result.step.retained_variance) == (x_rank, y_rank, share)
    # Directions on either side of the cut mix by rounding over the gap of their variances.
    assert result.similarity == pytest.approx(similarity, abs=1e4 * TOLERANCE)
    from_the_moments = from_moments(x, y, share)
    assert from_the_moments.similarity == pytest.approx(similarity, abs=1e4 * TOLERANCE)


def test_svcca_keeps_99_percent_by_default():
    x, y = ref.gaussian(0, 500, 10) * 3.0 ** -np.arange(10), ref.gaussian(1, 500, 6) * 2.0 ** -np.arange(6)
    result = svcca(x, y)
    assert result.step.retained_variance == 0.99
    assert (result.x_rank, result.y_rank) == (ref.kept_rank(x, 0.99), ref.kept_rank(y, 0.99)) == (3, 4)


def test_svcca_of_everything_is_cca():
    x, y = ref.related(0, 100, 4, 3)
    assert np.array_equal(svcca(x, y, retained_variance=1).correlations, cca(x, y).correlations)


@given(seed=seeds, p=widths, q=widths)
def test_pwcca_is_the_oracles(seed, p, q):
    x, y = ref.related(seed, 100, p, q)
    assert pwcca(x, y).similarity == pytest.approx(ref.pwcca(x, y), abs=TOLERANCE)


@given(seed=seeds, p=widths, q=widths)
def test_linear_cka_is_the_oracles(seed, p, q):
    x, y = ref.related(seed, 100, p, q)
    assert linear_cka(x, y).similarity == pytest.approx(ref.linear_cka(x, y), abs=TOLERANCE)


@pytest.mark.parametrize("share", [0, 1.5, -1, float("nan")])
def test_a_share_outside_zero_to_one_is_refused(share):
    with pytest.raises(InputError, match=r"retained_variance: expected a share in \(0, 1\]; got"):
        svcca(*ref.related(0, 100, 3, 3), retained_variance=share)


@every_measure
def test_a_result_says_what_it_is(measure):
    result = measure(*ref.related(0, 100, 4, 3))
    assert result.measure == measure.__name__
    assert (result.x_rank, result.y_rank, result.n_samples, result.warnings) == (4, 3, 100, ())
    assert float(result) == result.similarity


@pytest.mark.parametrize("measure", [cca, svcca, pwcca], ids=["cca", "svcca", "pwcca"])
def test_a_result_holds_its_chance_level(measure):
    assert measure(*ref.related(0, 100, 4, 3)).chance == cca_mean(4, 3, 100)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_results_are_numpy_float64_whatever_comes_in(dtype):
    x, y = (torch.from_numpy(z).to(dtype) for z in ref.related(0, 100, 4, 3))
    result = cca(x, y)
    for array in (result.correlations, result.x_directions, result.y_directions, result.x_mean, result.y_mean):
        assert type(array) is np.ndarray
        assert array.dtype == np.float64
    assert type(result.similarity) is float
    assert type(result.chance) is float


def test_torch_and_numpy_give_the_same_number_to_the_last_bit():
    x, y = ref.related(0, 100, 4, 3)
    assert svcca(torch.from_numpy(x), torch.from_numpy(y)).similarity == svcca(x, y).similarity


@every_measure
def test_the_same_call_gives_the_same_number_every_time(measure):
    x, y = ref.related(0, 100, 4, 3)
    assert len({measure(x, y).similarity for _ in range(3)}) == 1


@every_measure
@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_inputs_are_not_changed_in_place(measure, kind):
    layers = ref.related(0, 100, 4, 3)
    before = [layer.copy() for layer in layers]
    measure(*(layers if kind == "numpy" else map(torch.from_numpy, layers)))
    assert all(np.array_equal(a, b) for a, b in zip(layers, before, strict=True))


# -- hazards: values --------------------------------------------------------------------------------------------------


@every_measure
def test_a_duplicated_neuron_gives_no_nan(measure):
    x, y = ref.related(0, 100, 4, 3)
    result = measure(np.column_stack([x, x[:, 1], x[:, 1]]), y)
    assert result.x_rank == 4
    assert 0 < result.similarity <= 1


def test_duplicated_neurons_change_no_correlation():
    x, y = ref.related(0, 100, 4, 3)
    doubled = cca(np.column_stack([x, x]), np.column_stack([y, y[:, :1]]))
    np.testing.assert_allclose(doubled.correlations, ref.correlations(x, y), rtol=0, atol=10 * TOLERANCE)


@every_measure
@pytest.mark.parametrize("value", [0.0, 0.1, 3000.0])
def test_a_dead_neuron_changes_nothing(measure, value):
    # Three units against five: a dead one leaves the narrower side the narrower one.
    x, y = ref.related(0, 100, 3, 5)
    with_dead = np.column_stack([x, np.full(100, value)])
    result = measure(with_dead, y)
    assert result.x_rank == 3
    assert result.similarity == pytest.approx(measure(x, y).similarity, abs=10 * TOLERANCE)


def test_a_dead_neuron_gives_no_nan_in_pwcca_on_either_side():
    x, y = ref.related(0, 100, 3, 3)
    dead = np.zeros((100, 1))
    for pair in ((np.hstack([x, dead]), y), (x, np.hstack([dead, y])), (np.hstack([x, dead]), np.hstack([dead, y]))):
        assert pwcca(*pair).similarity == pytest.approx(ref.pwcca(*pair, x_rank=3, y_rank=3), abs=10 * TOLERANCE)


def test_pwcca_takes_a_narrower_second_layer():
    x, y = ref.related(0, 100, 5, 2)
    assert pwcca(x, y).similarity == pytest.approx(ref.pwcca(x, y), abs=TOLERANCE)
    assert pwcca(x, y).similarity == pytest.approx(pwcca(y, x).similarity, abs=TOLERANCE)


@every_measure
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [0.1, 3000.0, 0.0])
@pytest.mark.parametrize("side", ["x", "y"])
def test_a_wholly_constant_layer_is_refused_and_named(measure, dtype, value, side):
    layers = {"x": ref.gaussian(0, 100, 3), "y": ref.gaussian(1, 100, 3)}
    layers[side] = np.full((100, 3), value, dtype=dtype)
    with pytest.raises(
        RankError, match=rf"^{side}: expected activations that vary.*a constant layer \(rank 0 over 100"
    ):
        measure(layers["x"], layers["y"])


@every_measure
def test_a_rank_deficient_layer_is_compared_by_its_rank(measure):
    x, y = ref.related(0, 100, 3, 4)
    result = measure(x @ ref.gaussian(1, 3, 9), y)
    assert (result.x_rank, result.y_rank) == (3, 4)
    if measure in (cca, svcca):
        expected = ref.correlations(x, y).mean() if measure is cca else None
        assert expected is None or result.similarity == pytest.approx(expected, abs=100 * TOLERANCE)


@every_measure
@pytest.mark.parametrize("scale", [1e-8, 1e-5, 1e8])
def test_scaled_activations_give_the_same(measure, scale):
    x, y = ref.related(0, 100, 4, 3)
    assert measure(scale * x, y).similarity == pytest.approx(measure(x, y).similarity, abs=TOLERANCE)


@every_measure
def test_activations_scaled_by_a_power_of_two_give_the_same_to_the_last_bit(measure):
    x, y = ref.related(0, 100, 4, 3)
    assert measure(2.0**-27 * x, 2.0**30 * y).similarity == measure(x, y).similarity


@every_measure
@pytest.mark.parametrize("scale", [1e-5, 1e-8])
def test_small_activations_are_identical_to_themselves(measure, scale):
    x = ref.related(0, 100, 5, 1)[0]
    assert measure(scale * x, x).similarity == pytest.approx(1, abs=1e-12)  # the definition's own figure


@every_measure
def test_a_mean_much_larger_than_the_spread_costs_no_digits(measure):
    x, y = ((3000 + layer).astype(np.float32) for layer in ref.related(0, 500, 4, 3, condition=1.0))
    # The float32 rows are what is compared; float64 rounds a mean of 3000 at 3000 eps.
    expected = {"cca": ref.correlations(x, y).mean(), "pwcca": ref.pwcca(x, y), "linear_cka": ref.linear_cka(x, y)}
    expected["svcca"] = ref.svcca(x, y)[0]
    assert measure(x, y).similarity == pytest.approx(expected[measure.__name__], abs=3000 * TOLERANCE)


@every_measure
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_narrow_floats_are_compared_in_float64(measure, dtype):
    x, y = (torch.from_numpy(layer).to(dtype) for layer in ref.related(0, 100, 4, 3))
    expected = measure(x.double(), y.double()).similarity
    assert measure(x, y).similarity == pytest.approx(expected, abs=ref.EPS)


@every_measure
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_wide_layer_in_half_precision_gives_a_number(measure, dtype):
    x = torch.randn(3200, 256, generator=torch.Generator().manual_seed(0)).to(dtype)
    result = measure(x, x)
    assert result.x_rank >= ref.kept_rank(x.double().numpy(), 0.99)
    assert result.similarity == pytest.approx(1, abs=1e-12)  # the definition's own figure


def test_half_precision_sums_do_not_overflow():
    # Sums of squares of these are far beyond 65504, the largest float16.
    x, y = (torch.from_numpy(1000 * layer).half() for layer in ref.related(0, 100, 4, 3))
    expected = ref.correlations(x.double().numpy(), y.double().numpy())
    np.testing.assert_allclose(cca(x, y).correlations, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "infinity")])
@pytest.mark.parametrize("side", ["x", "y"])
@every_measure
def test_what_is_not_finite_is_refused_and_named(measure, side, value, word):
    layers = dict(zip("xy", ref.related(0, 100, 4, 3), strict=True))
    layers[side][7, 1] = value
    with pytest.raises(NonFiniteError, match=rf"^{side}: expected finite activations; got 1 .*{word} at \(7, 1\)"):
        measure(layers["x"], layers["y"])


@every_measure
@pytest.mark.parametrize(
    ("bad", "error", "text"),
    [
        (np.ones((100, 3), dtype=int), InputError, "floating-point activations; got dtype int64"),
        (np.ones((100, 3)).astype(object), InputError, "floating-point activations; got dtype object"),
        ([[1.0, 2.0]] * 100, InputError, "an array; got list"),
        (np.ones(100), InputError, r"shape \(n_samples, n_features\); got shape \(100,\)"),
        (np.ones((100, 3, 2)), InputError, r"shape \(n_samples, n_features\); got shape \(100, 3, 2\)"),
        (np.ones((100, 0)), InputError, "at least 1 feature; got 0"),
        (np.ones((1, 3)), SampleError, "at least 2 samples; got 1"),
    ],
    ids=["integers", "object", "list", "1-D", "3-D", "no-feature", "one-sample"],
)
def test_what_are_no_activations_is_refused_on_either_side(measure, bad, error, text):
    good = ref.gaussian(0, 100, 3)
    with pytest.raises(error, match=f"^x: expected {text}"):
        measure(bad, good)
    with pytest.raises(error, match=f"^y: expected {text}"):
        measure(good, bad)


@every_measure
def test_unequal_rows_are_refused(measure):
    with pytest.raises(SampleError, match=r"x and y: expected the same samples.*; got 100 and 99 rows"):
        measure(ref.gaussian(0, 100, 3), ref.gaussian(1, 99, 3))


@every_measure
def test_a_read_only_memory_map_gives_the_same(measure, tmp_path):
    x, y = ref.related(0, 100, 4, 3)
    np.save(tmp_path / "x.npy", x)
    assert measure(np.load(tmp_path / "x.npy", mmap_mode="r"), y).similarity == measure(x, y).similarity


@every_measure
def test_negative_strides_give_the_same(measure):
    x, y = ref.related(0, 100, 4, 3)
    assert measure(x[::-1], y[::-1]).similarity == measure(x[::-1].copy(), y[::-1].copy()).similarity


@every_measure
def test_big_endian_activations_give_the_same(measure):
    x, y = ref.related(0, 100, 4, 3)
    assert measure(x.astype(">f8"), y).similarity == measure(x, y).similarity


# -- hazards: too few samples -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", [cca, svcca, pwcca], ids=["cca", "svcca", "pwcca"])
def test_noise_with_more_units_than_samples_is_never_a_silent_one(measure):
    x, y = ref.gaussian(0, 20, 50), ref.gaussian(1, 20, 60)
    with pytest.warns(SvccaWarning, match="canonical correlations are 1 whatever the layers hold") as caught:
        result = measure(x, y)
    assert result.similarity == pytest.approx(1, abs=0.02)  # svcca cuts 1% of the variance: all but a few are forced
    assert result.chance == pytest.approx(result.similarity, abs=0.02)
    assert [str(doubt) for doubt in result.warnings] == [str(caught[0].message)]


def test_linear_cka_of_noise_with_more_units_than_samples_warns_of_its_level():
    with pytest.warns(SvccaWarning, match=r"unrelated layers would already give 0.7"):
        result = linear_cka(ref.gaussian(0, 20, 50), ref.gaussian(1, 20, 60))
    assert result.similarity == pytest.approx(result.chance, abs=0.1)  # a few standard deviations of one draw
    assert len(result.warnings) == 1


def test_the_count_of_forced_correlations_is_in_the_warning():
    with pytest.warns(
        SvccaWarning, match=r"7 of 12 canonical correlations are 1 .* 21 samples cannot tell 15 \+ 12 direct"
    ):
        result = cca(ref.gaussian(0, 21, 15), ref.gaussian(1, 21, 12))
    np.testing.assert_allclose(result.correlations[:7], 1, rtol=0, atol=ref.rounding(21, 30))
    assert result.correlations[7] < 1 - 1e-6  # an honest correlation of noise is nowhere near 1


@every_measure
def test_a_high_chance_level_warns_and_is_recorded(measure):
    x, y = ref.gaussian(0, 60, 12), ref.gaussian(1, 60, 13)
    if measure is linear_cka:
        x, y = x[:20], y[:20]
    with pytest.warns(SvccaWarning, match="unrelated layers would already give 0") as caught:
        result = measure(x, y)
    assert [str(doubt) for doubt in result.warnings] == [str(caught[0].message)]


@every_measure
def test_a_warning_points_at_the_line_that_called(measure):
    with pytest.warns(SvccaWarning) as caught:
        measure(ref.gaussian(0, 12, 15), ref.gaussian(1, 12, 12))
    assert caught[0].filename == __file__


@every_measure
def test_enough_samples_warn_of_nothing(measure):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert measure(ref.gaussian(0, 500, 10), ref.gaussian(1, 500, 10)).warnings == ()


def test_moments_record_what_they_do_not_announce():
    # The caller of moments decides what to say; the result holds it all the same.
    assert from_moments(ref.gaussian(0, 12, 15), ref.gaussian(1, 12, 12)).warnings[0].kind == "forced"


def test_wide_layers_of_low_rank_are_compared_exactly_through_the_gram_matrix():
    latent_x, latent_y = ref.related(0, 100, 4, 3)
    x, y = latent_x @ ref.gaussian(1, 4, 300), latent_y @ ref.gaussian(2, 3, 250)
    rows, moments = cca(x, y), from_moments(x, y)
    assert (rows.x_rank, rows.y_rank) == (moments.x_rank, moments.y_rank) == (4, 3)
    expected = ref.correlations(latent_x, latent_y)
    np.testing.assert_allclose(rows.correlations, expected, rtol=0, atol=10 * TOLERANCE)
    np.testing.assert_allclose(moments.correlations, expected, rtol=0, atol=10 * TOLERANCE)


# -- hazards: solvers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["eigh", "svd", "svdvals"])
@every_measure
def test_a_solver_that_fails_once_changes_nothing(monkeypatch, measure, solver):
    x, y = ref.planted(0, 100, 4, 3, [0.9, 0.5, 0.2])
    expected = measure(x, y).similarity
    original, calls = getattr(torch.linalg, solver), []

    def once(matrix, **options):
        calls.append(matrix)
        if len(calls) == 1:
            raise torch.linalg.LinAlgError("failed to converge")
        return original(matrix, **options)

    monkeypatch.setattr(torch.linalg, solver, once)
    if solver != "eigh" and (measure is linear_cka or (solver == "svd") == (measure in (cca, svcca))):
        assert measure(x, y).similarity == expected  # it takes no such factorisation
        assert not calls
        return
    with pytest.warns(SvccaWarning, match="did not converge"):
        result = measure(x, y)
    assert result.similarity == pytest.approx(expected, abs=TOLERANCE)
    assert "did not converge" in result.warnings[0].text
    assert result.warnings[0].kind == "computation"
    assert calls


# -- the coherence route ----------------------------------------------------------------------------------------------


def test_a_result_from_a_coherence_is_that_of_its_rows():
    x, y = ref.related(0, 100, 4, 3)
    result = CCAResult.from_coherence(Coherence.from_rows(x, y), SVDStep(0.9))
    assert np.array_equal(result.correlations, svcca(x, y, retained_variance=0.9, solver="gram").correlations)
    assert result.measure == "svcca"
