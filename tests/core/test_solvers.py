"""Which route two arrays take, and that every route arrives at the same answer."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import reference as ref
from every_measure import EVERY
from svcca.core import solvers
from svcca.core.solvers import ILL_CONDITIONED, coherence_of
from svcca.core.subspace import SVDStep
from svcca.errors import InputError, RankError, SampleError, SvccaWarning, UnknownOptionError
from svcca.measures import bartlett, cca, procrustes, similarities, svcca

seeds = st.integers(0, 2**32 - 1)
widths = st.integers(1, 6)
few = settings(max_examples=10)
NAMED = ("moments", "gram", "qr")
every_route = pytest.mark.parametrize("route", ["auto", *NAMED])
# Two layers of `ref.related` have condition numbers up to about 10; the slack is for the rare worse draw.
TOLERANCE = ref.rounding(100, 30)


@pytest.fixture
def taken(monkeypatch):
    """Names of the solvers that were entered, in order."""
    entered = []

    def watched(name, original):
        def enter(*args, **options):
            entered.append(name)
            return original(*args, **options)

        return enter

    for name, function in (("gram", "pair_rows"), ("moments", "joint_moments_of"), ("qr", "qr_coherence")):
        monkeypatch.setattr(solvers, function, watched(name, getattr(solvers, function)))
    return entered


# -- the choice -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", NAMED)
@pytest.mark.parametrize("condition", [3.0, 1e6])
def test_a_named_route_is_the_one_taken_whatever_the_layers(taken, route, condition):
    coherence_of(*ref.planted(0, 100, 4, 3, [0.9], condition), solver=route)
    assert taken == [route]


def test_well_conditioned_layers_go_by_moments(taken):
    coherence_of(*ref.related(0, 100, 4, 3))
    assert taken == ["moments"]


@pytest.mark.parametrize("side", ["x", "y"])
def test_an_ill_conditioned_layer_on_either_side_goes_by_qr(taken, side):
    bad, good = ref.planted(0, 100, 4, 3, [0.9], condition=1e4)[0], ref.gaussian(1, 100, 3)
    coherence_of(*((bad, good) if side == "x" else (good, bad)))
    assert taken == ["moments", "qr"]


@pytest.mark.parametrize(("factor", "expected"), [(0.5, ["moments"]), (2.0, ["moments", "qr"])])
def test_the_condition_that_parts_moments_from_qr_is_the_constants(taken, factor, expected):
    u = ref.basis(ref.gaussian(0, 100, 2))[0]
    coherence_of(u * [1.0, 1 / (factor * ILL_CONDITIONED)], ref.gaussian(1, 100, 2))
    assert taken == expected


def test_what_the_svd_step_cuts_away_does_not_count_as_ill_conditioned(taken):
    x, y = ref.gaussian(0, 100, 3) * [1.0, 1.0, 1e-5], ref.gaussian(1, 100, 2)
    coherence_of(x, y, step=SVDStep(0.99))
    assert taken == ["moments"]
    coherence_of(x, y)
    assert taken == ["moments", "moments", "qr"]


@pytest.mark.parametrize(("p", "q"), [(101, 3), (3, 101), (150, 120)])
def test_a_layer_wider_than_its_samples_on_either_side_goes_by_gram(taken, p, q):
    pair = coherence_of(ref.gaussian(0, 100, p), ref.gaussian(1, 100, q))
    assert taken == ["gram"]
    assert pair.x.basis is not None


def test_as_many_units_as_samples_still_go_by_moments(taken):
    coherence_of(ref.gaussian(0, 100, 100) @ ref.orthogonal(np.random.default_rng(0), 100), ref.gaussian(1, 100, 3))
    assert taken[0] == "moments"


def test_where_rows_are_needed_the_bases_are_kept(taken):
    x, y = ref.related(0, 100, 4, 3)
    assert coherence_of(x, y).x.basis is None
    pair = coherence_of(x, y, rows_needed=True)
    assert taken == ["moments", "gram"]
    assert pair.x.basis.shape == (100, 4)
    assert pair.y.basis.shape == (100, 3)


def test_float32_products_are_never_followed_by_qr(taken):
    # Ill-conditioned, and yet above the rank cut of float32 products, sqrt(2 eps) = 1 / 2000.
    u = ref.basis(ref.gaussian(0, 100, 2))[0]
    pair = coherence_of(u * [1.0, 1 / 1500], ref.gaussian(1, 100, 2), precision="float32")
    assert pair.x.condition > ILL_CONDITIONED
    assert taken == ["moments"]


@pytest.mark.parametrize("call", [coherence_of, cca, svcca])
def test_an_unknown_route_lists_the_known_ones(call):
    with pytest.raises(UnknownOptionError, match=r"solver to be one of auto, moments, gram, qr; got 'gran'.*'gram'"):
        call(*ref.related(0, 100, 4, 3), solver="gran")


@every_route
def test_an_unknown_precision_lists_the_known_ones_on_every_route(route):
    with pytest.raises(UnknownOptionError, match="precision to be one of float64, float32; got 'float16'"):
        cca(*ref.related(0, 100, 4, 3), solver=route, precision="float16")


@every_route
@pytest.mark.parametrize("side", ["x", "y"])
def test_every_route_names_the_layer_it_refuses(route, side):
    layers = dict(zip("xy", ref.related(0, 100, 4, 3), strict=True))
    for bad, error, text in (
        (np.full((100, 3), np.inf), InputError, "finite activations"),
        (np.full((100, 3), 0.1), RankError, "activations that vary between samples"),
        (np.ones((1, 3)), SampleError, "at least 2 samples; got 1"),
    ):
        with pytest.raises(error, match=f"^{side}: expected {text}"):
            cca(*{**layers, side: bad}.values(), solver=route)


# -- agreement --------------------------------------------------------------------------------------------------------

# Error of a correlation by the condition of the layers, 5 of each: section 3 of the definitions, with a factor of 10
# for what is measured there on one matrix. Moments at 1e5 are out by 1e-8 there and by 1e-6 in the worst draw.
ACCURACY = {
    "auto": {1e1: 5e-12, 1e3: 1e-9, 8e3: 1e-10, 1e5: 1e-9, 1e7: 1e-8},
    "moments": {1e1: 5e-12, 1e3: 1e-9, 1e5: 1e-5},
    "gram": {1e1: 5e-12, 1e3: 1e-11, 1e5: 1e-10, 1e6: 1e-10, 1e7: 1e-8},
    "qr": {1e1: 1e-14, 1e3: 1e-12, 1e5: 1e-10, 1e7: 1e-8},
}


@pytest.mark.parametrize(("route", "condition"), [(r, c) for r, table in ACCURACY.items() for c in table])
@given(seed=seeds, p=widths, q=widths)
def test_routes_are_as_accurate_as_the_definitions_say(route, condition, seed, p, q):
    x, y = ref.planted(seed, 100, p, q, np.linspace(0.99, 0.05, min(p, q)), condition)
    # The layers are rounded to float64 themselves, which moves correlations by eps times the condition: the oracle
    # looks at the same rounded rows.
    got = cca(x, y, solver=route).correlations
    np.testing.assert_allclose(got, ref.correlations(x, y), rtol=0, atol=ACCURACY[route][condition] * math.sqrt(p * q))


def test_qr_holds_nine_digits_at_a_condition_of_1e7():
    for seed in range(5):
        x, y = ref.planted(seed, 300, 8, 6, np.linspace(0.99, 0.05, 6), 1e7)
        oracle = ref.correlations(x, y)
        np.testing.assert_allclose(cca(x, y, solver="qr").correlations, oracle, rtol=0, atol=1e-9)
        np.testing.assert_allclose(cca(x, y).correlations, oracle, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", [name for name, measure in EVERY.items() if not measure.needs_rows])
@few
@given(seed=seeds, p=widths, q=widths, condition=st.sampled_from([3.0, 100.0]))
def test_every_measure_is_the_same_by_every_route(name, seed, p, q, condition):
    x, y = ref.related(seed, 100, p, q, condition)
    step = SVDStep(0.9)
    pairs = [coherence_of(x, y, solver=route) for route in NAMED]
    values = [EVERY[name].value(pair.truncate(step) if EVERY[name].svd_step else pair) for pair in pairs]
    assert np.ptp(values) < 1e3 * ref.rounding(100, 3 * condition)


@every_route
@given(seed=seeds, share=st.floats(0.3, 1.0))
def test_every_route_cuts_to_the_same_ranks(route, seed, share):
    x, y = ref.related(seed, 100, 5, 4)
    result = svcca(x, y, retained_variance=share, solver=route)
    similarity, x_rank, y_rank = ref.svcca(x, y, share)
    assert (result.x_rank, result.y_rank) == (x_rank, y_rank)
    assert result.similarity == pytest.approx(similarity, abs=1e4 * TOLERANCE)


@every_route
def test_every_route_takes_the_svd_step_itself(route):
    x, y = ref.gaussian(0, 100, 4) * [10.0, 5.0, 0.1, 0.1], ref.gaussian(1, 100, 3)
    pair = coherence_of(x, y, step=SVDStep(0.99), solver=route)
    assert (pair.x.rank, pair.y.rank) == tuple(pair.matrix.shape) == (2, 3)


@every_route
def test_every_route_finds_the_rank_of_wide_layers_of_low_rank(route):
    latent = ref.related(0, 60, 4, 3)
    x, y = latent[0] @ ref.gaussian(1, 4, 90), latent[1] @ ref.gaussian(2, 3, 70)
    result = cca(x, y, solver=route)
    assert (result.x_rank, result.y_rank) == (4, 3)
    np.testing.assert_allclose(result.correlations, ref.correlations(*latent), rtol=0, atol=10 * TOLERANCE)


@every_route
def test_directions_of_every_route_are_the_same(route):
    x, y = ref.planted(0, 200, 4, 5, [0.9, 0.6, 0.3, 0.1])
    got, expected = cca(x, y, solver=route), cca(x, y, solver="qr")
    # The correlations lie 0.2 apart.
    for side in ("x_directions", "y_directions"):
        scale = np.abs(getattr(expected, side)).max()
        np.testing.assert_allclose(getattr(got, side), getattr(expected, side), rtol=0, atol=5 * TOLERANCE * scale)


@every_route
@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_a_scale_changes_nothing_on_any_route(route, scale):
    x, y = ref.related(0, 100, 4, 3)
    expected = cca(x, y, solver=route).correlations
    np.testing.assert_allclose(cca(scale * x, y, solver=route).correlations, expected, rtol=0, atol=TOLERANCE)


# -- precision --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", ["auto", "moments", "gram"])
@given(seed=seeds, p=widths, q=widths)
def test_float32_products_are_good_to_2e_5_at_a_condition_of_10(route, seed, p, q):
    x, y = ref.planted(seed, 200, p, q, np.linspace(0.99, 0.05, min(p, q)), condition=10.0)
    result = cca(x, y, solver=route, precision="float32")
    # 2e-5 is the figure of section 3 of the definitions.
    np.testing.assert_allclose(result.correlations, ref.correlations(x, y), rtol=0, atol=2e-5)
    for array in (result.correlations, result.x_directions, result.y_directions, result.x_mean, result.y_mean):
        assert array.dtype == np.float64
    assert (result.x_rank, result.y_rank) == (p, q)


@pytest.mark.parametrize("route", ["moments", "gram"])
def test_float32_products_are_what_is_asked_for(route):
    x, y = ref.planted(0, 200, 6, 5, [0.9, 0.5], condition=10.0)
    error = np.abs(cca(x, y, solver=route, precision="float32").correlations - ref.correlations(x, y)).max()
    assert error > 1e-10  # float64 products would leave 1e-14


def test_float32_products_do_not_lose_digits_to_a_large_mean():
    x, y = ref.planted(0, 200, 4, 3, [0.9, 0.5, 0.2])
    spread = x.std()
    result = cca(x + 3000 * spread, y - 3000 * spread, precision="float32")
    np.testing.assert_allclose(result.correlations, [0.9, 0.5, 0.2], rtol=0, atol=2e-5)
    # A mean is off by the rounding of float32 sums of deviations, not of the values themselves.
    np.testing.assert_allclose(result.x_mean, (x + 3000 * spread).mean(axis=0), rtol=0, atol=1e-6 * spread)


def test_float32_products_serve_every_measure():
    x, y = ref.related(0, 200, 4, 3)
    expected = similarities(x, y, list(EVERY.values()))
    for name, result in similarities(x, y, list(EVERY.values()), precision="float32").items():
        assert result.similarity == pytest.approx(expected[name].similarity, abs=2e-5), name


@every_route
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_narrow_floats_are_compared_in_float64_on_every_route(route, dtype):
    x, y = (torch.from_numpy(layer).to(dtype) for layer in ref.related(0, 100, 4, 3))
    result = cca(x, y, solver=route)
    expected = ref.correlations(x.double().numpy(), y.double().numpy())
    np.testing.assert_allclose(result.correlations, expected, rtol=0, atol=TOLERANCE)
    assert result.x_directions.dtype == np.float64


# -- complex layers ---------------------------------------------------------------------------------------------------


@every_route
@pytest.mark.parametrize("sides", ["both", "x", "y"])
@given(seed=seeds)
@few
def test_complex_layers_are_the_oracles_on_every_route(route, sides, seed):
    x, y = ref.related(seed, 100, 3, 4)
    if sides in ("both", "x"):
        x = x + 1j * ref.gaussian(seed, 100, 3)
    if sides in ("both", "y"):
        y = y + (0.5 + 1j) * ref.gaussian(seed, 100, 4) + 0.3j * np.real(x[:, :1])
    result = cca(x, y, solver=route)
    np.testing.assert_allclose(result.correlations, ref.correlations(x, y), rtol=0, atol=TOLERANCE)
    u, v = result.transform(x), result.transform_y(y)
    np.testing.assert_allclose(u.conj().T @ u / 99, np.eye(3), rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(u.conj().T @ v / 99, np.diag(result.correlations), rtol=0, atol=TOLERANCE)


def test_complex64_layers_are_compared_in_complex128():
    x, y = (z.astype(np.complex64) * (1 + 2j) for z in ref.related(0, 100, 4, 3))
    result = cca(x, y)
    np.testing.assert_allclose(result.correlations, ref.correlations(x, y), rtol=0, atol=TOLERANCE)
    assert result.x_directions.dtype == np.complex128
    assert result.correlations.dtype == np.float64


# -- the result on new rows -------------------------------------------------------------------------------------------


@every_route
@given(seed=seeds, p=widths, q=widths)
@few
def test_variates_of_the_fitted_rows_have_unit_variance_and_the_correlations(route, seed, p, q):
    x, y = ref.related(seed, 100, p, q)
    result, r = cca(x, y, solver=route), min(p, q)
    u, v = result.transform(x), result.transform_y(y)
    assert u.shape == v.shape == (100, r)
    joint = np.atleast_2d(np.cov(u, v, rowvar=False, ddof=1))
    expected = np.block([[np.eye(r), np.diag(result.correlations)], [np.diag(result.correlations), np.eye(r)]])
    np.testing.assert_allclose(joint, expected, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(result.held_out(x, y), result.correlations, rtol=0, atol=TOLERANCE)


def test_new_rows_are_moved_by_the_mean_of_the_fit():
    x, y = ref.related(0, 150, 4, 3)
    result = cca(x[:100], y[:100])
    expected = (x[100:] - x[:100].mean(axis=0)) @ result.x_directions
    np.testing.assert_allclose(result.transform(x[100:]), expected, rtol=0, atol=TOLERANCE)
    one_row = result.transform_y(y[120:121])
    np.testing.assert_allclose(one_row, (y[120:121] - y[:100].mean(axis=0)) @ result.y_directions, atol=TOLERANCE)


def test_held_out_correlations_are_those_of_the_variates_on_new_rows():
    x, y = ref.related(0, 200, 4, 3)
    result = cca(x[:100], y[:100])
    expected = [
        np.corrcoef(x[100:] @ a, y[100:] @ b)[0, 1]
        for a, b in zip(result.x_directions.T, result.y_directions.T, strict=True)
    ]
    np.testing.assert_allclose(result.held_out(x[100:], y[100:]), expected, rtol=0, atol=TOLERANCE)


def test_held_out_correlations_of_noise_are_near_zero_where_the_fit_is_not():
    x, y = ref.gaussian(0, 4000, 40), ref.gaussian(1, 4000, 40)
    with pytest.warns(SvccaWarning, match="unrelated layers would already give"):
        result = cca(x[:400], y[:400])
    assert result.similarity > 0.25
    assert np.abs(result.held_out(x[400:], y[400:])).max() < 5 / math.sqrt(3600)  # five standard errors


def test_complex_held_out_correlations_are_real():
    x = ref.gaussian(0, 100, 3) + 1j * ref.gaussian(1, 100, 3)
    y = x[:, :2] + ref.gaussian(2, 100, 2)
    result = cca(x, y)
    held = result.held_out(x, y)
    assert held.dtype == np.float64
    np.testing.assert_allclose(held, result.correlations, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda r, x, y: r.transform(x[:, :3]), "transform x: expected 4 features, as in the fit; got 3"),
        (lambda r, x, y: r.transform_y(x), "transform y: expected 3 features, as in the fit; got 4"),
        (lambda r, x, y: r.held_out(y, x), "held_out x: expected 4 features, as in the fit; got 3"),
        (lambda r, x, y: r.held_out(x, x), "held_out y: expected 3 features, as in the fit; got 4"),
        (lambda r, x, y: r.held_out(x, y[:50]), "held_out: expected the same samples.*; got 100 and 50 rows"),
        (lambda r, x, y: r.held_out(x[:1], y[:1]), "held_out x: expected at least 2 samples; got 1"),
    ],
    ids=["transform", "transform_y", "held_out-x", "held_out-y", "rows", "one-row"],
)
def test_rows_that_do_not_fit_are_refused(call, text):
    x, y = ref.related(0, 100, 4, 3)
    with pytest.raises(InputError, match=text):
        call(cca(x, y), x, y)


@pytest.mark.parametrize("side", ["x", "y"])
@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_equal_rows_have_no_held_out_correlation(side, scale):
    x, y = (scale * layer for layer in ref.related(0, 100, 4, 3))
    result = cca(x, y)
    rows = {"x": x[:20], "y": y[:20]}
    rows[side] = np.repeat(rows[side][:1], 20, axis=0)
    with pytest.raises(RankError, match=rf"held_out {side}: expected canonical variates that vary .* \(pair 0\)"):
        result.held_out(rows["x"], rows["y"])


def test_bartletts_test_of_a_result_is_that_of_its_correlations_and_ranks():
    x, y = ref.planted(0, 200, 4, 3, [0.9, 0.5, 0.05])
    result = cca(x, y)
    test, expected = result.bartlett(), bartlett(np.array([0.9, 0.5, 0.05]), 4, 3, 200)
    np.testing.assert_allclose(test.statistics, expected.statistics, rtol=1e3 * TOLERANCE)
    np.testing.assert_array_equal(test.degrees_of_freedom, [12, 6, 2])
    assert test.n_significant() == 2


def test_bartletts_test_of_svcca_is_of_the_kept_ranks():
    x, y = ref.gaussian(0, 200, 4) * [10.0, 5.0, 0.1, 0.1], ref.gaussian(1, 200, 3)
    result = svcca(x, y)
    assert (result.x_rank, result.y_rank) == (2, 3)
    np.testing.assert_array_equal(result.bartlett().degrees_of_freedom, [6, 2])


def test_bartletts_test_refuses_more_directions_than_samples_carry():
    with pytest.warns(SvccaWarning, match="whatever the layers hold"):
        result = cca(ref.gaussian(0, 12, 8), ref.gaussian(1, 12, 7))
    with pytest.raises(SampleError, match=r"bartlett: expected more samples than x_rank \+ y_rank = 15; got 12"):
        result.bartlett()


# -- solvers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("route", "solver"), [("moments", "eigh"), ("gram", "eigh"), ("qr", "svd"), ("moments", "svdvals")]
)
def test_a_solvers_fallback_is_recorded_on_every_route(monkeypatch, route, solver):
    x, y = ref.planted(0, 100, 4, 3, [0.9, 0.5, 0.2])
    original, calls = getattr(torch.linalg, solver), []

    def once(matrix, **options):
        calls.append(matrix)
        if len(calls) == 1:
            raise torch.linalg.LinAlgError("failed to converge")
        return original(matrix, **options)

    monkeypatch.setattr(torch.linalg, solver, once)
    with pytest.warns(SvccaWarning, match="x and y: the .* did not converge"):
        result = cca(x, y, solver=route)
    np.testing.assert_allclose(result.correlations, [0.9, 0.5, 0.2], rtol=0, atol=TOLERANCE)
    assert "did not converge" in result.warnings[0].text


def test_a_fallback_on_the_way_to_the_directions_is_announced(monkeypatch):
    x, y = ref.planted(0, 100, 4, 3, [0.9, 0.5, 0.2])
    expected, result = cca(x, y).x_directions, cca(x, y)
    original, calls = torch.linalg.svd, []

    def once(matrix, **options):
        calls.append(matrix)
        if len(calls) == 1:
            raise torch.linalg.LinAlgError("failed to converge")
        return original(matrix, **options)

    monkeypatch.setattr(torch.linalg, "svd", once)
    with pytest.warns(SvccaWarning, match="canonical directions: the SVD did not converge"):
        directions = result.x_directions
    np.testing.assert_allclose(directions, expected, rtol=0, atol=TOLERANCE)


def test_procrustes_survives_a_solver_that_fails_and_says_so(monkeypatch):
    x, y = ref.planted(0, 100, 4, 3, [0.9, 0.5, 0.2])
    expected = procrustes(x, y).similarity

    def fail(matrix):
        raise torch.linalg.LinAlgError("failed to converge")

    monkeypatch.setattr(torch.linalg, "svdvals", fail)
    with pytest.warns(SvccaWarning, match="the singular values alone did not converge"):
        result = procrustes(x, y)
    assert result.similarity == pytest.approx(expected, abs=TOLERANCE)
    assert len(result.warnings) == 1
