import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import reference as ref
from svcca.core import SVDStep, coherence
from svcca.core.coherence import Coherence
from svcca.core.linalg import svd, svdvals
from svcca.core.moments import JointMoments, Moments
from svcca.core.subspace import Subspace
from svcca.errors import InputError, RankError, SampleError

seeds = st.integers(0, 2**32 - 1)
widths = st.integers(1, 7)


def from_moments(x, y):
    return Coherence.from_moments(JointMoments.from_rows(x, y))


both_routes = pytest.mark.parametrize("route", [Coherence.from_rows, from_moments])


@both_routes
@given(seed=seeds, p=widths, q=widths)
def test_the_matrix_is_the_product_of_the_orthonormal_bases(route, seed, p, q):
    x, y = ref.related(seed, 60, p, q)
    pair = route(x, y)
    u_x, u_y = (ref.centred(z) @ side.whitener.numpy() for z, side in ((x, pair.x), (y, pair.y)))
    np.testing.assert_allclose(pair.matrix, u_x.T @ u_y, rtol=0, atol=ref.rounding(60, 10))
    assert pair.n_samples == 60


@both_routes
@given(seed=seeds, p=widths, q=widths)
def test_its_singular_values_are_the_canonical_correlations(route, seed, p, q):
    x, y = ref.related(seed, 60, p, q)
    np.testing.assert_allclose(
        route(x, y).correlations, ref.correlations(x, y), rtol=0, atol=ref.rounding(60, condition(x, y))
    )


@both_routes
@given(seed=seeds, share=st.floats(0.3, 1.0))
def test_cutting_the_matrix_is_cutting_both_layers_first(route, seed, share):
    x, y = ref.related(seed, 60, 6, 5)
    pair = route(x, y)
    again = Coherence.from_subspaces(
        Subspace.from_rows(x).truncate(SVDStep(share)), Subspace.from_rows(y).truncate(SVDStep(share))
    )
    cut = pair.truncate(SVDStep(share))
    assert tuple(cut.matrix.shape) == (cut.x.rank, cut.y.rank) == tuple(again.matrix.shape)
    np.testing.assert_allclose(
        cut.correlations, again.correlations, rtol=0, atol=ref.rounding(60, 10 * condition(x, y))
    )


@given(seed=seeds)
def test_scaled_by_the_singular_values_it_has_those_of_the_cross_scatter(seed):
    x, y = ref.related(seed, 60, 4, 6)
    pair = Coherence.from_rows(x, y)
    scaled = pair.x.singular_values[:, None] * pair.matrix * pair.y.singular_values
    expected = np.linalg.svd(ref.centred(x).T @ ref.centred(y), compute_uv=False)
    np.testing.assert_allclose(torch.linalg.svdvals(scaled), expected, rtol=0, atol=ref.rounding(60) * expected[0])


@both_routes
@given(seed=seeds, p=widths)
def test_no_correlation_leaves_zero_to_one(route, seed, p):
    x = ref.related(seed, 40, p, p)[0]
    rho = route(x, x @ ref.invertible(np.random.default_rng(seed), p)).correlations
    assert (rho <= 1).all()
    assert (rho >= 0).all()
    assert (rho.diff() <= 0).all()


def test_its_factors_give_orthonormal_variates_that_pair_up():
    x, y = ref.related(0, 60, 4, 6)
    pair = Coherence.from_rows(x, y)
    a, rho, bh, _ = pair.factors
    h_x, h_y = pair.x.basis @ a, pair.y.basis @ bh.mH
    np.testing.assert_allclose(h_x.T @ h_x, np.eye(4), rtol=0, atol=ref.rounding(60, 10))
    np.testing.assert_allclose(h_y.T @ h_y, np.eye(4), rtol=0, atol=ref.rounding(60, 10))
    np.testing.assert_allclose(h_x.T @ h_y, np.diag(rho), rtol=0, atol=ref.rounding(60, 10))


@pytest.fixture
def taken(monkeypatch):
    """Names of the factorisations of a pair that were taken, in order."""
    names = []

    def watched(name, original):
        return lambda matrix: names.append(name) or original(matrix)

    for name in ("svd", "svdvals"):
        monkeypatch.setattr(coherence, name, watched(name, getattr(coherence, name)))
    return names


READ = {
    "correlations": lambda pair: pair.correlations,
    "weights": lambda pair: pair.projection_weights("x", squared=False)[0],
    "cross": lambda pair: pair.cross_singular_values,
    "norm": lambda pair: pair.cross_norm,
}


@pytest.mark.parametrize("vectors", [False, True])
@pytest.mark.parametrize("order", list(itertools.permutations(READ)), ids="-".join)
def test_no_value_depends_on_what_was_read_before(vectors, order):
    pair = replace(Coherence.from_rows(*ref.related(0, 60, 4, 6)), vectors=vectors)
    for name in order:
        assert np.array_equal(READ[name](replace(pair)), READ[name](pair))


@pytest.mark.parametrize("vectors", [False, True])
@pytest.mark.parametrize("order", list(itertools.permutations(("correlations", "cross", "none"))), ids="-".join)
def test_notes_are_those_on_the_factorisation_whatever_was_read_before(monkeypatch, vectors, order):
    monkeypatch.setattr(coherence, "svdvals", lambda matrix: svdvals(matrix)._replace(notes=("values alone",)))
    monkeypatch.setattr(coherence, "svd", lambda matrix: svd(matrix)._replace(notes=("with vectors",)))
    pair = Coherence.from_rows(*ref.related(0, 60, 4, 6))
    pair = replace(pair, x=replace(pair.x, notes=("of x",)), y=replace(pair.y, notes=("of y",)), vectors=vectors)
    assert {name: pair.notes_on(name) for name in order} == {
        "correlations": ("of x", "of y", "with vectors" if vectors else "values alone"),
        "cross": ("of x", "of y", "values alone"),
        "none": ("of x", "of y"),
    }
    assert pair.notes == ("of x", "of y")


