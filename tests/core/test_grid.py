import itertools

import numpy as np
import pytest
import torch

import reference
from every_measure import EVERY
from svcca.core.coherence import Coherence
from svcca.core.grid import GridAccumulator
from svcca.core.subspace import WHOLE, SVDStep
from svcca.errors import InputError, RankError

N, WIDTHS_A, WIDTHS_B = 300, (4, 7, 2), (5, 3)
ROUNDING = reference.rounding(N)  # two routes to one number, layers of condition of order 1


def layers(widths, n_samples=N, seed=0, dtype=torch.float64):
    """Layers that share part of their variation, off the origin by some of their spreads."""
    generator = torch.Generator().manual_seed(seed)
    shared = torch.randn(n_samples, 3, generator=torch.Generator().manual_seed(99), dtype=torch.float64)
    blocks = []
    for width in widths:
        noise = torch.randn(n_samples, width, generator=generator, dtype=torch.float64)
        mix = torch.randn(3, width, generator=generator, dtype=torch.float64)
        blocks.append((noise + shared @ mix + 3).to(dtype))
    return blocks


def fold(accumulator, a, b=(), sizes=(N,)):
    start = 0
    for size in sizes:
        accumulator.update([x[start : start + size] for x in a], [y[start : start + size] for y in b])
        start += size
    return accumulator


def finish(accumulator, n_layers, step=WHOLE, allowed=False):
    names = [f"layer {i}" for i in range(n_layers)]
    return accumulator.finish(names, step, constant_allowed=[allowed] * n_layers)


class ByRows(GridAccumulator):
    """Never turns to moments."""

    def _moment_bytes(self):
        return float("inf")


class ByMoments(GridAccumulator):
    """Turns to moments with the first batch."""

    def _moment_bytes(self):
        return -1


ROUTES = pytest.mark.parametrize("route", [ByRows, ByMoments])


@ROUTES
@pytest.mark.parametrize("share", [0.9, 1.0])
def test_every_pair_is_what_the_two_layers_alone_give(route, share):
    a, b = layers(WIDTHS_A), layers(WIDTHS_B, seed=1)
    grid = finish(fold(route(), a, b), 5, SVDStep(share))
    for i, j in itertools.product(range(3), range(2)):
        alone = Coherence.from_rows(a[i], b[j]).truncate(SVDStep(share))
        assert (grid.rows[i].rank, grid.columns[j].rank) == (alone.x.rank, alone.y.rank)
        for measure in (measure for measure in EVERY.values() if not measure.needs_rows):
            assert measure.value(grid.pair(i, j)) == pytest.approx(measure.value(alone), abs=ROUNDING)


@ROUTES
def test_columns_may_be_cut_by_a_step_of_their_own(route):
    a, b = layers(WIDTHS_A), layers(WIDTHS_B, seed=1)
    grid = fold(route(), a, b).finish([""] * 5, SVDStep(0.7), constant_allowed=[False] * 5, column_step=WHOLE)
    assert [layer.rank for layer in grid.rows] == [reference.kept_rank(rows.numpy(), 0.7) for rows in a]
    assert [layer.rank for layer in grid.columns] == list(WIDTHS_B)
    whole = Coherence.from_rows(a[1], b[0])
    cut = whole.truncate(SVDStep(0.7), WHOLE)
    assert cut.x.rank < whole.x.rank
    assert cut.y is whole.y
    np.testing.assert_allclose(grid.pair(1, 0).correlations.numpy(), cut.correlations.numpy(), atol=ROUNDING)


@ROUTES
def test_every_pair_has_the_oracles_correlations(route):
    a, b = layers(WIDTHS_A), layers(WIDTHS_B, seed=1)
    grid = finish(fold(route(), a, b, (100, 200)), 5)
    for i, j in itertools.product(range(3), range(2)):
        expected = reference.correlations(a[i].numpy(), b[j].numpy())
        np.testing.assert_allclose(grid.pair(i, j).correlations.numpy(), expected, atol=ROUNDING)


@ROUTES
def test_a_pair_has_its_rows_from_the_row_layer(route):
    # Ranks that differ, so that a turned block has another shape; values that differ, so that a swapped one has others.
    a, b = layers((4, 7)), layers((5, 3), seed=1)
    grid = finish(fold(route(), a, b), 4)
    assert grid.matrix.shape == (11, 8)
    assert grid.pair(1, 0).matrix.shape == (7, 5)
    expected = (grid.rows[1].whitener.mH @ reference_cross(a[1], b[0])) @ grid.columns[0].whitener
    torch.testing.assert_close(grid.pair(1, 0).matrix, expected, atol=ROUNDING, rtol=0)


