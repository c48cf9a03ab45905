import itertools
from functools import reduce

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import reference as ref
from svcca.core.coherence import Coherence
from svcca.core.moments import JointMoments
from svcca.core.subspace import Subspace
from svcca.core.tsqr import JointQR, QRAccumulator
from svcca.errors import InputError, NonFiniteError, RankError, SampleError
from svcca.measures.cca import CCAResult

seeds = st.integers(0, 2**32 - 1)
widths = st.integers(1, 7)
RHO = np.linspace(0.99, 0.1, 6)

# Batches of one row and batches of fewer rows than there are units occur among these.
cuts = st.lists(st.integers(1, 99), unique=True, max_size=30)


def linear(size, condition=1.0):
    """Allow for the rounding of a route that squares nothing: linear in the condition number."""
    return ref.rounding(size, condition**0.5)


def batches(x, y, cuts):
    edges = [0, *sorted(cuts), len(x)]
    return [(x[a:b], y[a:b]) for a, b in itertools.pairwise(edges)]


def by_updates(parts):
    first, *others = parts
    return reduce(lambda joint, part: joint.update(*part), others, JointQR.from_rows(*first))


def by_accumulator(parts):
    accumulator = QRAccumulator()
    for part in parts:
        accumulator.update(*part)
    return accumulator.finish()


def by_merging(parts):
    return reduce(JointQR.merge, [JointQR.from_rows(*part) for part in parts])


every_way = pytest.mark.parametrize("fold", [by_updates, by_accumulator, by_merging])


def rho(x, y):
    return JointQR.from_rows(x, y).to_coherence().correlations


def ill_conditioned(seed, condition, n_samples=600, mean=0.0):
    """Correlated layers of 8 and 6 units, of spread 1 and a chosen condition number."""
    x, y = ref.planted(seed, n_samples, 8, 6, RHO, condition)
    return x * n_samples**0.5 + mean, y * n_samples**0.5 + mean


def wandering(seed, n_samples, p, q):
    """Related rows whose mean moves with the row, so that every batch has its own: a wrong merge shows."""
    x, y = ref.related(seed, n_samples, p, q)
    drift = 5 * np.linspace(-1, 2, n_samples)[:, None]
    return x + drift, y - drift**2


# ---------------------------------------------------------------------------------------------------------------------
# Accuracy
# ---------------------------------------------------------------------------------------------------------------------


# Literal, as promised to users: the error is 0.05 to 0.3 eps times the condition number, and a few eps at least.
@pytest.mark.parametrize(("condition", "atol"), [(1e1, 1e-14), (1e3, 1e-12), (1e5, 1e-11), (1e7, 1e-9)])
@pytest.mark.parametrize("cuts", [(), range(50, 600, 50)])
def test_correlations_of_ill_conditioned_layers_are_those_of_a_qr_in_memory(condition, atol, cuts):
    for seed in range(5):
        x, y = ill_conditioned(seed, condition)
        pair = by_accumulator(batches(x, y, cuts)).to_coherence()
        assert (pair.x.rank, pair.y.rank) == (8, 6)
        np.testing.assert_allclose(pair.correlations, ref.correlations(x, y), rtol=0, atol=atol)


@every_way
def test_a_mean_much_larger_than_the_spread_costs_an_ill_conditioned_layer_no_digits(fold):
    # Rounded at the size of the mean, and not of the spread, these would be in error by 3000 eps 1e5 = 7e-8.
    x, y = ill_conditioned(0, 1e5, mean=3000.0)
    got = fold(batches(x, y, range(50, 600, 50))).to_coherence().correlations
    np.testing.assert_allclose(got, ref.correlations(x, y), rtol=0, atol=1e-10)


