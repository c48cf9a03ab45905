import itertools
from functools import reduce

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import reference as ref
from svcca.core.moments import JointMoments, Moments
from svcca.core.scatter import centre
from svcca.errors import InputError, NonFiniteError, SampleError


def wandering(seed, n_samples, n_features):
    """Rows whose mean moves with the row, so that every batch has its own mean: a wrong merge weight shows."""
    return ref.gaussian(seed, n_samples, n_features) + 5 * np.linspace(-1, 2, n_samples)[:, None]


def assert_same(moments, x, y):
    """Hold joint moments against the whole rows, with the rounding of sums as long as the data."""
    n_samples = len(x)
    joint = np.cov(x, y, rowvar=False) * (n_samples - 1)
    p = x.shape[1]
    largest = max(np.square(x).sum(axis=0).max(), np.square(y).sum(axis=0).max())
    atol = ref.rounding(n_samples) * largest
    assert moments.n_samples == n_samples
    np.testing.assert_allclose(moments.x.mean, x.mean(axis=0), rtol=0, atol=ref.rounding(n_samples) * np.abs(x).max())
    np.testing.assert_allclose(moments.y.mean, y.mean(axis=0), rtol=0, atol=ref.rounding(n_samples) * np.abs(y).max())
    np.testing.assert_allclose(moments.x.scatter, joint[:p, :p], rtol=0, atol=atol)
    np.testing.assert_allclose(moments.y.scatter, joint[p:, p:], rtol=0, atol=atol)
    np.testing.assert_allclose(moments.cross_scatter, joint[:p, p:], rtol=0, atol=atol)


def batches(x, y, cuts):
    edges = [0, *sorted(cuts), len(x)]
    return [JointMoments.from_rows(x[a:b], y[a:b]) for a, b in itertools.pairwise(edges)]


# Cuts lie 2 apart at least, so that every batch holds two rows.
cuts = st.lists(st.integers(1, 49), unique=True, max_size=12).map(lambda halves: [2 * half for half in halves])


@given(seed=st.integers(0, 2**32 - 1), p=st.integers(1, 5), q=st.integers(1, 5))
def test_moments_are_those_of_the_definition(seed, p, q):
    x, y = wandering(seed, 60, p), wandering(seed + 1, 60, q)
    assert_same(JointMoments.from_rows(x, y), x, y)


@given(seed=st.integers(0, 2**32 - 1), cuts=cuts)
def test_batch_sizes_make_no_difference(seed, cuts):
    x, y = wandering(seed, 100, 4), wandering(seed + 1, 100, 3)
    edges = [0, *sorted(cuts), 100]
    moments = JointMoments.from_rows(x[: edges[1]], y[: edges[1]])
    for a, b in itertools.pairwise(edges[1:]):
        moments = moments.update(x[a:b], y[a:b])
    assert_same(moments, x, y)


@given(seed=st.integers(0, 2**32 - 1), cuts=cuts, order=st.randoms(use_true_random=False))
def test_merge_order_makes_no_difference(seed, cuts, order):
    x, y = wandering(seed, 100, 3), wandering(seed + 1, 100, 4)
    parts = batches(x, y, cuts)
    order.shuffle(parts)
    assert_same(reduce(JointMoments.merge, parts), x, y)


@given(seed=st.integers(0, 2**32 - 1), cuts=cuts)
def test_merging_as_a_tree_makes_no_difference(seed, cuts):
    x, y = wandering(seed, 100, 3), wandering(seed + 1, 100, 4)
    parts = batches(x, y, cuts)
    while len(parts) > 1:
        pairs = [parts[i].merge(parts[i + 1]) for i in range(0, len(parts) - 1, 2)]
        parts = pairs + parts[2 * len(pairs) :]
    assert_same(parts[0], x, y)


def test_a_batch_of_one_row_counts_as_any_other():
    x, y = wandering(0, 33, 3), wandering(1, 33, 2)
    moments = JointMoments.from_rows(x[:32], y[:32]).update(x[32:], y[32:])
    assert_same(moments, x, y)


def test_moments_of_one_layer_merge_as_the_joint_ones_do():
    x = wandering(0, 50, 3)
    merged = Moments.from_rows(x[:20]).merge(Moments.from_rows(x[20:]))
    assert merged.n_features == 3
    np.testing.assert_allclose(
        merged.covariance, np.cov(x, rowvar=False), rtol=0, atol=ref.rounding(50) * np.square(x).sum()
    )


def test_covariances_are_unbiased():
    x, y = ref.gaussian(0, 10, 2), ref.gaussian(1, 10, 3)
    moments = JointMoments.from_rows(x, y)
    expected = np.cov(x, y, rowvar=False, ddof=1)
    np.testing.assert_allclose(moments.x.covariance, expected[:2, :2], rtol=0, atol=ref.rounding(10))
    np.testing.assert_allclose(moments.y.covariance, expected[2:, 2:], rtol=0, atol=ref.rounding(10))
    np.testing.assert_allclose(moments.cross_covariance, expected[:2, 2:], rtol=0, atol=ref.rounding(10))


