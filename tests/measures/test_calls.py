"""Every measure as one call: values, options, distances, several at once, refusals, on a GPU."""

import inspect
import math
import warnings

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

import reference as ref
from every_measure import EVERY
from svcca import measures
from svcca.core.subspace import WHOLE, Subspace, SVDStep
from svcca.errors import InputError, NonFiniteError, RankError, SampleError, SvccaWarning, UnknownOptionError
from svcca.measures import (
    MEASURES,
    CCAResult,
    Similarity,
    cca,
    linear_cka,
    linear_regression_r2,
    pca,
    permutation_test,
    pls,
    procrustes,
    procrustes_angle,
    procrustes_distance,
    pwcca,
    r2_cca,
    similarities,
    svcca,
    svcca_weighted,
)

seeds = st.integers(0, 2**32 - 1)
widths = st.integers(1, 5)
few = settings(max_examples=10)
# Two layers of `ref.related` have condition numbers up to about 10; the slack is for the rare worse draw.
TOLERANCE = ref.rounding(100, 30)

CALLS = {
    "pwcca": pwcca,
    "pwcca(side='x')": lambda x, y: pwcca(x, y, side="x"),
    "pwcca(side='y')": lambda x, y: pwcca(x, y, side="y"),
    "pwcca(side='mean')": lambda x, y: pwcca(x, y, side="mean"),
    "pwcca(squared=True)": lambda x, y: pwcca(x, y, squared=True),
    "svcca_weighted": svcca_weighted,
    "svcca_weighted(side='y')": lambda x, y: svcca_weighted(x, y, side="y"),
    "svcca_weighted(side='mean')": lambda x, y: svcca_weighted(x, y, side="mean"),
    "r2_cca": r2_cca,
    "linear_cka": linear_cka,
    "linear_cka_debiased": lambda x, y: linear_cka(x, y, debiased=True),
    "procrustes": procrustes,
    "linear_regression_r2": linear_regression_r2,
}
every_call = pytest.mark.parametrize("name", CALLS)
THROUGH_SIMILARITIES = [name for name in EVERY if name not in CALLS]

WHATEVER = {
    "pls": pls,
    "procrustes_distance": procrustes_distance,
    "procrustes_angle": procrustes_angle,
    "similarities": lambda x, y: similarities(x, y, list(EVERY.values())),
    "permutation_test": lambda x, y: permutation_test(x, y, n_permutations=1),
    **CALLS,
}


# -- values -----------------------------------------------------------------------------------------------------------


@every_call
@few
@given(seed=seeds, p=widths, q=widths)
def test_each_call_is_its_oracle_under_its_registered_name(name, seed, p, q):
    x, y = ref.related(seed, 100, p, q)
    result = CALLS[name](x, y)
    assert type(result) is Similarity
    assert (result.measure, result.n_samples, result.warnings) == (name, 100, ())
    tolerance = (1e4 if EVERY[name].svd_step else 1) * TOLERANCE  # directions at the cut mix over a gap
    assert result.similarity == pytest.approx(ref.MEASURES[name](x, y, 0.99), abs=tolerance)
    assert float(result) == result.similarity


@pytest.mark.parametrize("name", THROUGH_SIMILARITIES)
@few
@given(seed=seeds, p=widths, q=widths)
def test_a_measure_without_a_call_of_its_own_is_had_by_name(name, seed, p, q):
    x, y = ref.related(seed, 100, p, q)
    tolerance = (1e4 if EVERY[name].svd_step else 1) * TOLERANCE
    got = similarities(x, y, [EVERY[name]])[name].similarity
    assert got == pytest.approx(ref.MEASURES[name](x, y, 0.99), abs=tolerance)


@every_call
def test_wide_layers_give_what_their_latent_layers_give(name):
    # n = 100 < p: the Gram matrix of the samples. An isometric map into many units keeps every measure but those that
    # sum over single units.
    latent_x, latent_y = ref.related(0, 100, 4, 3)
    rng = np.random.default_rng(1)
    x, y = latent_x @ ref.orthogonal(rng, 150)[:4], latent_y @ ref.orthogonal(rng, 120)[:3]
    result = CALLS[name](x, y)
    if not name.startswith("pwcca") or name == "pwcca(squared=True)":
        # Of the wide pair y is the narrower one, as of the latent pair.
        assert result.similarity == pytest.approx(CALLS[name](latent_x, latent_y).similarity, abs=10 * TOLERANCE)
    else:
        side = {"pwcca": "y", "pwcca(side='x')": "x", "pwcca(side='y')": "y", "pwcca(side='mean')": "mean"}[name]
        weights = {}
        h_x, h_y, rho = ref.variates(x, y, 4, 3)
        for one, h, layer in (("x", h_x, x), ("y", h_y, y)):
            w = ref.pwcca_weights(h, layer)
            weights[one] = (w * rho).sum() / w.sum()
        expected = np.mean(list(weights.values())) if side == "mean" else weights[side]
        assert result.similarity == pytest.approx(expected, abs=10 * TOLERANCE)