@every_way
def test_float32_rows_of_mean_3000_and_spread_1_keep_all_digits(fold):
    x, y = ref.related(0, 500, 4, 3)
    x, y = (3000 + x).astype(np.float32), (y - 3000).astype(np.float32)
    pair = fold(batches(x, y, range(60, 500, 60))).to_coherence()
    np.testing.assert_allclose(pair.correlations, ref.correlations(x, y), rtol=0, atol=linear(4, 10))
    for side, rows in ((pair.x, x), (pair.y, y)):
        wide = rows.astype(np.float64)
        np.testing.assert_allclose(side.mean, wide.mean(axis=0), rtol=linear(1), atol=0)
        assert side.total_variance == pytest.approx(np.square(ref.centred(wide)).sum(), rel=linear(500))


@pytest.mark.parametrize("first_row", [1e6, 0.0])
def test_a_first_row_far_from_the_others_costs_only_what_it_adds_to_the_spread(first_row):
    x, y = ref.related(0, 200, 4, 3)
    x[0], y[0] = first_row, first_row
    joint = by_updates(batches(x, y, [1, 100]))
    atol = linear(7, max(np.linalg.cond(ref.centred(z)) for z in (x, y)))
    np.testing.assert_allclose(joint.to_coherence().correlations, ref.correlations(x, y), rtol=0, atol=atol)


@pytest.mark.parametrize("side", ["x", "y"])
@pytest.mark.parametrize("scales", [(1, 1e-10), (1e-10, 1)])
def test_units_of_very_different_scale_cost_no_digits(side, scales):
    # A scale of each unit is part of the condition number, 1e10 here, but not of the difficulty: an SVD of y's block
    # of R without the QR step, whose error knows the largest singular value alone, errs by 1e-8.
    x, y = ref.related(0, 300, 3, 12)
    layers = {"x": x, "y": y}
    layers[side] = layers[side] * np.geomspace(*scales, layers[side].shape[1])
    np.testing.assert_allclose(rho(**layers), ref.correlations(x, y), rtol=0, atol=linear(9, 10))


def test_directions_are_resolved_that_moments_cannot_tell_from_rounding():
    x, y = ill_conditioned(0, 1e10)
    assert Subspace.from_moments(JointMoments.from_rows(x, y).x).rank < 8
    assert JointQR.from_rows(x, y).to_coherence().x.rank == 8


@pytest.mark.parametrize("condition", [1e1, 1e3, 1e5])
@given(seed=seeds, p=widths, q=widths)
def test_moments_agree_to_the_accuracy_they_have(condition, seed, p, q):
    x, y = ref.planted(seed, 100, p, q, RHO[: min(p, q)], condition)
    moments = Coherence.from_moments(JointMoments.from_rows(x, y))
    # Squares: theirs is the error, of eps times the condition number squared.
    np.testing.assert_allclose(moments.correlations, rho(x, y), rtol=0, atol=16 * ref.EPS * (100 + condition**2))


@pytest.mark.parametrize("condition", [1e1, 1e3, 1e5])
@given(seed=seeds, p=widths, q=widths)
def test_the_gram_matrix_of_few_samples_agrees_to_the_accuracy_it_has(condition, seed, p, q):
    # Few directions of a chosen condition, turned into more units than there are samples.
    x, y = ref.planted(seed, 40, p, q, RHO[: min(p, q)], condition)
    rng = np.random.default_rng(seed)
    x, y = ref.centred(x) @ ref.orthogonal(rng, 50)[:p], ref.centred(y) @ ref.orthogonal(rng, 45)[:q]
    gram, qr = Coherence.from_rows(x, y), JointQR.from_rows(x, y).to_coherence()
    assert (gram.x.rank, gram.y.rank) == (qr.x.rank, qr.y.rank) == (p, q)
    np.testing.assert_allclose(gram.correlations, qr.correlations, rtol=0, atol=16 * ref.EPS * (100 + condition**2))


# ---------------------------------------------------------------------------------------------------------------------
# Batches
# ---------------------------------------------------------------------------------------------------------------------