def reference_cross(x, y):
    return torch.from_numpy(reference.centred(x.numpy()).T @ reference.centred(y.numpy()))


@ROUTES
def test_a_self_comparison_has_the_identity_on_its_diagonal_blocks(route):
    grid = finish(fold(route(self_comparison=True), layers(WIDTHS_A)), 3)
    assert grid.rows is grid.columns
    for i, width in enumerate(WIDTHS_A):
        torch.testing.assert_close(grid.pair(i, i).matrix, torch.eye(width, dtype=torch.float64), atol=ROUNDING, rtol=0)
    torch.testing.assert_close(grid.matrix, grid.matrix.mH, atol=ROUNDING, rtol=0)


@ROUTES
def test_a_self_comparison_is_a_comparison_with_a_copy(route):
    a = layers(WIDTHS_A)
    alone = finish(fold(route(self_comparison=True), a), 3)
    copied = finish(fold(route(), a, [x.clone() for x in a]), 6)
    torch.testing.assert_close(alone.matrix, copied.matrix, atol=ROUNDING, rtol=0)


@ROUTES
@pytest.mark.parametrize("sizes", [(1,) * N, (299, 1), (1, 299), (64, 64, 64, 64, 44), (7,) * 42 + (6,)], ids=len)
@pytest.mark.parametrize("alone", [True, False], ids=["self", "pair"])
def test_the_size_of_the_batches_changes_no_bit(route, sizes, alone):
    a, b = layers(WIDTHS_A), () if alone else layers(WIDTHS_B, seed=1)
    whole, parts = (fold(route(self_comparison=alone), a, b, s) for s in ((N,), sizes))
    n_layers = len(a) + len(b)
    assert torch.equal(finish(whole, n_layers).matrix, finish(parts, n_layers).matrix)


class SmallChunks(ByMoments):
    CHUNK_VALUES = 1  # 256 rows at a time, the least there is


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_chunks_merge_to_what_one_chunk_gives_however_far_the_mean(offset):
    # The mean moves by spreads between chunks, so that the shift row carries much of the scatter.
    n = 1500
    drift = torch.linspace(0, 40, n, dtype=torch.float64)[:, None]
    a, b = ([x + drift + offset for x in layers(widths, n, seed)] for widths, seed in ((WIDTHS_A, 0), (WIDTHS_B, 1)))
    grid = finish(fold(SmallChunks(), a, b, (n,)), 5)
    for i, j in itertools.product(range(3), range(2)):
        expected = reference.correlations(a[i].numpy(), b[j].numpy())
        # Rounding of the data themselves: a mean of `offset` over a spread of order 1. The layers' condition is that
        # of the drift over the noise, 12 : 1, squared in the scatter.
        atol = reference.rounding(n, condition=12) + 16 * n * reference.EPS * offset
        np.testing.assert_allclose(grid.pair(i, j).correlations.numpy(), expected, atol=atol)


@pytest.mark.parametrize("sizes", [(255, 2), (256, 256, 88), (600,), (1,) * 600], ids=len)
def test_batches_that_fall_across_chunks_change_no_bit(sizes):
    n = sum(sizes)
    a, b = layers(WIDTHS_A, n), layers(WIDTHS_B, n, seed=1)
    whole, parts = (finish(fold(SmallChunks(), a, b, s), 5) for s in ((n,), sizes))
    assert torch.equal(whole.matrix, parts.matrix)


def test_moments_and_means_are_those_of_all_rows():
    n = 700
    a = layers(WIDTHS_A, n)
    grid = finish(fold(SmallChunks(self_comparison=True), a, sizes=(300, 400)), 3)
    for subspace, x in zip(grid.rows, a, strict=True):
        np.testing.assert_allclose(subspace.mean.numpy(), x.numpy().mean(axis=0), atol=reference.rounding(n))
        assert subspace.n_samples == n
        scatter = (subspace.directions * subspace.singular_values**2) @ subspace.directions.mH
        expected = reference_cross(x, x).numpy()
        np.testing.assert_allclose(scatter.numpy(), expected, atol=reference.rounding(n) * np.trace(expected))


