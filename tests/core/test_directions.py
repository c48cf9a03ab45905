import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from svcca.core import coherence
from svcca.core.directions import Directions
from svcca.core.linalg import svd
from svcca.core.moments import JointMoments, Moments
from svcca.core.subspace import SVDStep
from svcca.errors import InputError, UnknownOptionError

WHOLE = SVDStep(1.0)


def layers(n=400, p=7, q=3, seed=0, rank=None):
    """A layer with a mean and unequal units, and a target that sees some of it."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, rank or p)) @ rng.normal(size=(rank or p, p)) + 10 * rng.normal(size=p)
    y = np.tanh(x @ rng.normal(size=(p, q)) / 5) + 0.1 * rng.normal(size=(n, q))
    return torch.tensor(x), torch.tensor(y)


def every_kind(x, y):
    joint, order = JointMoments.from_rows(x, y), torch.randperm(x.shape[1], generator=torch.Generator().manual_seed(1))
    return {
        "canonical": Directions.canonical(joint, WHOLE),
        "pls": Directions.partial_least_squares(joint),
        "principal": Directions.principal(joint.x),
        "random": Directions.random(joint.x, torch.Generator().manual_seed(2)),
        "neurons": Directions.neurons(joint.x, order, "random neurons"),
    }


@pytest.mark.parametrize("kind", ["canonical", "pls", "principal", "random", "neurons"])
@pytest.mark.parametrize("rank", [None, 4])
@pytest.mark.parametrize("form", ["data", "orthonormal"])
def test_projections_are_projections_keep_the_mean_and_all_directions_are_the_identity(kind, rank, form):
    x, y = layers(rank=rank)
    directions = every_kind(x, y)[kind]
    assert directions.rank == (7 if kind == "neurons" else rank or 7)
    for k in range(8):
        projection = directions.projection(k, form)
        once = projection(x)
        assert projection.rank == k
        assert torch.allclose(projection(once), once, rtol=0, atol=1e-9)
        assert torch.allclose(once.mean(0), x.mean(0), rtol=0, atol=1e-9)
    assert torch.allclose(once, x, rtol=0, atol=1e-9)
    strangers = torch.randn(5, 7, dtype=torch.float64)  # off the layer's span, too
    assert torch.allclose(directions.projection(7, form)(strangers), strangers, rtol=0, atol=1e-8)


@pytest.mark.parametrize("kind", ["canonical", "pls", "principal", "random"])
def test_the_data_form_is_the_projection_of_every_unit_on_the_coordinates_of_the_samples(kind):
    x, y = layers()
    directions = every_kind(x, y)[kind]
    centred = (x - x.mean(0)).numpy()
    for k in (1, 3, 6):
        coordinates = centred @ directions.encoder[:, :k].numpy()
        expected = coordinates @ np.linalg.lstsq(coordinates, centred, rcond=None)[0] + x.mean(0).numpy()
        assert directions.projection(k)(x).numpy() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("kind", ["canonical", "pls", "principal", "random"])
def test_coordinates_are_uncorrelated_and_of_unit_variance(kind):
    x, y = layers(rank=5)
    directions = every_kind(x, y)[kind]
    coordinates = (x - x.mean(0)) @ directions.encoder[:, :5]
    assert torch.allclose(torch.cov(coordinates.T), torch.eye(5, dtype=torch.float64), rtol=0, atol=1e-9)


def test_canonical_ones_are_those_of_scikit_learn_up_to_scale():
    from sklearn.cross_decomposition import CCA

    x, y = layers(n=2000)
    directions = Directions.canonical(JointMoments.from_rows(x, y), WHOLE)
    assert directions.n_from_target == 3
    reference = CCA(n_components=3, scale=False, max_iter=20_000, tol=1e-12).fit(x.numpy(), y.numpy())
    theirs = reference.transform(x.numpy())
    ours = ((x - x.mean(0)) @ directions.encoder[:, :3]).numpy()
    correlations = [abs(np.corrcoef(ours[:, i], theirs[:, i])[0, 1]) for i in range(3)]
    assert correlations == pytest.approx([1, 1, 1], abs=1e-5)
    their_y = reference.transform(x.numpy(), y.numpy())[1]
    expected = [np.corrcoef(theirs[:, i], their_y[:, i])[0, 1] for i in range(3)]
    assert directions.correlations.numpy() == pytest.approx(expected, abs=1e-5)


def test_the_svd_step_cuts_what_the_target_gives():
    x, _ = layers()
    x[:, 0] = x[:, 0].mean() + 1e-4 * (x[:, 0] - x[:, 0].mean())
    joint = JointMoments.from_rows(x, x)
    assert Directions.canonical(joint, WHOLE).n_from_target == 7
    assert Directions.canonical(joint).n_from_target < 7


def test_the_target_can_be_kept_whole_while_the_layer_is_cut():
    x, y = layers(q=4)
    y[:, 0] *= 1e-4
    joint = JointMoments.from_rows(x, y)
    assert Directions.canonical(joint).n_from_target == 3
    assert Directions.canonical(joint, SVDStep(0.999), target_step=WHOLE).n_from_target == 4


def test_only_what_was_sought_counts_as_given_by_a_target():
    counts = {kind: directions.n_from_target for kind, directions in every_kind(*layers()).items()}
    assert counts == {"canonical": 3, "pls": 3, "principal": 0, "random": 0, "neurons": 0}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    x, y = layers(n=4000)
    x = x * 1e-4  # the weights of such a layer overflow float16
    projection = Directions.canonical(JointMoments.from_rows(x, y), WHOLE).projection(3)
    rows = x.to(dtype)
    assert torch.equal(projection(rows), projection(rows.float()).to(dtype))
    assert projection(rows).isfinite().all()


def test_principal_ones_are_those_of_scikit_learn():
    from sklearn.decomposition import PCA

    x, _ = layers()
    reference = PCA().fit(x.numpy())
    directions = Directions.principal(Moments.from_rows(x))
    for k in (1, 4):
        expected = reference.components_[:k].T @ reference.components_[:k]
        projection = directions.projection(k)
        assert (projection.encoder @ projection.decoder).numpy() == pytest.approx(expected, abs=1e-9)
    assert directions.explained_variance_ratio.numpy() == pytest.approx(reference.explained_variance_ratio_, abs=1e-12)
    assert directions.n_from_target == 0


def test_pls_begins_with_the_singular_vectors_of_the_cross_covariance():
    x, y = layers()
    joint = JointMoments.from_rows(x, y)
    directions = Directions.partial_least_squares(joint)
    u = torch.linalg.svd(joint.cross_scatter)[0]
    assert directions.n_from_target == 3
    for k in (1, 2, 3):  # the same span, made uncorrelated
        ours = torch.linalg.qr(directions.encoder[:, :k])[0]
        assert torch.linalg.svdvals(ours.T @ u[:, :k]).min() > 1 - 1e-9


def test_after_the_target_come_the_principal_directions_of_what_it_leaves():
    x, y = layers()
    directions = Directions.canonical(JointMoments.from_rows(x, y), WHOLE)
    left = (x - directions.projection(3)(x)).numpy()
    u, s, vt = np.linalg.svd(left, full_matrices=False)
    for k in (1, 2):
        expected = directions.projection(3)(x).numpy() + (u[:, :k] * s[:k]) @ vt[:k]
        assert directions.projection(3 + k)(x).numpy() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("kind", ["canonical", "pls", "principal", "random"])
def test_shares_of_variance_are_what_each_direction_adds(kind):
    x, y = layers(rank=5)
    directions = every_kind(x, y)[kind]
    total = x.var(dim=0).sum()
    shares = [directions.projection(k)(x).var(dim=0).sum() / total for k in range(8)]
    assert directions.explained_variance_ratio.numpy() == pytest.approx(np.diff(shares), abs=1e-9)


def test_neurons_keep_themselves_and_set_the_others_to_their_mean():
    x, _ = layers()
    directions = Directions.neurons(Moments.from_rows(x), [4, 0, 1, 2, 3, 6, 5], "neurons")
    projected = directions.projection(2)(x)
    assert torch.allclose(projected[:, [4, 0]], x[:, [4, 0]])
    assert torch.allclose(projected[:, [1, 2, 3, 5, 6]], x.mean(0)[[1, 2, 3, 5, 6]].expand(400, 5))
    shares = Directions.neurons(Moments.from_rows(x), [4, 0, 1, 2, 3, 6, 5], "neurons").explained_variance_ratio
    assert torch.allclose(shares, (x.var(dim=0) / x.var(dim=0).sum())[[4, 0, 1, 2, 3, 6, 5]])


@given(scale=st.sampled_from([1e-6, 1.0, 1e6]), p=st.integers(1, 6), rank=st.integers(1, 6), q=st.integers(1, 8))
def test_any_layer_and_target(scale, p, rank, q):
    x, y = layers(n=60, p=p, q=q, rank=min(rank, p))
    for directions in every_kind(x * scale, y).values():
        assert torch.allclose(directions.projection(p)(x * scale), x * scale, rtol=1e-7, atol=1e-9 * scale)


def test_the_rows_keep_their_dtype_and_axes():
    x, _ = layers()
    projection = Directions.principal(Moments.from_rows(x)).projection(3)
    tokens = torch.randn(2, 5, 7, dtype=torch.float32)
    assert projection(tokens).dtype == torch.float32
    assert projection(tokens).shape == tokens.shape
    assert torch.allclose(projection(tokens)[1], projection(tokens[1]))


def test_what_cannot_be_is_refused():
    x, _ = layers()
    directions = Directions.principal(Moments.from_rows(x))
    for k in (-1, 8, 2.0, True):
        with pytest.raises(InputError, match="projection on principal directions: expected k from 0 to 7"):
            directions.projection(k)
    with pytest.raises(UnknownOptionError, match="form to be one of data, orthonormal; got 'oblique'"):
        directions.projection(2, "oblique")
    with pytest.raises(InputError, match=r"Directions, neurons: expected an order of all 7 units; got \[0, 0"):
        Directions.neurons(Moments.from_rows(x), [0, 0, 1, 2, 3, 4, 5], "neurons")


def test_canonical_directions_carry_the_note_of_their_factorisation(monkeypatch):
    moments = JointMoments.from_rows(*layers())
    assert Directions.canonical(moments).notes == ()
    monkeypatch.setattr(coherence, "svd", lambda matrix: svd(matrix)._replace(notes=("another solver",)))
    assert Directions.canonical(moments).notes == ("another solver",)