def assert_same(joint, x, y):
    """Hold a folded pair against the oracles on all rows."""
    pair = joint.to_coherence()
    assert joint.n_samples == pair.n_samples == len(x)
    assert tuple(joint.factor.shape) == (min(len(x), 1 + x.shape[1] + y.shape[1]),) * 2
    atol = linear(len(x), 100)  # these layers have condition numbers of 10 to 100
    np.testing.assert_allclose(pair.correlations, ref.correlations(x, y), rtol=0, atol=atol)
    for side, rows in ((pair.x, x), (pair.y, y)):
        np.testing.assert_allclose(side.mean, rows.mean(axis=0), rtol=0, atol=linear(len(x)) * np.abs(rows).max())
        singular_values = ref.basis(rows)[1]
        np.testing.assert_allclose(side.singular_values, singular_values, atol=linear(len(x)) * singular_values[0])


@every_way
@given(seed=seeds, p=widths, q=widths, cuts=cuts)
def test_batch_sizes_make_no_difference(fold, seed, p, q, cuts):
    x, y = wandering(seed, 100, p, q)
    assert_same(fold(batches(x, y, cuts)), x, y)


@given(seed=seeds, cuts=cuts, order=st.randoms(use_true_random=False))
def test_merge_order_makes_no_difference(seed, cuts, order):
    x, y = wandering(seed, 100, 3, 4)
    parts = batches(x, y, cuts)
    order.shuffle(parts)
    assert_same(by_merging(parts), x, y)


@given(seed=seeds, cuts=cuts)
def test_merging_as_a_tree_makes_no_difference(seed, cuts):
    x, y = wandering(seed, 100, 3, 4)
    parts = [JointQR.from_rows(*part) for part in batches(x, y, cuts)]
    while len(parts) > 1:
        pairs = [parts[i].merge(parts[i + 1]) for i in range(0, len(parts) - 1, 2)]
        parts = pairs + parts[2 * len(pairs) :]
    assert_same(parts[0], x, y)


@every_way
def test_batches_of_one_row_count_as_any_other(fold):
    x, y = wandering(0, 60, 3, 2)
    assert_same(fold(batches(x, y, range(1, 60))), x, y)


@pytest.mark.parametrize("sizes", [(2000,), (100,) * 20, (511, 2, 1487), (700, 1, 1, 1298), (512,) * 4])
def test_an_accumulator_folds_more_rows_than_it_gathers(sizes):
    # It gathers 512 rows of layers this narrow.
    x, y = wandering(0, sum(sizes), 3, 4)
    assert_same(by_accumulator(batches(x, y, np.cumsum(sizes)[:-1])), x, y)


def test_an_accumulator_gathers_no_more_rows_than_it_says():
    x, y = wandering(0, 2000, 3, 4)
    accumulator, most = QRAccumulator(), 0
    for part in batches(x, y, range(30, 2000, 30)):
        accumulator.update(*part)
        most = max(most, sum(len(rows) for rows, _ in accumulator._waiting))
    assert 480 <= most <= 512


def test_an_accumulator_goes_on_after_it_was_asked():
    x, y = wandering(0, 100, 3, 4)
    accumulator = QRAccumulator()
    accumulator.update(x[:40], y[:40])
    assert_same(accumulator.finish(), x[:40], y[:40])
    accumulator.update(x[40:], y[40:])
    assert_same(accumulator.finish(), x, y)
    assert accumulator.n_samples == 100


def test_an_accumulator_keeps_no_hold_of_memory_that_a_loader_reuses():
    x, y = (torch.from_numpy(rows) for rows in wandering(0, 100, 3, 4))
    accumulator, buffers = QRAccumulator(), (torch.empty(10, 3).double(), torch.empty(10, 4).double())
    for start in range(0, 100, 10):
        for buffer, rows in zip(buffers, (x, y), strict=True):
            buffer.copy_(rows[start : start + 10])
        accumulator.update(*buffers)
    assert_same(accumulator.finish(), x.numpy(), y.numpy())


