"""A pair by spatial frequency: nothing that it gives depends on what was read before."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

import reference as ref
from svcca.core.linalg import batched_svd, batched_svdvals
from svcca.core.subspace import WHOLE, SVDStep
from svcca.fourier import coherence
from svcca.fourier.coherence import CUT_TO_ONE
from svcca.fourier.grid import FourierAccumulator


def layers(seed, n_samples, n_channels, *sizes):
    return ref.gaussian(seed, n_samples, n_channels * int(np.prod(sizes))).reshape(n_samples, n_channels, *sizes)


def paired(x, y, resize=None):
    accumulator = FourierAccumulator(resize=resize)
    accumulator.update([torch.from_numpy(x)], [torch.from_numpy(y)])
    return accumulator.finish(["x", "y"], WHOLE, constant_allowed=[False, False]).pair(0, 0)


@pytest.fixture
def pair():
    x = layers(0, 80, 3, 4, 4)
    return paired(x, np.roll(x, 1, axis=2)[:, :2] + layers(1, 80, 2, 4, 4))


@pytest.fixture
def taken(monkeypatch):
    """Names of the factorisations of a pair that were taken, in order."""
    names = []

    def watched(name, original):
        return lambda matrices: names.append(name) or original(matrices)

    for name in ("batched_svd", "batched_svdvals"):
        monkeypatch.setattr(coherence, name, watched(name, getattr(coherence, name)))
    return names


READ = {
    "correlations": lambda pair: pair.correlations,
    "blocks": lambda pair: pair.block_correlations,
    "weights": lambda pair: pair.projection_weights("x", squared=False)[0],
    "cross": lambda pair: pair.cross_singular_values,
}


@pytest.mark.parametrize("vectors", [False, True])
@pytest.mark.parametrize("order", list(itertools.permutations(READ)), ids="-".join)
def test_no_value_depends_on_what_was_read_before(pair, vectors, order):
    pair = replace(pair, vectors=vectors)
    for name in order:
        assert np.array_equal(READ[name](replace(pair)), READ[name](pair))


@pytest.mark.parametrize("vectors", [False, True])
@pytest.mark.parametrize("order", list(itertools.permutations(("correlations", "cross", "none"))), ids="-".join)
def test_notes_are_those_on_the_factorisation_whatever_was_read_before(monkeypatch, pair, vectors, order):
    values = lambda matrices: batched_svdvals(matrices)._replace(notes=("values alone",))  # noqa: E731
    monkeypatch.setattr(coherence, "batched_svdvals", values)
    monkeypatch.setattr(coherence, "batched_svd", lambda m: batched_svd(m)._replace(notes=("with vectors",)))
    pair = replace(pair, x=replace(pair.x, notes=("of both",)), y=replace(pair.y, notes=("of both",)), vectors=vectors)
    assert {name: pair.notes_on(name) for name in order} == {
        "correlations": ("of both", "with vectors" if vectors else "values alone"),
        "cross": ("of both", "values alone"),
        "none": ("of both",),
    }
    assert pair.notes == ("of both",)


def test_with_vectors_the_correlations_come_with_them_in_one_factorisation(pair, taken):
    pair = pair.with_vectors()
    assert pair.with_vectors() is pair
    weights, rho = pair.projection_weights("y", squared=False)
    assert len(weights) == len(rho)
    assert np.array_equal(np.sort(rho)[::-1], pair.correlations)
    assert taken == ["batched_svd"]


def test_without_vectors_the_singular_values_alone_are_computed_and_once(pair, taken):
    assert len(pair.correlations) == len(pair.correlations) > 0
    assert taken == ["batched_svdvals"]


def test_a_cut_pair_is_factorised_anew_and_without_vectors(pair, taken):
    assert len(pair.with_vectors().truncate(SVDStep(0.5)).correlations) > 0
    assert taken == ["batched_svdvals"]


def test_cropping_is_noted_of_the_pair_itself():
    pair = paired(layers(0, 60, 2, 5, 5), layers(1, 60, 2, 4, 4), resize="crop")
    cropped = "the larger maps are cropped to the frequencies of the smaller, an approximation"
    assert pair.notes == pair.notes_on("none") == pair.notes_on("cross") == (cropped,)


@pytest.mark.parametrize("vectors", [False, True])
@pytest.mark.parametrize("excess", [0.9 * CUT_TO_ONE, 1.1 * CUT_TO_ONE])
def test_correlations_cut_to_one_are_noted_beyond_rounding(pair, vectors, excess):
    largest = float(pair.correlations.max())
    pair = replace(pair, matrix=pair.matrix / largest * (1 + excess), vectors=vectors)
    assert float(pair.correlations.max()) == 1
    notes = pair.notes_on("correlations")
    assert len(notes) == (excess > CUT_TO_ONE)
    assert all(f"correlations of up to {1 + excess:.2f} were cut to 1" in note for note in notes)
    assert pair.notes_on("cross") == ()