@given(seed=seeds, p=widths, q=widths)
def test_procrustes_is_what_scipys_best_rotation_achieves(seed, p, q):
    x, y = (ref.centred(layer) for layer in ref.related(seed, 100, p, q))
    wide = max(p, q)
    x, y = (np.pad(z, ((0, 0), (0, wide - z.shape[1]))) / np.linalg.norm(z) for z in (x, y))
    rotation, scale = scipy.linalg.orthogonal_procrustes(x, y)
    assert procrustes(x, y).similarity == pytest.approx(scale, abs=TOLERANCE)
    assert procrustes(x, y).similarity == pytest.approx(np.sum((x @ rotation) * y), abs=TOLERANCE)
    # A distance is a root: it keeps half of the digits where it is small.
    assert procrustes_distance(x, y) == pytest.approx(np.linalg.norm(x @ rotation - y), abs=math.sqrt(TOLERANCE))


@given(seed=seeds, p=widths, q=widths)
def test_linear_regression_r2_is_scikit_learns(seed, p, q):
    x, y = ref.related(seed, 100, p, q)
    expected = LinearRegression().fit(x, y)
    residual = y - expected.predict(x)
    share = 1 - (residual**2).sum() / ((y - y.mean(axis=0)) ** 2).sum()
    assert linear_regression_r2(x, y).similarity == pytest.approx(share, abs=TOLERANCE)


def test_linear_regression_predicts_the_second_layer_from_the_first():
    x = ref.gaussian(0, 100, 4)
    assert linear_regression_r2(x, x[:, :2]).similarity == pytest.approx(1, abs=1e-12)  # the definition's own figure
    assert linear_regression_r2(x[:, :2], x).similarity < 0.8


def test_debiased_cka_of_unrelated_wide_layers_is_near_zero_where_the_biased_one_is_not():
    x, y = ref.gaussian(0, 100, 90), ref.gaussian(1, 100, 80)
    with pytest.warns(SvccaWarning, match="unrelated layers would already give"):
        biased = linear_cka(x, y)
    assert biased.similarity > 0.4
    debiased = linear_cka(x, y, debiased=True)
    assert abs(debiased.similarity) < 0.05  # a few standard deviations of one draw
    assert debiased.chance == 0
    assert debiased.warnings == ()


def test_debiased_cka_recovers_the_alignment_of_a_population_from_few_samples():
    # Two views of four latent units, each with noise: the population's value is known, few samples bias the plain one.
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(4, 40)), rng.normal(size=(4, 40))
    covariances = [m.T @ m + np.eye(40) for m in maps]
    truth = np.linalg.norm(maps[0].T @ maps[1]) ** 2 / math.prod(np.linalg.norm(c) for c in covariances)
    plain, debiased = [], []
    for _ in range(20):
        z = rng.normal(size=(30, 4))
        x, y = (z @ m + rng.normal(size=(30, 40)) for m in maps)
        plain.append(ref.linear_cka(x, y))
        debiased.append(linear_cka(x, y, debiased=True).similarity)
    assert abs(np.mean(debiased) - truth) < abs(np.mean(plain) - truth)


# -- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda x, y: pwcca(x, y, side="both"), "pwcca: expected side to be one of narrower, x, y, mean; got 'both'"),
        (lambda x, y: svcca_weighted(x, y, side="narrower"), "svcca_weighted: expected side to be one of x, y, mean"),
        (lambda x, y: similarities(x, y, ["cca", "ccca"]), "measure: expected measure to be one of cca, svcca, r2_cca"),
        (
            lambda x, y: permutation_test(x, y, measure="r2"),
            "measure: expected measure to be one of cca, svcca, r2_cca",
        ),
        (lambda x, y: svcca(x, y, by="energy"), "SVD step: expected by to be one of variance, singular_values; got"),
        (lambda x, y: similarities(x, y, ["cca"], precision="f4"), "precision to be one of float64, float32; got 'f4'"),
    ],
    ids=["pwcca", "weighted", "similarities", "permutation", "by", "precision"],
)
def test_an_unknown_choice_lists_the_known_ones(call, text):
    with pytest.raises(UnknownOptionError, match=text):
        call(*ref.related(0, 100, 4, 3))


