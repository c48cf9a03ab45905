"""Both accumulators through their one interface: vectors have the zero frequency alone, where both give the same."""

import numpy as np
import pytest
import torch

import reference as ref
from svcca.core import WHOLE, Accumulator, GridAccumulator, SVDStep
from svcca.errors import RankError
from svcca.fourier.gap import GAP_WARNING
from svcca.fourier.grid import FourierAccumulator

X, Y = (torch.from_numpy(rows) for rows in ref.related(0, 90, 4, 3))
EACH = {"dense": GridAccumulator, "fourier": FourierAccumulator}
each = pytest.mark.parametrize("make", EACH.values(), ids=EACH)


def folded(make, rows, columns=(), **options) -> Accumulator:
    """Three batches of some layers."""
    accumulator: Accumulator = make(**options)
    for start in (0, 20, 21):
        batch = slice(start, {0: 20, 20: 21, 21: None}[start])
        accumulator.update([x[batch] for x in rows], [y[batch] for y in columns])
    return accumulator


@each
def test_a_pair_is_read_through_the_interface(make):
    accumulator = folded(make, [X], [Y, X])
    assert accumulator.n_samples == 90
    grid = accumulator.finish(["x", "y", "x again"], WHOLE, constant_allowed=[False] * 3)
    assert [layer.rank for layer in (*grid.rows, *grid.columns)] == [4, 3, 4]
    pair = grid.pair(0, 0)
    np.testing.assert_allclose(pair.correlations, ref.correlations(X.numpy(), Y.numpy()), atol=ref.rounding(90, 30))
    np.testing.assert_allclose(grid.pair(0, 1).correlations, np.ones(4), atol=ref.rounding(90, 30))
    assert pair.notes == pair.notes_on("none") == ()
    assert len(pair.with_vectors().projection_weights("x", squared=True)[0]) == 3


@each
def test_a_layer_is_read_through_the_interface(make):
    (layer,) = folded(make, [X], self_comparison=True).finish(["x"], WHOLE, constant_allowed=[False]).rows
    assert (layer.n_features, layer.rank, layer.n_frequencies, layer.notes, layer.doubts) == (4, 4, 1, (), ())
    expected = ref.basis(X.numpy())[1]
    np.testing.assert_allclose(layer.singular_values, expected, atol=ref.rounding(90, 30) * expected[0])
    assert layer.truncate(SVDStep(n_components=2)).rank == 2
    assert layer.truncate(WHOLE) is layer


@each
def test_one_set_of_layers_against_itself_has_the_same_rows_and_columns(make):
    grid = folded(make, [X, Y], self_comparison=True).finish(["x", "y"], WHOLE, constant_allowed=[False] * 2)
    assert grid.rows is grid.columns


@each
def test_a_constant_layer_has_rank_zero_where_it_is_allowed(make):
    constant = torch.full((90, 2), 3.7, dtype=torch.float64)
    grid = folded(make, [constant], [Y]).finish(["dead", "y"], WHOLE, constant_allowed=[True, False])
    assert grid.rows[0].rank == 0
    with pytest.raises(RankError, match=r"^dead: expected activations that vary"):
        folded(make, [constant], [Y]).finish(["dead", "y"], WHOLE, constant_allowed=[False, False])


def test_a_dense_layer_has_no_translation_gap():
    (layer,) = folded(GridAccumulator, [X], self_comparison=True).finish(["x"], WHOLE, constant_allowed=[False]).rows
    assert layer.translation_gap is None


@pytest.mark.parametrize(("steepness", "doubtful"), [(1, False), (30, True)])
def test_maps_far_from_the_assumption_are_doubted(steepness, doubtful):
    maps = torch.from_numpy(ref.gaussian(0, 3000, 36).reshape(3000, 1, 6, 6) * np.geomspace(1, steepness, 6))
    accumulator = FourierAccumulator(self_comparison=True)
    accumulator.update([maps])
    (layer,) = accumulator.finish(["x"], WHOLE, constant_allowed=[False]).rows
    assert (layer.n_frequencies, layer.n_features) == (36, 36)
    assert (layer.translation_gap > GAP_WARNING) == doubtful
    assert len(layer.doubts) == doubtful
    for doubt in layer.doubts:
        assert doubt.kind == "translation"
        assert doubt.text.startswith(f"{layer.translation_gap:.0%} of the covariance's energy lies between")