def test_rows_are_kept_while_they_are_smaller_and_dropped_once_moments_are():
    accumulator = GridAccumulator()
    a, b = layers((4,), 50), layers((3,), 50, seed=1)
    # Kept rows cost 7 values a sample; moments 16 + 9 + 12 = 37 values in all: five samples are 35, six are 42.
    for n, turned in ((5, False), (6, True)):
        accumulator = fold(GridAccumulator(), a, b, (n,))
        assert (accumulator._sums is not None) == turned
        assert bool(accumulator._pieces) != turned


def test_single_precision_rows_are_kept_twice_as_long():
    a, b = (layers(w, 50, seed, torch.float32) for w, seed in (((4,), 0), ((3,), 1)))
    assert fold(GridAccumulator(), a, b, (10,))._sums is None
    assert fold(GridAccumulator(), a, b, (11,))._sums is not None


def test_both_routes_give_the_same_ranks_for_single_precision_data():
    a, b = (layers(w, N, seed, torch.float32) for w, seed in ((WIDTHS_A, 0), (WIDTHS_B, 1)))
    a[0] = torch.cat([a[0], a[0][:, :2]], dim=1)  # two duplicated units
    grids = [finish(fold(route(), a, b), 5) for route in (ByRows, ByMoments)]
    assert [s.rank for s in grids[0].rows] == [s.rank for s in grids[1].rows] == [4, 7, 2]
    assert grids[0].pair(0, 1).correlations.tolist() == pytest.approx(
        grids[1].pair(0, 1).correlations.tolist(), abs=ROUNDING
    )


def test_what_is_handed_over_is_not_changed():
    a, b = layers(WIDTHS_A), layers(WIDTHS_B, seed=1)
    before = [x.clone() for x in [*a, *b]]
    for route in (ByRows, ByMoments):
        finish(fold(route(), a, b), 5)
    assert all(torch.equal(x, y) for x, y in zip([*a, *b], before, strict=True))


@ROUTES
def test_a_constant_layer_is_refused_by_name(route):
    a = [*layers((4,)), torch.full((N, 3), 0.1, dtype=torch.float64)]
    with pytest.raises(RankError, match=f"layer 1: .*got a constant layer .rank 0 over {N} samples"):
        finish(fold(route(), a, layers(WIDTHS_B)), 4)


@ROUTES
@pytest.mark.parametrize("alone", [True, False], ids=["self", "pair"])
def test_a_constant_layer_that_is_allowed_has_no_rank_and_leaves_the_others(route, alone):
    whole = layers((4, 7))
    a = [whole[0], torch.full((N, 3), 0.1, dtype=torch.float64), whole[1]]
    b = () if alone else layers(WIDTHS_B, seed=1)
    grid = finish(fold(route(self_comparison=alone), a, b), 3 + len(b), allowed=True)
    clean = finish(fold(route(self_comparison=alone), whole, b), 2 + len(b))
    assert [s.rank for s in grid.rows] == [4, 0, 7]
    assert grid.pair(1, 0).matrix.shape[0] == 0
    torch.testing.assert_close(grid.matrix, clean.matrix, atol=ROUNDING, rtol=0)


@ROUTES
def test_wide_layers_of_few_samples_are_decomposed(route):
    a, b = layers((30,), 12), layers((20,), 12, seed=1)
    grid = finish(fold(route(), a, b, (12,)), 2)
    assert (grid.rows[0].rank, grid.columns[0].rank) == (11, 11)
    # Two spans of all 11 centred directions are the same span.
    np.testing.assert_allclose(grid.pair(0, 0).correlations.numpy(), 1, atol=reference.rounding(30, 10))


def test_complex_layers_stand_beside_real_ones():
    a, b = layers((4,)), [torch.complex(*layers((3, 3), seed=1))]
    expected = reference.correlations(a[0].numpy(), b[0].numpy())
    for route in (ByRows, ByMoments):
        grid = finish(fold(route(), a, b), 2)
        np.testing.assert_allclose(grid.pair(0, 0).correlations.numpy(), expected, atol=ROUNDING)


@pytest.mark.parametrize(
    ("shape", "text"), [((1, 3), "at least 2 samples; got 1"), ((20, 0), "at least 1 feature; got 0")]
)
def test_rows_too_few_or_without_a_feature_are_no_constant_layer(shape, text):
    accumulator = GridAccumulator(self_comparison=True, keep_rows=True)
    accumulator.update([torch.zeros(shape)])
    with pytest.raises(InputError, match=f"^layer: expected {text}"):
        accumulator.finish(["layer"], WHOLE, constant_allowed=[True])