def test_the_retained_share_is_that_of_the_call():
    x, y = ref.gaussian(0, 200, 5) * 2.0 ** -np.arange(5), ref.gaussian(1, 200, 4)
    x = x + 0.1 * y @ ref.gaussian(2, 4, 5)
    for share in (0.5, 0.9, 1.0):
        expected = ref.kept_rank(x, share), ref.kept_rank(y, share)
        one = svcca_weighted(x, y, retained_variance=share)
        several = similarities(x, y, ["svcca", "svcca_weighted", "cca"], retained_variance=share)
        assert (one.x_rank, one.y_rank) == expected
        assert (several["svcca"].x_rank, several["svcca"].y_rank) == expected
        assert several["svcca_weighted"].similarity == pytest.approx(one.similarity, abs=TOLERANCE)
        assert several["cca"].x_rank == 5


@given(seed=seeds, p=st.integers(1, 6), share=st.floats(0.3, 1.0))
def test_a_cut_by_singular_values_keeps_what_the_oracle_counts(seed, p, share):
    x, y = ref.related(seed, 100, p, 2)
    result = svcca(x, y, by="singular_values", retained_variance=share)
    assert result.x_rank == ref.kept_rank_by_singular_values(x, share)
    assert result.x_rank >= svcca(x, y, retained_variance=share).x_rank
    rho = ref.deficient_correlations(x, y, result.x_rank, result.y_rank)
    np.testing.assert_allclose(result.correlations, rho, rtol=0, atol=1e4 * TOLERANCE)


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("route", ["auto", "moments", "gram", "qr"])
def test_a_number_of_components_is_kept_on_both_sides(route, k):
    x, y = ref.related(0, 100, 5, 3)
    result = svcca(x, y, n_components=k, solver=route)
    assert (result.x_rank, result.y_rank, result.step.n_components) == (k, k, k)
    rho = ref.deficient_correlations(x, y, k, k)
    np.testing.assert_allclose(result.correlations, rho, rtol=0, atol=1e4 * TOLERANCE)


def test_more_components_than_a_layer_has_are_refused():
    with pytest.raises(InputError, match=r"n_components: expected at most 3, the layer's rank; got 4"):
        svcca(*ref.related(0, 100, 5, 3), n_components=4)


@pytest.mark.parametrize("k", [0, -1, 2.0, True])
def test_a_number_of_components_is_a_positive_integer(k):
    with pytest.raises(InputError, match="n_components: expected a positive integer"):
        svcca(*ref.related(0, 100, 5, 3), n_components=k)


@pytest.mark.parametrize("by", ["variance", "singular_values"])
@given(seed=seeds, p=st.integers(1, 8), share=st.floats(0.05, 1.0))
def test_cutting_twice_is_cutting_once(by, seed, p, share):
    step = SVDStep(share, by=by)
    once = Subspace.from_rows(ref.related(seed, 100, p, 1)[0]).truncate(step)
    twice = once.truncate(step)
    assert torch.equal(once.singular_values, twice.singular_values)
    assert torch.equal(once.basis, twice.basis)
    assert once.truncate(SVDStep(n_components=once.rank)).rank == once.rank


@pytest.mark.parametrize("by", ["variance", "singular_values"])
def test_a_second_smaller_cut_counts_from_the_whole_layer(by):
    whole = Subspace.from_rows(ref.related(0, 100, 8, 1, condition=20)[0])
    again = whole.truncate(SVDStep(0.95, by=by)).truncate(SVDStep(0.6, by=by))
    assert again.rank == whole.truncate(SVDStep(0.6, by=by)).rank < whole.truncate(SVDStep(0.95, by=by)).rank


# -- several at once --------------------------------------------------------------------------------------------------


