"""Products over samples: strips, chunks and precisions give what one plain product gives."""

import numpy as np
import pytest
import torch

import reference as ref
from svcca.core.scatter import STRIP, ScatterSums, gram

WIDTHS = [1, STRIP - 1, STRIP, STRIP + 1, 2 * STRIP, 2 * STRIP + 37]


def rows(seed, n, p, *, complex_valued=False):
    real = torch.from_numpy(ref.gaussian(seed, n, p))
    return torch.complex(real, torch.from_numpy(ref.gaussian(seed + 1, n, p))) if complex_valued else real


@pytest.mark.parametrize("complex_valued", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_a_gram_matrix_in_strips_is_the_plain_product(width, complex_valued):
    x = rows(0, 40, width, complex_valued=complex_valued)
    got, expected = gram(x), x.mH @ x
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-13 * 40)
    wide = x.mH
    torch.testing.assert_close(gram(wide), wide.mH @ wide, rtol=0, atol=1e-13 * width)


@pytest.mark.parametrize("self_comparison", [False, True])
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_sums_over_chunks_are_the_centred_products(self_comparison, precision):
    layers = [rows(1, 700, STRIP + 9) + 50, rows(2, 700, 7), rows(3, 700, 2 * STRIP + 1) - 3]
    n_left = 3 if self_comparison else 2
    sums = ScatterSums(layers, n_left, self_comparison=self_comparison, precision=precision, chunk_values=1)
    for start in range(0, 700, 90):  # chunks of 256 rows, filled by batches that do not divide them
        sums.update([layer[start : start + 90] for layer in layers])
    means, scatters, cross = sums.finish()
    centred = [(layer - layer.mean(dim=0)).numpy() for layer in layers]
    left = np.hstack(centred[:n_left])
    right = left if self_comparison else np.hstack(centred[n_left:])
    tolerance = 1e-11 if precision == "float64" else 2e-3
    assert sums.n_samples == 700
    np.testing.assert_allclose(cross.numpy(), left.T @ right, rtol=0, atol=tolerance)
    for layer, mean, scatter, own in zip(layers, means, scatters, centred, strict=True):
        np.testing.assert_allclose(mean.numpy(), layer.mean(dim=0).numpy(), rtol=0, atol=tolerance / 100)
        np.testing.assert_allclose(scatter.numpy(), own.T @ own, rtol=0, atol=tolerance)


def test_a_constant_unit_has_no_scatter_at_all():
    x = torch.full((600, 2), 0.1, dtype=torch.float64)
    sums = ScatterSums([x], 1, self_comparison=True)
    sums.update([x])
    (mean,), (scatter,), _ = sums.finish()
    assert not scatter.any()
    torch.testing.assert_close(mean, x[0], rtol=1e-15, atol=0)