def test_a_factor_has_no_more_rows_than_samples_came():
    joint = JointQR.from_rows(ref.gaussian(0, 1, 5), ref.gaussian(1, 1, 3))
    assert (joint.x_features, joint.y_features) == (5, 3)
    assert tuple(joint.factor.shape) == (1, 9)
    assert tuple(joint.update(ref.gaussian(2, 3, 5), ref.gaussian(3, 3, 3)).factor.shape) == (4, 9)


def test_merging_changes_neither_side():
    x, y = wandering(0, 20, 2, 3)
    a, b = JointQR.from_rows(x[:8], y[:8]), JointQR.from_rows(x[8:], y[8:])
    before = [tensor.clone() for side in (a, b) for tensor in (side.factor, side.shift)]
    a.merge(b)
    after = [tensor for side in (a, b) for tensor in (side.factor, side.shift)]
    assert all(torch.equal(p, q) for p, q in zip(before, after, strict=True))


@every_way
def test_the_rows_are_left_as_they_were(fold):
    rows = [torch.from_numpy(z) for z in wandering(0, 30, 2, 3)]
    before = [side.clone() for side in rows]
    fold(batches(*rows, [7, 20])).to_coherence()
    assert all(torch.equal(p, q) for p, q in zip(before, rows, strict=True))


# ---------------------------------------------------------------------------------------------------------------------
# What comes out
# ---------------------------------------------------------------------------------------------------------------------


@given(seed=seeds, p=widths, q=widths)
def test_the_subspaces_are_those_of_the_rows(seed, p, q):
    x, y = ref.related(seed, 60, p, q)
    pair, rows = JointQR.from_rows(x, y).to_coherence(), Coherence.from_rows(x, y)
    for got, expected, z in ((pair.x, rows.x, x), (pair.y, rows.y, y)):
        assert got.basis is None
        assert (got.n_samples, got.n_features, got.rank) == (60, expected.n_features, expected.rank)
        assert got.total_variance == pytest.approx(expected.total_variance, rel=linear(60))
        # Reconstructed: directions of equal singular values may turn.
        scatter = (got.directions * got.singular_values**2) @ got.directions.mH
        centred = ref.centred(z)
        np.testing.assert_allclose(scatter, centred.T @ centred, rtol=0, atol=linear(60) * expected.total_variance)
        assert (torch.take_along_dim(got.directions, got.directions.abs().argmax(0, keepdim=True), 0) > 0).all()


@given(seed=seeds, p=widths, q=widths)
def test_the_matrix_belongs_to_the_directions_of_the_subspaces(seed, p, q):
    x, y = ref.related(seed, 60, p, q)
    pair = JointQR.from_rows(x, y).to_coherence()
    u_x, u_y = (ref.centred(z) @ side.whitener.numpy() for z, side in ((x, pair.x), (y, pair.y)))
    np.testing.assert_allclose(pair.matrix, u_x.T @ u_y, rtol=0, atol=linear(60, 100))


@pytest.mark.parametrize("condition", [3, 1e6])
def test_canonical_directions_give_uncorrelated_variates_of_unit_variance(condition):
    x, y = ill_conditioned(0, condition)
    result = CCAResult.from_coherence(JointQR.from_rows(x, y).to_coherence())
    h_x, h_y = (x - result.x_mean) @ result.x_directions, (y - result.y_mean) @ result.y_directions
    # The products with directions as long as the condition number cancel to length 1.
    joint, atol = np.cov(h_x, h_y, rowvar=False), linear(8, condition)
    np.testing.assert_allclose(joint[:6, :6], np.eye(6), rtol=0, atol=atol)
    np.testing.assert_allclose(joint[6:, 6:], np.eye(6), rtol=0, atol=atol)
    np.testing.assert_allclose(joint[:6, 6:], np.diag(result.correlations), rtol=0, atol=atol)
    np.testing.assert_allclose(result.correlations, ref.correlations(x, y), rtol=0, atol=atol)