@given(seed=seeds, p=widths, q=widths)
@few
def test_all_at_once_are_what_each_is_alone(seed, p, q):
    x, y = ref.related(seed, 100, p, q)
    for name, result in similarities(x, y, list(EVERY.values())).items():
        alone = similarities(x, y, [EVERY[name]])[name]
        assert (result.measure, result.x_rank, result.y_rank) == (name, alone.x_rank, alone.y_rank)
        assert result.similarity == pytest.approx(alone.similarity, abs=TOLERANCE)
        assert result.chance == pytest.approx(alone.chance, rel=TOLERANCE)
        if name in CALLS:
            assert CALLS[name](x, y).similarity == pytest.approx(result.similarity, abs=TOLERANCE)


@pytest.mark.parametrize("condition", [1e4, 1e6])
def test_the_company_a_measure_is_asked_for_in_does_not_change_it(condition):
    x, y = ref.planted(0, 200, 5, 4, [0.9, 0.7, 0.4, 0.2], condition)
    alone, together = similarities(x, y, ["cca"]), similarities(x, y, ["cca", "linear_cka_debiased"])
    assert together["cca"].similarity == pytest.approx(alone["cca"].similarity, abs=1e-9)  # what the library promises


@pytest.mark.parametrize(("p", "q"), [(4, 3), (120, 4)])
def test_all_at_once_take_one_decomposition_a_layer(monkeypatch, p, q):
    x, y = ref.gaussian(0, 100, p), ref.gaussian(1, 100, q)
    original, calls = torch.linalg.eigh, []
    monkeypatch.setattr(torch.linalg, "eigh", lambda matrix: calls.append(matrix.shape) or original(matrix))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SvccaWarning)  # 120 units over 100 samples
        similarities(x, y, list(EVERY.values()))
    assert len(calls) == 2


def test_singular_values_are_not_factorised_for_where_the_vectors_are_wanted_too(monkeypatch):
    x, y = ref.related(0, 100, 4, 3)
    calls = []
    monkeypatch.setattr(torch.linalg, "svdvals", lambda matrix: calls.append(matrix.shape))
    similarities(x, y, ["cca", "pwcca", "r2_cca"])  # asked for in an order that would have come to the values first
    assert calls == []


def test_results_come_in_the_order_asked_for():
    names = ["procrustes", "svcca", "cca"]
    assert list(similarities(*ref.related(0, 100, 4, 3), names)) == names


def test_no_measure_at_all_gives_nothing():
    assert similarities(*ref.related(0, 100, 4, 3), []) == {}


@pytest.mark.parametrize("name", EVERY)
def test_each_call_agrees_with_cca_and_svcca_on_ranks(name):
    x, y = ref.gaussian(0, 200, 4) * [10.0, 5.0, 1.0, 0.1], ref.gaussian(1, 200, 3)
    result, whole = similarities(x, y, [EVERY[name]])[name], svcca if EVERY[name].svd_step else cca
    assert (result.x_rank, result.y_rank) == (whole(x, y).x_rank, whole(x, y).y_rank)


# -- warnings ---------------------------------------------------------------------------------------------------------

SILENT = ("linear_cka_debiased", "pls", "permutation_test")


@pytest.mark.parametrize("name", [name for name in WHATEVER if name not in SILENT])
def test_a_warning_points_at_the_line_that_called(name):
    with pytest.warns(SvccaWarning) as caught:
        WHATEVER[name](ref.gaussian(0, 12, 15), ref.gaussian(1, 12, 12))
    assert {warning.filename for warning in caught} == {__file__}


def test_each_measure_asked_for_is_warned_of():
    noise = ref.gaussian(0, 12, 15), ref.gaussian(1, 12, 12)
    with pytest.warns(SvccaWarning) as caught:
        results = similarities(*noise, ["cca", "linear_cka", "linear_cka_debiased"])
    assert [str(w.message) for w in caught] == [
        str(d) for d in (*results["cca"].warnings, *results["linear_cka"].warnings)
    ]
    assert "1 whatever the layers hold" in str(caught[0].message)
    assert results["linear_cka_debiased"].warnings == ()


@pytest.mark.parametrize("solver", ["eigh", "svd"])
def test_a_solvers_fallback_is_recorded_and_changes_no_value(monkeypatch, solver):
    x, y = ref.planted(0, 100, 4, 3, [0.9, 0.5, 0.2])
    expected = {name: result.similarity for name, result in similarities(x, y, list(EVERY.values())).items()}
    original, calls = getattr(torch.linalg, solver), []

    def once(matrix, **options):
        calls.append(matrix)
        if len(calls) == 1:
            raise torch.linalg.LinAlgError("failed to converge")
        return original(matrix, **options)

    monkeypatch.setattr(torch.linalg, solver, once)
    with pytest.warns(SvccaWarning, match="did not converge"):
        results = similarities(x, y, list(EVERY.values()))
    for name, value in expected.items():
        assert results[name].similarity == pytest.approx(value, abs=TOLERANCE)
    noted = [
        result for result in results.values() if any("did not converge" in doubt.text for doubt in result.warnings)
    ]
    assert noted if solver == "svd" else len(noted) == len(EVERY)