def test_a_mean_much_larger_than_the_spread_costs_no_digits():
    # The rows are float32; the sums are not: what is left is the rounding of float64 at the size of the mean.
    x = (3000 + ref.gaussian(0, 2000, 4)).astype(np.float32)
    moments = reduce(Moments.merge, [Moments.from_rows(part) for part in np.array_split(x, 7)])
    expected = np.cov(x.astype(np.float64), rowvar=False)
    np.testing.assert_allclose(moments.covariance, expected, rtol=0, atol=ref.rounding(4) * 3000)


def test_complex_moments_conjugate_the_left_side():
    x = ref.gaussian(0, 40, 3) + 1j * ref.gaussian(1, 40, 3)
    y = ref.gaussian(2, 40, 2) + 1j * ref.gaussian(3, 40, 2) + x[:, :2]
    moments = JointMoments.from_rows(x[:15], y[:15]).update(x[15:], y[15:])
    tolerance = ref.rounding(40) * 40
    for got, left, right in (
        (moments.x.scatter, x, x),
        (moments.y.scatter, y, y),
        (moments.cross_scatter, x, y),
    ):
        np.testing.assert_allclose(got, ref.centred(left).conj().T @ ref.centred(right), rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_moments_of_narrow_input_are_kept_in_float64(dtype):
    x = torch.from_numpy(ref.gaussian(0, 30, 2)).to(dtype)
    moments = Moments.from_rows(x)
    assert moments.scatter.dtype == moments.mean.dtype == torch.float64
    wide = x.double().numpy()
    np.testing.assert_allclose(moments.covariance, np.cov(wide, rowvar=False), rtol=0, atol=ref.rounding(30))


def test_merging_remembers_the_coarser_precision():
    x = ref.gaussian(0, 10, 2)
    fine, coarse = Moments.from_rows(x), Moments.from_rows(x.astype(np.float32))
    assert fine.source_eps == ref.EPS
    assert fine.merge(coarse).source_eps == coarse.merge(fine).source_eps == 2.0**-23


def test_merging_changes_neither_side():
    x, y = wandering(0, 20, 2), wandering(1, 20, 2)
    a, b = JointMoments.from_rows(x[:8], y[:8]), JointMoments.from_rows(x[8:], y[8:])
    before = [tensor.clone() for side in (a, b) for tensor in (side.x.mean, side.x.scatter, side.cross_scatter)]
    a.merge(b)
    after = [tensor for side in (a, b) for tensor in (side.x.mean, side.x.scatter, side.cross_scatter)]
    assert all(torch.equal(p, q) for p, q in zip(before, after, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_centring_leaves_the_rows_as_they_were(dtype):
    rows = torch.from_numpy(ref.gaussian(0, 10, 2)).to(dtype)
    before = rows.clone()
    mean, centred = centre(rows)
    assert torch.equal(rows, before)
    np.testing.assert_allclose(mean + centred, rows.double(), rtol=0, atol=ref.rounding(10))


def test_a_batch_of_another_width_of_x_is_refused():
    moments = JointMoments.from_rows(ref.gaussian(0, 10, 3), ref.gaussian(1, 10, 2))
    with pytest.raises(InputError, match=r"JointMoments.merge x: expected the same width in every batch, 3; got 4"):
        moments.update(ref.gaussian(0, 10, 4), ref.gaussian(1, 10, 2))


def test_a_batch_of_another_width_of_y_is_refused():
    moments = JointMoments.from_rows(ref.gaussian(0, 10, 3), ref.gaussian(1, 10, 2))
    with pytest.raises(InputError, match=r"JointMoments.merge y: expected the same width in every batch, 2; got 5"):
        moments.update(ref.gaussian(0, 10, 3), ref.gaussian(1, 10, 5))


def test_moments_of_one_layer_refuse_another_width():
    with pytest.raises(InputError, match=r"expected the same width in every batch, 3; got 1.*changes its width"):
        Moments.from_rows(ref.gaussian(0, 10, 3)).merge(Moments.from_rows(ref.gaussian(0, 10, 1)))


def test_unequal_rows_in_a_batch_are_refused():
    with pytest.raises(SampleError, match=r"JointMoments: expected the same samples.*got 10 and 9 rows"):
        JointMoments.from_rows(ref.gaussian(0, 10, 3), ref.gaussian(1, 9, 3))


def test_nan_names_the_side_it_is_on():
    y = ref.gaussian(1, 10, 3)
    y[4, 2] = np.nan
    with pytest.raises(NonFiniteError, match=r"JointMoments y: .*NaN at \(4, 2\)"):
        JointMoments.from_rows(ref.gaussian(0, 10, 3), y)