def test_complex_layers_have_real_correlations():
    x = ref.gaussian(0, 50, 3) + 1j * ref.gaussian(1, 50, 3) + (2 - 3j)
    y = ref.gaussian(2, 50, 2) + 1j * ref.gaussian(3, 50, 2) + (1 + 2j) * x[:, :2]
    for joint in (JointQR.from_rows(x, y), by_merging(batches(x, y, [1, 20]))):
        pair = joint.to_coherence()
        assert pair.correlations.dtype == pair.x.singular_values.dtype == torch.float64
        np.testing.assert_allclose(pair.correlations, ref.correlations(x, y), rtol=0, atol=linear(50, 5))
        np.testing.assert_allclose(pair.x.mean, x.mean(axis=0), rtol=0, atol=linear(50))
        u_x, u_y = (ref.centred(z) @ side.whitener.numpy() for z, side in ((x, pair.x), (y, pair.y)))
        np.testing.assert_allclose(pair.matrix, u_x.conj().T @ u_y, rtol=0, atol=linear(50, 5))


@pytest.mark.parametrize("swapped", [False, True])
def test_a_real_layer_pairs_with_a_complex_one(swapped):
    x = ref.gaussian(0, 50, 3)
    y = ref.gaussian(2, 50, 2) + 1j * ref.gaussian(3, 50, 2) + (1 + 2j) * x[:, :2]
    if swapped:
        x, y = y, x
    np.testing.assert_allclose(rho(x, y), ref.correlations(x, y), rtol=0, atol=linear(50, 5))