# -- distances --------------------------------------------------------------------------------------------------------

metric = pytest.mark.parametrize("distance", [procrustes_distance, procrustes_angle])


@metric
@given(seed=seeds, p=widths, q=widths, r=widths)
def test_a_procrustes_distance_keeps_the_triangle_inequality(distance, seed, p, q, r):
    x, y = ref.related(seed, 100, p, q)
    z = ref.gaussian(seed, 100, r) + 0.5 * x[:, :1] + y[:, :1]
    # A distance is a root: it keeps half of the digits where it is small.
    assert distance(x, z) <= distance(x, y) + distance(y, z) + math.sqrt(TOLERANCE)


@metric
@given(seed=seeds, p=widths, q=widths)
def test_a_procrustes_distance_is_symmetric_and_zero_for_a_turned_scaled_moved_image(distance, seed, p, q):
    x, y = ref.related(seed, 100, p, q)
    assert distance(x, y) == pytest.approx(distance(y, x), abs=math.sqrt(TOLERANCE))
    image = 7 * x @ ref.orthogonal(np.random.default_rng(seed), p) - 3
    assert distance(x, image) == pytest.approx(0, abs=math.sqrt(TOLERANCE))


@metric
@given(seed=seeds)
def test_a_procrustes_distance_is_positive_for_layers_that_are_no_images(distance, seed):
    assert distance(*ref.related(seed, 100, 3, 3)) > 0.05


def test_procrustes_distances_are_those_of_the_similarity():
    x, y = ref.related(0, 100, 4, 3)
    similarity = ref.procrustes(x, y)
    assert procrustes_distance(x, y) == pytest.approx(math.sqrt(2 - 2 * similarity), abs=TOLERANCE * 10)
    assert procrustes_angle(x, y) == pytest.approx(math.acos(similarity), abs=TOLERANCE * 10)


def test_orthogonal_layers_are_as_far_apart_as_can_be():
    u = ref.basis(ref.gaussian(0, 100, 6))[0]
    assert procrustes_distance(u[:, :3], u[:, 3:]) == pytest.approx(math.sqrt(2), abs=TOLERANCE)
    assert procrustes_angle(u[:, :3], u[:, 3:]) == pytest.approx(math.pi / 2, abs=TOLERANCE)


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WHATEVER)
@pytest.mark.parametrize("side", ["x", "y"])
def test_what_are_no_activations_is_refused_by_every_call_and_named(name, side):
    layers = dict(zip("xy", ref.related(0, 100, 4, 3), strict=True))
    call = WHATEVER[name]
    for bad, error, text in (
        (np.ones((100, 3), dtype=int), InputError, "floating-point activations"),
        (np.ones(100), InputError, r"shape \(n_samples, n_features\)"),
        (np.full((100, 3), np.nan), NonFiniteError, "finite activations"),
        (np.full((100, 3), 2.0), RankError, "activations that vary"),
    ):
        with pytest.raises(error, match=f"^{side}: expected {text}"):
            call(*{**layers, side: bad}.values())


@pytest.mark.parametrize("name", WHATEVER)
def test_unequal_rows_are_refused_by_every_call(name):
    with pytest.raises(SampleError, match=r"x and y: expected the same samples.*; got 100 and 99 rows"):
        WHATEVER[name](ref.gaussian(0, 100, 3), ref.gaussian(1, 99, 3))


# -- every dtype and container ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_narrow_floats_give_every_measure_in_float64(dtype):
    x, y = (torch.from_numpy(layer).to(dtype) for layer in ref.related(0, 100, 4, 3))
    got = similarities(x, y, list(EVERY.values()))
    wide = [z.double().numpy() for z in (x, y)]
    for name, result in got.items():
        tolerance = (1e3 if EVERY[name].svd_step else 1) * TOLERANCE
        assert result.similarity == pytest.approx(ref.MEASURES[name](*wide, 0.99), abs=tolerance), name
        assert type(result.similarity) is float
        assert type(result.chance) is float


