"""Every measure: its oracle on each route, its laws, its flags, its chance level."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import reference as ref
from every_measure import EVERY
from svcca.core.coherence import Coherence
from svcca.core.moments import JointMoments
from svcca.core.solvers import coherence_of
from svcca.core.subspace import WHOLE, SVDStep
from svcca.errors import InputError, UnknownOptionError
from svcca.measures import MEASURES, PWCCA, LinearRegression, ThresholdedCCA, TopCCA, WeightedSVCCA
from svcca.measures.evaluate import evaluate, evaluate_all
from svcca.measures.permutation import permutation_null
from svcca.measures.spectra import entropy_dimension, participation_ratio

seeds = st.integers(0, 2**32 - 1)
widths = st.integers(1, 6)
few = settings(max_examples=10)  # each example looks at every measure
every_name = pytest.mark.parametrize("name", EVERY)
# Two layers of `ref.related` have condition numbers up to about 10; the slack is for the rare worse draw.
TOLERANCE = ref.rounding(80, 30)
BY_ROWS = {name: measure for name, measure in EVERY.items() if measure.needs_rows}
BY_MOMENTS = {name: measure for name, measure in EVERY.items() if not measure.needs_rows}


def from_rows(x, y):
    return Coherence.from_rows(x, y)


def from_moments(x, y):
    return Coherence.from_moments(JointMoments.from_rows(x, y))


def from_qr(x, y):
    return coherence_of(x, y, solver="qr")


def values(x, y, share=0.9, names=EVERY, route=from_rows):
    """Every measure of two layers by name, from one decomposition; no warning is announced."""
    results = evaluate_all([EVERY[name] for name in names], route(x, y), SVDStep(share))
    return {result.measure: result.similarity for result in results}


def assert_equal(got, expected, tolerance=TOLERANCE):
    assert got == pytest.approx(expected, abs=tolerance, rel=0)


# -- against the oracles ----------------------------------------------------------------------------------------------


def test_every_measure_has_an_oracle_or_a_test_of_its_own():
    assert set(ref.MEASURES) == set(EVERY)
    own = [measure for name, measure in MEASURES.items() if name not in EVERY]
    files = [type(measure).__module__.rpartition(".")[2] for measure in own]
    assert [file for file in files if not Path(__file__).with_name(f"test_{file}.py").exists()] == []


@every_name
@pytest.mark.parametrize("route", [from_rows, from_moments, from_qr])
@pytest.mark.parametrize(("p", "q"), [(1, 1), (1, 4), (3, 3), (5, 3), (3, 6)])
def test_each_measure_is_its_oracle_on_every_route_it_supports(name, route, p, q):
    x, y = ref.related(p + 10 * q, 80, p, q)
    measure = EVERY[name]
    if measure.needs_rows and route is not from_rows:
        with pytest.raises(InputError, match=r"^debiased CKA: expected the rows in memory; got moments"):
            evaluate(measure, route(x, y), SVDStep(0.9))
        return
    got = evaluate(measure, route(x, y), SVDStep(0.9)).similarity
    # Directions on either side of the cut mix by rounding over the gap of their variances.
    assert got == pytest.approx(ref.MEASURES[name](x, y, 0.9), abs=(1e3 if measure.svd_step else 1) * TOLERANCE)


@given(seed=seeds, p=widths, q=widths)
def test_all_measures_without_an_svd_step_are_their_oracles_for_any_layers(seed, p, q):
    x, y = ref.related(seed, 80, p, q)
    names = [name for name, measure in EVERY.items() if not measure.svd_step]
    assert_equal(values(x, y, names=names), {name: ref.MEASURES[name](x, y, 1.0) for name in names})


@every_name
def test_each_measure_of_complex_layers_is_its_oracle(name):
    x = ref.gaussian(0, 60, 3) + 1j * ref.gaussian(1, 60, 3)
    y = ref.gaussian(2, 60, 4) + 1j * ref.gaussian(3, 60, 4) + (1 + 2j) * x @ ref.gaussian(4, 3, 4)
    oracle = _complex_linear_cka if name == "linear_cka" else ref.MEASURES[name]
    got = evaluate(EVERY[name], from_rows(x, y), SVDStep(0.9)).similarity
    assert got == pytest.approx(oracle(x, y, 0.9), abs=TOLERANCE)


def _complex_linear_cka(x, y, _):
    def hsic(a, b):
        return np.trace(a @ a.conj().T @ b @ b.conj().T).real

    x, y = ref.centred(x), ref.centred(y)
    return hsic(x, y) / np.sqrt(hsic(x, x) * hsic(y, y))


def test_top_and_thresholded_means_leave_the_small_correlations_out():
    rho = np.concatenate([np.linspace(0.9, 0.3, 20), np.full(6, 0.01)])
    x, y = ref.planted(0, 300, 26, 28, rho)
    got = values(x, y, 1.0)
    assert got["cca_top"] == pytest.approx(rho[:20].mean(), abs=TOLERANCE)
    held = np.cumsum(rho) / rho.sum()
    assert got["cca_thresholded"] == pytest.approx(rho[: int((held < 0.98).sum()) + 1].mean(), abs=TOLERANCE)
    assert got["cca"] == pytest.approx(rho.mean(), abs=TOLERANCE)
    assert got["cca"] < got["cca_thresholded"] < got["cca_top"] + 0.05


@pytest.mark.parametrize("k", [1, 3, 5, 9])
def test_a_top_mean_takes_all_where_there_are_fewer(k):
    rho = [0.9, 0.7, 0.4, 0.2, 0.1]
    pair = from_rows(*ref.planted(1, 120, 5, 6, rho))
    assert TopCCA(k).value(pair) == pytest.approx(np.mean(rho[:k]), abs=TOLERANCE)


@given(seed=seeds, fraction=st.floats(0.05, 0.999))
def test_any_fraction_is_held_by_the_oracles_correlations(seed, fraction):
    x, y = ref.related(seed, 80, 5, 6)
    expected = ref.thresholded_mean(ref.correlations(x, y), fraction)
    assert ThresholdedCCA(fraction).value(from_rows(x, y)) == pytest.approx(expected, abs=TOLERANCE)


@given(seed=seeds, p=st.integers(1, 9))
def test_the_entropy_dimension_is_that_of_the_eigenvalues(seed, p):
    x = ref.related(seed, 80, p, 1)[0]
    got = entropy_dimension(from_rows(x, x).x)
    assert got == pytest.approx(ref.entropy_dimension(x), rel=TOLERANCE)
    assert 1 - TOLERANCE <= got <= p + TOLERANCE


def test_both_effective_dimensions_count_equal_directions_and_ignore_dead_ones():
    u = ref.basis(ref.gaussian(0, 80, 4))[0]
    layer = from_rows(np.hstack([u, np.zeros((80, 2))]), u).x
    assert participation_ratio(layer) == pytest.approx(4, abs=TOLERANCE)
    assert entropy_dimension(layer) == pytest.approx(4, abs=TOLERANCE)


@pytest.mark.parametrize(
    ("measure", "text"),
    [
        (WeightedSVCCA, "svcca_weighted: expected side to be one of x, y, mean; got 'z'"),
        (PWCCA, "pwcca: expected side to be one of narrower, x, y, mean; got 'z'"),
    ],
)
def test_an_unknown_side_lists_the_known_ones(measure, text):
    with pytest.raises(UnknownOptionError, match=text):
        measure("z")


@pytest.mark.parametrize("k", [0, -1, 2.0, True])
def test_a_top_mean_is_of_one_correlation_or_more(k):
    with pytest.raises(InputError, match="cca_top: expected k as a positive integer; got"):
        TopCCA(k)


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.1, float("nan"), "0.9", None, True])
def test_a_fraction_is_a_share(fraction):
    with pytest.raises(InputError, match=r"cca_thresholded: expected a fraction in \(0, 1\]; got"):
        ThresholdedCCA(fraction)


@pytest.mark.parametrize("side", ["x", "y", "mean"])
def test_squared_weights_of_any_side_are_the_oracles(side):
    x, y = ref.related(6, 80, 4, 5)
    expected = ref.pwcca_of_side(x, y, side, squared=True)
    assert PWCCA(side, squared=True).value(from_moments(x, y)) == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize("k", [1, 5])
def test_the_level_of_the_first_few_is_that_of_so_many(k):
    pair = from_rows(ref.gaussian(0, 200, 24), ref.gaussian(1, 200, 26))
    assert TopCCA(k).chance(pair) > TopCCA(k + 1).chance(pair)
    assert ThresholdedCCA(0.5).chance(pair) > ThresholdedCCA(0.9).chance(pair)


# -- identities -------------------------------------------------------------------------------------------------------

INVARIANT = ["cca", "r2_cca", "cca_top", "cca_thresholded", "linear_regression_r2"]
ONE_FOR_AN_IMAGE = [
    *INVARIANT,
    "pwcca",
    "pwcca(side='x')",
    "pwcca(side='y')",
    "pwcca(side='mean')",
    "pwcca(squared=True)",
]


@pytest.mark.parametrize("route", [from_rows, from_moments, from_qr])
@few
@given(seed=seeds, p=widths)
def test_an_invertible_image_is_identical_where_only_correlations_count(route, seed, p):
    x = ref.related(seed, 80, p, 1)[0]
    y = x @ ref.invertible(np.random.default_rng(seed), p) + 3
    # 1e-12 is the definition's own figure.
    assert_equal(values(x, y, 1.0, ONE_FOR_AN_IMAGE, route), dict.fromkeys(ONE_FOR_AN_IMAGE, 1.0), 1e-12)


@pytest.mark.parametrize(
    "name", ["svcca", "svcca_r2", "svcca_weighted", "svcca_weighted(side='y')", "svcca_weighted(side='mean')"]
)
def test_an_invertible_image_is_identical_to_svcca_where_nothing_is_cut(name):
    x = ref.related(0, 80, 4, 1)[0]
    y = x @ ref.invertible(np.random.default_rng(0), 4) + 3
    assert values(x, y, 1.0, [name])[name] == pytest.approx(1, abs=1e-12)  # the definition's own figure


ONE_UNIT_RHO = [
    "svcca",
    "cca",
    "cca_top",
    "cca_thresholded",
    "pwcca",
    "pwcca(side='x')",
    "pwcca(side='y')",
    "pwcca(squared=True)",
]


@few
@given(seed=seeds, p=st.integers(1, 5))
def test_one_unit_correlates_by_the_root_of_its_regression_r2(seed, p):
    x, y = ref.related(seed, 80, p, 1)
    r2 = ref.ols_r2(x, y[:, 0])
    got = values(x, y, 1.0)
    assert_equal({name: got[name] for name in ONE_UNIT_RHO}, dict.fromkeys(ONE_UNIT_RHO, np.sqrt(r2)))
    for name in ("r2_cca", "svcca_r2", "linear_regression_r2"):
        assert got[name] == pytest.approx(r2, abs=TOLERANCE)


@few
@given(seed=seeds, p=st.integers(1, 4), extra=st.integers(0, 3))
def test_r2_cca_is_linear_cka_of_the_whitened_layers_times_the_root_of_the_ranks(seed, p, extra):
    q = p + extra
    x, y = ref.related(seed, 80, p, q)
    whitened = values(ref.basis(x)[0], ref.basis(y)[0], names=["linear_cka"])["linear_cka"]
    assert values(x, y)["r2_cca"] == pytest.approx(whitened * np.sqrt(q / p), abs=TOLERANCE)


@pytest.mark.parametrize("route", [from_rows, from_moments])
@few
@given(seed=seeds, p=st.integers(1, 4), extra=st.integers(0, 3))
def test_squared_weights_with_squared_correlations_give_the_regression_r2(route, seed, p, extra):
    # Weighing y's own units, the variates hold all of y where y is the narrower layer.
    y, x = ref.related(seed, 80, p, p + extra)
    pair = route(x, y)
    rho = pair.factors.s
    weights = pair.y_loadings.square().sum(dim=0)
    got = float((weights * rho**2).sum() / weights.sum())
    assert got == pytest.approx(LinearRegression().value(pair), abs=TOLERANCE)
    assert got == pytest.approx(ref.linear_regression_r2(x, y), abs=TOLERANCE)


@few
@given(seed=seeds, p=widths, q=widths, squared=st.booleans())
def test_loadings_sum_to_the_weights_taken_neuron_by_neuron(seed, p, q, squared):
    x, y = ref.related(seed, 80, p, q)
    pair = from_moments(x, y)
    h_x = ref.variates(x, y)[0]
    expected = ref.pwcca_weights(h_x, x, squared=squared)
    got = (pair.x_loadings.square() if squared else pair.x_loadings).sum(dim=0).numpy()
    # Where two correlations are close their variates mix; the gap of `related` layers is rarely below 1e-2.
    assert got.sum() == pytest.approx(expected.sum(), rel=1 if p > q and not squared else 1e4 * TOLERANCE)
    gaps = -np.diff(ref.correlations(x, y), append=0)
    if gaps.min() > 1e-2:
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e4 * TOLERANCE * expected.max())


def test_squared_weights_do_not_mind_a_rotation_and_absolute_ones_do():
    x, y = ref.related(4, 80, 3, 5)
    turned = x @ ref.orthogonal(np.random.default_rng(0), 3)
    before, after = values(x, y), values(turned, y)
    assert after["pwcca(squared=True)"] == pytest.approx(before["pwcca(squared=True)"], abs=TOLERANCE)
    assert abs(after["pwcca"] - before["pwcca"]) > 1e-5  # far beyond rounding


def test_planted_correlations_come_out_of_every_mean_of_them():
    rho = np.array([0.95, 0.6, 0.3])
    got = values(*ref.planted(0, 200, 3, 4, rho), 1.0)
    assert got["cca"] == got["svcca"] == pytest.approx(rho.mean(), abs=TOLERANCE)
    assert got["r2_cca"] == got["svcca_r2"] == pytest.approx((rho**2).mean(), abs=TOLERANCE)
    assert got["cca_top"] == got["cca_thresholded"] == pytest.approx(rho.mean(), abs=TOLERANCE)


# -- laws -------------------------------------------------------------------------------------------------------------


@few
@given(seed=seeds, p=widths, q=widths)
def test_every_value_is_in_its_range(seed, p, q):
    for name, value in values(*ref.related(seed, 40, p, q)).items():
        assert (-np.inf if name == "linear_cka_debiased" else 0) <= value <= 1, name


def test_debiased_cka_is_negative_where_its_estimate_is():
    got = [values(ref.gaussian(s, 30, 3), ref.gaussian(s + 100, 30, 3))["linear_cka_debiased"] for s in range(8)]
    assert min(got) < 0 < max(got)


@pytest.mark.parametrize("route", [from_rows, from_moments, from_qr])
@few
@given(seed=seeds, p=widths, share=st.floats(0.3, 1.0))
def test_a_layer_is_identical_to_itself_by_every_measure(route, seed, p, share):
    x = ref.related(seed, 80, p, 1)[0]
    names = EVERY if route is from_rows else BY_MOMENTS
    # 1e-12 is the definition's own figure.
    assert_equal(values(x, x, share, names, route), dict.fromkeys(names, 1.0), 1e-12)


@few
@given(seed=seeds, p=widths, q=widths)
def test_measures_marked_symmetric_are(seed, p, q):
    x, y = ref.related(seed, 80, p, q)
    names = [name for name, measure in EVERY.items() if measure.symmetric]
    assert_equal(values(x, y, names=names), values(y, x, names=names), 1e3 * TOLERANCE)


@pytest.mark.parametrize("name", [name for name, measure in EVERY.items() if not measure.symmetric])
def test_measures_not_marked_symmetric_differ_once_the_layers_are_swapped(name):
    x, y = ref.related(3, 80, 4, 4)
    assert abs(values(x, y)[name] - values(y, x)[name]) > 1e-4  # far beyond rounding


@pytest.mark.parametrize(
    ("one", "other"), [("pwcca(side='x')", "pwcca(side='y')"), ("svcca_weighted", "svcca_weighted(side='y')")]
)
def test_the_other_side_is_the_same_measure_of_swapped_layers(one, other):
    x, y = ref.related(3, 80, 4, 5)
    assert values(x, y)[one] == pytest.approx(values(y, x)[other], abs=1e3 * TOLERANCE)


@pytest.mark.parametrize("route", [from_rows, from_moments, from_qr])
@pytest.mark.parametrize("scale", [1e-8, 1e8])
@few
@given(seed=seeds)
def test_a_scale_changes_no_measure(route, scale, seed):
    x, y = ref.related(seed, 80, 4, 3)
    names = EVERY if route is from_rows else BY_MOMENTS
    expected = values(x, y, 1.0, names, route)
    assert_equal(values(scale * x, y, 1.0, names, route), expected)
    assert_equal(values(x, scale * y, 1.0, names, route), expected)


@pytest.mark.parametrize("route", [from_rows, from_moments, from_qr])
@few
@given(seed=seeds, offset=st.sampled_from([-1000.0, 1e4]))
def test_an_offset_changes_no_measure(route, seed, offset):
    x, y = ref.related(seed, 80, 4, 3)
    names = EVERY if route is from_rows else BY_MOMENTS
    moved = values(x + offset, y - offset, 1.0, names, route)
    assert_equal(moved, values(x, y, 1.0, names, route), abs(offset) * TOLERANCE)


@few
@given(seed=seeds)
def test_the_order_of_samples_changes_no_measure(seed):
    x, y = ref.related(seed, 80, 4, 3)
    order = np.random.default_rng(seed).permutation(80)
    assert_equal(values(x[order], y[order], 1.0), values(x, y, 1.0))


BY_UNITS = {"pwcca", "pwcca(side='x')", "pwcca(side='y')", "pwcca(side='mean')"}


@few
@given(seed=seeds)
def test_an_orthogonal_map_changes_no_measure_but_those_that_sum_over_units(seed):
    x, y = ref.related(seed, 80, 4, 3)
    rng = np.random.default_rng(seed)
    names = [name for name in EVERY if name not in BY_UNITS]
    turned = values(x @ ref.orthogonal(rng, 4), y @ ref.orthogonal(rng, 3), 1.0, names)
    assert_equal(turned, values(x, y, 1.0, names))


@few
@given(seed=seeds)
def test_an_invertible_map_changes_no_measure_of_correlations_alone(seed):
    x, y = ref.related(seed, 80, 4, 3)
    rng = np.random.default_rng(seed)
    names = ["cca", "r2_cca", "cca_top", "cca_thresholded"]
    mapped = values(x @ ref.invertible(rng, 4), y @ ref.invertible(rng, 3), 1.0, names)
    assert_equal(mapped, values(x, y, 1.0, names), 100 * TOLERANCE)  # the maps' own condition, 3 ** 4


@pytest.mark.parametrize(
    ("name", "side"),
    [("linear_regression_r2", "x"), ("pwcca(side='x')", "y"), ("pwcca(side='y')", "x"), ("svcca_weighted", "y")],
)
@few
@given(seed=seeds)
def test_an_invertible_map_of_the_layer_that_does_not_weigh_changes_nothing(name, side, seed):
    x, y = ref.related(seed, 80, 4, 4)
    map_ = ref.invertible(np.random.default_rng(seed), 4)
    mapped = (x @ map_, y) if side == "x" else (x, y @ map_)
    assert values(*mapped, 1.0)[name] == pytest.approx(values(x, y, 1.0)[name], abs=100 * TOLERANCE)


@pytest.mark.parametrize("name", ["linear_cka", "linear_cka_debiased", "procrustes"])
def test_an_invertible_image_is_no_identity_where_magnitude_counts(name):
    x = ref.gaussian(0, 80, 4)
    assert values(x, x @ np.diag([1.0, 10.0, 100.0, 1000.0]))[name] < 0.9


DUPLICATE, CONSTANT, ZERO = (lambda z: z[:, :1]), (lambda z: np.full((len(z), 1), 0.1)), (lambda z: 0 * z[:, :1])


@pytest.mark.parametrize("extra", [DUPLICATE, CONSTANT, ZERO], ids=["duplicate", "constant", "dead"])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("route", [from_rows, from_moments, from_qr])
def test_a_unit_that_adds_no_direction_gives_a_number_everywhere(extra, both, route):
    x, y = ref.related(0, 80, 3, 4)
    wider = np.hstack([x, extra(x)]), np.hstack([y, extra(y)]) if both else y
    names = EVERY if route is from_rows else BY_MOMENTS
    results = evaluate_all([EVERY[name] for name in names], route(*wider), WHOLE)
    plain = values(x, y, 1.0, names, route)
    for result in results:
        assert np.isfinite([result.similarity, result.chance]).all(), result.measure
        assert (result.x_rank, result.y_rank) == (3, 4)
        if extra is not DUPLICATE or result.measure in ("cca", "r2_cca", "cca_top", "cca_thresholded"):
            # A narrower layer may stop being the narrower one, but both have one direction less than units or so.
            assert result.similarity == pytest.approx(plain[result.measure], abs=10 * TOLERANCE), result.measure


ONE_ACTIVE = np.eye(20)[:, :1]
ONE_EACH = np.eye(20)


@pytest.mark.parametrize("layer", [ONE_ACTIVE, ONE_EACH], ids=["one-sample", "one-hot-samples"])
def test_a_layer_whose_samples_are_all_equally_alike_gives_debiased_cka_no_raw_error_and_no_noise(layer):
    # Off the diagonal its Gram matrix is constant, so that the unbiased HSIC is 0 / 0: only rounding is left.
    other = ref.gaussian(0, 20, 2)
    with pytest.raises(InputError, match="debiased CKA"):
        evaluate(MEASURES["linear_cka_debiased"], from_rows(layer, other), WHOLE)
    with pytest.raises(InputError, match="debiased CKA"):
        evaluate(MEASURES["linear_cka_debiased"], from_rows(layer, layer), WHOLE)


@pytest.mark.parametrize("n_samples", [2, 3])
def test_debiased_cka_needs_four_samples(n_samples):
    pair = from_rows(ref.gaussian(0, n_samples, 1), ref.gaussian(1, n_samples, 1))
    with pytest.raises(InputError, match=f"debiased CKA: expected at least 4 samples; got {n_samples}"):
        evaluate(MEASURES["linear_cka_debiased"], pair, WHOLE)


@given(seed=seeds, n_samples=st.integers(4, 8), p=st.integers(1, 12))
def test_debiased_cka_of_few_samples_is_the_oracles_and_never_above_one(seed, n_samples, p):
    x, y = ref.gaussian(seed, n_samples, p), ref.gaussian(seed + 1, n_samples, 3)
    got = values(x, y, 1.0, ["linear_cka_debiased"])["linear_cka_debiased"]
    # What the unbiased estimate leaves after its subtractions is at times a hundredth of what goes in.
    assert got == pytest.approx(ref.linear_cka_debiased(x, y), abs=1e-9)
    assert got <= 1


def test_orthogonal_layers_have_nothing_in_common():
    u = ref.basis(ref.gaussian(0, 80, 7))[0]
    got = values(u[:, :3], u[:, 3:], 1.0)
    debiased = got.pop("linear_cka_debiased")
    assert_equal(got, dict.fromkeys(got, 0.0))
    assert debiased < 0  # less alike than unrelated layers


# -- flags ------------------------------------------------------------------------------------------------------------


@every_name
def test_the_svd_step_is_taken_where_it_is_marked_and_nowhere_else(name):
    x, y = ref.gaussian(0, 200, 4) * [10.0, 5.0, 1.0, 0.1], ref.gaussian(1, 200, 3)
    x += y @ ref.gaussian(2, 3, 4)
    result = evaluate(EVERY[name], from_rows(x, y), SVDStep(0.9))
    expected = (ref.kept_rank(x, 0.9), ref.kept_rank(y, 0.9))
    assert expected[0] < 4
    assert (result.x_rank, result.y_rank) == (expected if name.startswith("svcca") else (4, 3))
    assert result.samples_per_direction == 200 / (result.x_rank + result.y_rank)


@every_name
def test_forced_correlations_are_mentioned_by_measures_of_correlations_only(name):
    pair = from_rows(ref.gaussian(0, 30, 18), ref.gaussian(1, 30, 16))
    kinds = [doubt.kind for doubt in evaluate(EVERY[name], pair, WHOLE).warnings]
    correlations = name.startswith(("svcca", "cca", "pwcca", "r2_cca"))
    assert ("forced" in kinds) == correlations


@every_name
def test_a_definition_is_one_sentence_for_a_reader(name):
    definition = EVERY[name].definition
    assert len(definition) > 30
    assert not definition.endswith(".")
    assert "{" not in definition


@every_name
def test_all_at_once_are_what_each_is_alone(name):
    x, y = ref.related(5, 80, 4, 3)
    pair = from_rows(x, y)
    together = {r.measure: r for r in evaluate_all(list(EVERY.values()), pair, SVDStep(0.8))}
    alone = evaluate(EVERY[name], from_rows(x, y), SVDStep(0.8))
    assert together[name].similarity == pytest.approx(alone.similarity, abs=ref.rounding(4))
    assert (together[name].chance, together[name].x_rank) == (alone.chance, alone.x_rank)


# -- chance -----------------------------------------------------------------------------------------------------------

EXACT = ["r2_cca", "linear_cka", "linear_cka_debiased", "linear_regression_r2"]
"""Quadratic in the pairing: their mean over all permutations is the level for any data."""


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize(("p", "q"), [(1, 1), (2, 1), (1, 3), (2, 2)])
def test_levels_that_are_exact_are_the_mean_over_every_pairing(name, p, q):
    x, y = ref.related(p + 10 * q, 6, p, q)
    pair = from_rows(x, y)
    level = EVERY[name].chance(pair)
    assert ref.over_all_pairings(x, y, lambda a, b: ref.MEASURES[name](a, b, 1.0)) == pytest.approx(level, abs=1e-9)


# Relative error that a level may have beside the sampling error of the mean: for the laws at rank 5 and above 2%
# (`chance` names 0.7% for Gaussian layers, half a percent more is left to these fixed data), 7% at ranks of 1 and 2
# (3.5% for equal ranks of 2, 6.4% for the spectrum of one direction).
MODERATE, SMALL = 0.02, 0.07


def _null(name, x, y, n_permutations, share=0.95):
    measure = EVERY[name]
    pair = coherence_of(x, y, rows_needed=True).truncate(SVDStep(share) if measure.svd_step else WHOLE)
    null = permutation_null(pair, measure.value, n_permutations, seed=0).null
    return measure.chance(pair), null.mean(), null.std() / np.sqrt(n_permutations)


@every_name
def test_unrelated_layers_give_the_level_on_average(name):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(150, 7)) @ ref.invertible(rng, 7), rng.normal(size=(150, 10)) @ ref.invertible(rng, 10)
    level, mean, error = _null(name, x, y, 600)
    assert level == pytest.approx(mean, abs=4 * error + MODERATE * mean)


@every_name
def test_random_pairings_of_related_layers_give_the_level_on_average(name):
    x, y = ref.planted(3, 200, 24, 26, [1.0, 0.999])
    level, mean, error = _null(name, x, y, 120)
    assert level == pytest.approx(mean, abs=4 * error + MODERATE * mean)


@every_name
@pytest.mark.parametrize(("p", "q"), [(1, 1), (2, 2)])
def test_layers_of_one_or_two_units_give_the_level_on_average(name, p, q):
    rng = np.random.default_rng(p + 10 * q)
    x, y = rng.normal(size=(100, p)), rng.normal(size=(100, q))
    level, mean, error = _null(name, x, y, 2000, share=1.0)
    assert level == pytest.approx(mean, abs=4 * error + SMALL * mean)


def test_the_level_of_the_first_twenty_is_above_that_of_all():
    x, y = ref.gaussian(0, 200, 24), ref.gaussian(1, 200, 26)
    pair = from_rows(x, y)
    assert MEASURES["cca_top"].chance(pair) > 1.1 * MEASURES["cca"].chance(pair)


def test_levels_are_probabilities_of_nothing_but_numbers_in_zero_to_one():
    for p, q, n_samples in itertools.product((1, 3, 8), (1, 5), (4, 12, 100)):
        pair = from_rows(ref.gaussian(p, n_samples, p), ref.gaussian(q + 50, n_samples, q))
        for name, measure in EVERY.items():
            assert 0 <= measure.chance(pair) <= 1, (name, p, q, n_samples)


def test_a_level_needs_no_more_than_the_coherence_of_moments():
    x, y = ref.related(0, 80, 4, 3)
    for name, measure in EVERY.items():
        got, expected = measure.chance(from_moments(x, y)), measure.chance(from_rows(x, y))
        assert got == pytest.approx(expected, rel=TOLERANCE), name


def test_evaluating_leaves_the_layers_as_they_were():
    x, y = (torch.from_numpy(layer) for layer in ref.related(0, 80, 4, 3))
    before = x.clone(), y.clone()
    values(x, y)
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])