@every_way
def test_a_complex_batch_may_follow_real_ones(fold):
    x, y = ref.related(0, 50, 3, 2)
    turned = y + 1j * ref.gaussian(1, 50, 2)
    y_all = np.concatenate([y[:30] + 0j, turned[30:]])
    joint = fold([(x[:30], y[:30]), (x[30:], turned[30:])])
    np.testing.assert_allclose(
        joint.to_coherence().correlations, ref.correlations(x, y_all), rtol=0, atol=linear(50, 10)
    )
    back = fold([(x[30:], turned[30:]), (x[:30], y[:30])])
    np.testing.assert_allclose(
        back.to_coherence().correlations, ref.correlations(x, y_all), rtol=0, atol=linear(50, 10)
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_narrow_input_is_taken_at_its_own_values(dtype):
    x, y = (torch.from_numpy(z).to(dtype) for z in ref.related(0, 60, 3, 2))
    joint = by_accumulator(batches(x, y, [20]))
    assert joint.factor.dtype == torch.float64
    expected = ref.correlations(x.double().numpy(), y.double().numpy())
    np.testing.assert_allclose(joint.to_coherence().correlations, expected, rtol=0, atol=linear(60, 10))


@every_way
def test_the_coarser_precision_of_each_side_is_remembered(fold):
    x, y = ref.related(0, 60, 3, 2)
    parts = [(x[:20], y[:20]), (x[20:40].astype(np.float32), y[20:40]), (x[40:], y[40:])]
    joint = fold(parts)
    assert (joint.x_eps, joint.y_eps) == (2.0**-23, ref.EPS)
    assert fold([(y, x) for x, y in parts]).y_eps == 2.0**-23


# ---------------------------------------------------------------------------------------------------------------------
# Rank
# ---------------------------------------------------------------------------------------------------------------------


def test_layers_wider_than_the_samples_have_the_rank_of_the_samples():
    pair = JointQR.from_rows(ref.gaussian(0, 6, 9), ref.gaussian(1, 6, 20)).to_coherence()
    assert (pair.x.rank, pair.y.rank) == (5, 5)
    np.testing.assert_allclose(pair.correlations, np.ones(5), rtol=0, atol=linear(20))


@pytest.mark.parametrize(("p", "q"), [(9, 2), (2, 9), (9, 9)])
def test_two_samples_have_one_direction(p, q):
    pair = JointQR.from_rows(ref.gaussian(0, 2, p), ref.gaussian(1, 2, q)).to_coherence()
    assert (pair.x.rank, pair.y.rank) == (1, 1)
    np.testing.assert_allclose(pair.correlations, [1.0], rtol=0, atol=linear(9))


@every_way
def test_wide_layers_of_few_directions_keep_just_these(fold):
    latent_x, latent_y = ref.related(0, 40, 4, 3)
    x, y = latent_x @ ref.gaussian(1, 4, 70), latent_y @ ref.gaussian(2, 3, 50)
    pair = fold(batches(x, y, [1, 2, 30])).to_coherence()
    assert (pair.x.rank, pair.y.rank) == (4, 3)
    expected = ref.deficient_correlations(x, y, 4, 3)
    np.testing.assert_allclose(pair.correlations, expected, rtol=0, atol=linear(70, 10))


@pytest.mark.parametrize("n_samples", [100, 2000])
def test_the_noise_of_many_folds_is_not_taken_for_a_direction(n_samples):
    # 2 directions in 3 and 4 units, one row at a time: noise grows as the root of the number of folds.
    x = ref.gaussian(0, n_samples, 2) @ ref.gaussian(1, 2, 3)
    y = ref.gaussian(2, n_samples, 2) @ ref.gaussian(3, 2, 4)
    pair = by_updates(batches(x, y, range(1, n_samples))).to_coherence()
    assert (pair.x.rank, pair.y.rank) == (2, 2)


@every_way
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("side", ["x", "y"])
def test_constant_duplicated_and_zero_units_change_nothing(fold, dtype, side):
    layers = {name: z.astype(dtype) for name, z in zip("xy", ref.related(0, 300, 4, 3), strict=True)}
    plain = layers[side]
    useless = [np.full((300, 1), value, dtype=dtype) for value in (0.1, 3000.1, 0.0, -1e5)]
    more = np.concatenate([useless[0], plain[:, :1], useless[1], plain, 2 * plain[:, 1:2], *useless[2:]], axis=1)
    expected = ref.correlations(layers["x"], layers["y"])
    pair = fold(batches(*{**layers, side: more}.values(), [1, 2, 80, 200])).to_coherence()
    assert (pair.x.rank, pair.y.rank) == (4, 3)
    np.testing.assert_allclose(pair.correlations, expected, rtol=0, atol=linear(20, 10))


@pytest.mark.parametrize("side", ["x", "y"])
def test_each_side_is_cut_at_the_precision_it_came_in(side):
    # One unit repeats another up to 1e-8: rounding noise for float32 rows, a direction for float64 ones.
    layers = {name: ref.gaussian(seed, 300, 2) for seed, name in enumerate("xy")}
    for z in layers.values():
        z[:, 1] = z[:, 0] + 1e-8 * z[:, 1]
    layers[side] = layers[side].astype(np.float32)
    pair = JointQR.from_rows(layers["x"], layers["y"]).to_coherence()
    assert {"x": pair.x.rank, "y": pair.y.rank} == {"x": 2, "y": 2, side: 1}


@every_way
def test_a_unit_repeated_at_a_large_offset_is_no_direction_of_its_own(fold):
    # In float32, 3000 + a holds a to 1e-4 only.
    x, y = (z.astype(np.float32) for z in ref.related(0, 300, 1, 2))
    pair = fold(batches(np.concatenate([x, 3000 + x], axis=1), y, [1, 100])).to_coherence()
    assert pair.x.rank == 1


@pytest.mark.parametrize("scale", [1e-100, 1e-8, 1e8, 1e100])
def test_rank_and_correlations_do_not_know_the_scale(scale):
    x, y = ref.related(0, 60, 4, 3)
    x = np.concatenate([x, x[:, :1]], axis=1)
    pair = JointQR.from_rows(x * scale, y).to_coherence()
    assert pair.x.rank == 4
    np.testing.assert_allclose(pair.correlations, ref.correlations(x[:, :4], y), rtol=0, atol=linear(60, 10))


# ---------------------------------------------------------------------------------------------------------------------
# Refusals
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("constant", [0.0, 0.1, 3000.1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("side", ["x", "y"])
def test_a_constant_layer_is_refused_in_the_words_of_the_other_routes(constant, dtype, side):
    layers = {"x": ref.gaussian(0, 30, 3), "y": ref.gaussian(1, 30, 3)} | {side: np.full((30, 3), constant, dtype)}
    joint = by_updates(batches(layers["x"], layers["y"], [1, 7]))
    with pytest.raises(RankError, match=rf"^{side}: expected activations that vary.*rank 0 over 30 samples") as ours:
        joint.to_coherence()
    with pytest.raises(RankError) as theirs:
        Coherence.from_rows(layers["x"], layers["y"])
    assert str(ours.value) == str(theirs.value)


def test_one_sample_cannot_be_correlated():
    joint = JointQR.from_rows(ref.gaussian(0, 1, 3), ref.gaussian(1, 1, 2))
    with pytest.raises(SampleError, match=r"^x: expected at least 2 samples; got 1\. Correlation needs spread"):
        joint.to_coherence()


def test_an_accumulator_that_saw_nothing_has_nothing_to_give():
    with pytest.raises(SampleError, match=r"^QRAccumulator: expected at least 1 sample; got 0"):
        QRAccumulator().finish()


@pytest.mark.parametrize("side", ["x", "y"])
def test_a_variance_beyond_float64_is_an_error(side):
    layers = {"x": ref.gaussian(0, 30, 3), "y": ref.gaussian(1, 30, 3)}
    layers[side] = layers[side] * 1e200
    joint = JointQR.from_rows(layers["x"], layers["y"])
    with pytest.raises(NonFiniteError, match=rf"^{side}: expected squares within float64; got an overflow"):
        joint.to_coherence()


@pytest.mark.parametrize(("side", "p", "q", "was"), [("x", 4, 2, 3), ("y", 3, 5, 2)])
def test_another_width_is_refused(side, p, q, was):
    first, second = (ref.gaussian(0, 10, 3), ref.gaussian(1, 10, 2)), (ref.gaussian(2, 10, p), ref.gaussian(3, 10, q))
    wrong = rf"{side}: expected the same width in every batch, {was}; got {p if side == 'x' else q}\. The layer's"
    joint, accumulator = JointQR.from_rows(*first), QRAccumulator()
    accumulator.update(*first)
    with pytest.raises(InputError, match=rf"^JointQR.update {wrong}"):
        joint.update(*second)
    with pytest.raises(InputError, match=rf"^JointQR.merge {wrong}"):
        joint.merge(JointQR.from_rows(*second))
    with pytest.raises(InputError, match=rf"^QRAccumulator.update {wrong}"):
        accumulator.update(*second)
    assert accumulator.n_samples == accumulator.finish().n_samples == 10


def test_unequal_rows_in_a_batch_are_refused():
    rows = ref.gaussian(0, 10, 3), ref.gaussian(1, 9, 3)
    with pytest.raises(SampleError, match=r"^JointQR: expected the same samples.*got 10 and 9 rows"):
        JointQR.from_rows(*rows)
    with pytest.raises(SampleError, match=r"^QRAccumulator: expected the same samples.*got 10 and 9 rows"):
        QRAccumulator().update(*rows)


def test_nan_names_the_side_it_is_on():
    x, y = ref.gaussian(0, 10, 3), ref.gaussian(1, 10, 3)
    y[4, 2] = np.nan
    with pytest.raises(NonFiniteError, match=r"^JointQR y: .*NaN at \(4, 2\)"):
        JointQR.from_rows(x, y)
    with pytest.raises(NonFiniteError, match=r"^QRAccumulator x: .*NaN at \(4, 2\)"):
        QRAccumulator().update(y, x)