# -- on a GPU ---------------------------------------------------------------------------------------------------------

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def _devices(*layers):
    return [torch.from_numpy(z) for z in layers], [torch.from_numpy(z).cuda() for z in layers]


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize("route", ["auto", "moments", "gram", "qr"])
@pytest.mark.parametrize("function", [cca, svcca])
@pytest.mark.parametrize("shape", [(200, 8, 6), (100, 130, 120)], ids=["tall", "wide"])
def test_a_gpu_gives_the_same_correlations_and_directions(function, route, shape):
    n_samples, p, q = shape
    latent = ref.planted(0, n_samples, 4, 3, [0.9, 0.6, 0.2])
    maps = ref.orthogonal(np.random.default_rng(1), p)[:4], ref.orthogonal(np.random.default_rng(2), q)[:3]
    here, there = _devices(*(layer @ m for layer, m in zip(latent, maps, strict=True)))
    expected, got = function(*here, solver=route), function(*there, solver=route)
    assert isinstance(got, CCAResult)
    for name in ("correlations", "x_directions", "y_directions", "x_mean", "y_mean"):
        array = getattr(got, name)
        assert type(array) is np.ndarray
        scale = np.abs(getattr(expected, name)).max()
        # The correlations lie 0.2 apart.
        np.testing.assert_allclose(array, getattr(expected, name), rtol=0, atol=10 * TOLERANCE * scale)
    rows = there[0].cpu()
    np.testing.assert_allclose(got.transform(there[0]), got.transform(rows), rtol=0, atol=10 * TOLERANCE)


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_a_gpu_gives_the_same_measures(precision):
    here, there = _devices(*ref.related(0, 200, 6, 5))
    names = list(EVERY)
    expected, got = (similarities(x, y, list(EVERY.values()), precision=precision) for x, y in (here, there))
    tolerance = TOLERANCE if precision == "float64" else 2e-5  # section 3 of the definitions, for condition 10
    for name in names:
        assert type(got[name].similarity) is float
        assert got[name].similarity == pytest.approx(expected[name].similarity, abs=tolerance), name
        assert got[name].chance == pytest.approx(expected[name].chance, abs=tolerance), name


@pytest.mark.gpu
@on_gpu
def test_a_gpu_gives_the_same_pls_pca_and_permutation_test():
    here, there = _devices(*ref.planted(0, 200, 4, 3, [0.9, 0.6, 0.2]))
    for function in (pls, lambda x, y: pca(x)):
        expected, got = function(*here), function(*there)
        for name, value in vars(expected).items():
            np.testing.assert_allclose(getattr(got, name), value, rtol=0, atol=10 * TOLERANCE)
            assert isinstance(value, int | float) or type(getattr(got, name)) is np.ndarray
    expected, got = (permutation_test(x, y, n_permutations=9) for x, y in (here, there))
    np.testing.assert_allclose(got.null, expected.null, rtol=0, atol=10 * TOLERANCE)


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize("measure", [measure for measure in EVERY.values() if not measure.needs_rows])
def test_a_gpu_gives_the_same_comparison_of_mappings(measure):
    from svcca import compare

    x, y = ref.related(0, 300, 6, 5)
    here, there = ({"x": a, "y": b} for a, b in _devices(x, y))
    expected, got = compare(here, measure=measure), compare(there, measure=measure)
    assert type(got.values) is np.ndarray
    np.testing.assert_allclose(got.values, expected.values, rtol=0, atol=1e3 * TOLERANCE)
    np.testing.assert_allclose(got.chance, expected.chance, rtol=0, atol=1e3 * TOLERANCE)


def test_every_call_of_the_package_is_tested_here():
    calls = {name for name in measures.__all__ if inspect.isfunction(getattr(measures, name))}
    named = {"similarities", "pca", "pls", "permutation_test", "procrustes_distance", "procrustes_angle"}
    named |= {"pwcca", "svcca_weighted", "r2_cca", "linear_cka", "procrustes", "linear_regression_r2"}
    assert calls - {"svcca", "cca", "bartlett"} == named  # these have files of their own


def test_a_whole_step_is_the_same_as_none():
    x, y = ref.related(0, 100, 4, 3)
    uncut = similarities(x, y, ["svcca"], retained_variance=1.0)["svcca"].similarity
    assert uncut == pytest.approx(cca(x, y).similarity, abs=TOLERANCE)
    assert SVDStep(1.0) == WHOLE
    assert MEASURES["cca"].svd_step is False