def test_without_vectors_the_singular_values_alone_are_computed_and_once(taken):
    pair = Coherence.from_rows(*ref.related(0, 60, 4, 6))
    assert torch.equal(pair.correlations, pair.correlations)
    assert taken == ["svdvals"]


def test_with_vectors_the_correlations_come_with_them_in_one_factorisation(taken):
    pair = Coherence.from_rows(*ref.related(0, 60, 4, 6)).with_vectors()
    assert pair.factors.u is pair.factors.u
    assert torch.equal(pair.correlations, pair.factors.s)
    for side in ("x", "y"):
        assert torch.equal(pair.projection_weights(side, squared=True)[1], pair.correlations)
    assert taken == ["svd"]


def test_what_needs_no_factorisation_takes_none(taken):
    pair = Coherence.from_rows(*ref.related(0, 60, 4, 6)).with_vectors()
    assert pair.cross_norm > 0
    assert len(pair.projection_norms("x")) == 4
    assert pair.notes_on("none") == pair.notes == ()
    assert taken == []


def test_asking_for_vectors_twice_gives_the_same_object():
    pair = Coherence.from_rows(*ref.related(0, 60, 4, 6)).with_vectors()
    assert pair.with_vectors() is pair


def test_a_cut_pair_is_factorised_anew_and_without_vectors(taken):
    pair = Coherence.from_rows(*ref.related(0, 60, 4, 6)).with_vectors()
    assert len(pair.correlations) == 4
    assert len(pair.truncate(SVDStep(n_components=2)).correlations) == 2
    assert taken == ["svd", "svdvals"]


def test_keeping_everything_is_the_same_object():
    pair = Coherence.from_rows(*ref.related(0, 60, 4, 6))
    assert pair.truncate(SVDStep(1)) is pair


def test_wide_layers_agree_between_gram_moments_and_oracle():
    # Rank 4 and 3 in 70 and 50 units over 40 samples.
    latent_x, latent_y = ref.related(0, 40, 4, 3)
    x, y = latent_x @ ref.gaussian(1, 4, 70), latent_y @ ref.gaussian(2, 3, 50)
    expected = ref.deficient_correlations(x, y, 4, 3)
    tolerance = ref.rounding(
        70, max(ref.basis(z, rank)[1][0] / ref.basis(z, rank)[1][-1] for z, rank in ((x, 4), (y, 3)))
    )
    for pair in (Coherence.from_rows(x, y), from_moments(x, y)):
        np.testing.assert_allclose(pair.correlations, expected, rtol=0, atol=tolerance)


def test_complex_layers_have_real_correlations():
    x = ref.gaussian(0, 50, 3) + 1j * ref.gaussian(1, 50, 3)
    y = ref.gaussian(2, 50, 2) + 1j * ref.gaussian(3, 50, 2) + (1 + 2j) * x[:, :2]
    for pair in (Coherence.from_rows(x, y), from_moments(x, y)):
        assert pair.correlations.dtype == torch.float64
        np.testing.assert_allclose(pair.correlations, ref.correlations(x, y), rtol=0, atol=ref.rounding(50, 5))


def test_a_real_layer_pairs_with_a_complex_one():
    x = ref.gaussian(0, 50, 3)
    y = ref.gaussian(2, 50, 2) + 1j * ref.gaussian(3, 50, 2) + (1 + 2j) * x[:, :2]
    for pair in (Coherence.from_rows(x, y), from_moments(x, y)):
        np.testing.assert_allclose(pair.correlations, ref.correlations(x, y), rtol=0, atol=ref.rounding(50, 5))


def test_layers_decomposed_from_moments_cannot_be_paired_without_their_joint_moments():
    x = ref.gaussian(0, 20, 3)
    kept, lost = Subspace.from_rows(x), Subspace.from_moments(Moments.from_rows(x))
    for pair in ((kept, lost), (lost, kept)):
        with pytest.raises(
            InputError, match=r"subspaces that hold their basis; got one.*Pass the JointMoments of the two"
        ):
            Coherence.from_subspaces(*pair)


def test_layers_over_different_samples_cannot_be_paired():
    with pytest.raises(SampleError, match=r"Coherence: expected the same samples.*got 20 and 19 rows"):
        Coherence.from_subspaces(Subspace.from_rows(ref.gaussian(0, 20, 3)), Subspace.from_rows(ref.gaussian(0, 19, 3)))


def test_unequal_rows_are_refused():
    with pytest.raises(SampleError, match=r"x and y: expected the same samples.*got 20 and 19 rows"):
        Coherence.from_rows(ref.gaussian(0, 20, 3), ref.gaussian(0, 19, 3))


@both_routes
@pytest.mark.parametrize("side", ["x", "y"])
def test_a_constant_layer_is_named_by_its_side(route, side):
    layers = {"x": ref.gaussian(0, 20, 3), "y": ref.gaussian(1, 20, 3)} | {side: np.full((20, 3), 0.1)}
    with pytest.raises(RankError, match=f"^{side}: expected activations that vary"):
        route(layers["x"], layers["y"])


def condition(*layers):
    """Largest condition number of some layers of full column rank."""
    spectra = [np.linalg.svd(ref.centred(layer), compute_uv=False) for layer in layers]
    return max(s[0] / s[-1] for s in spectra)
