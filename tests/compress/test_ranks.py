import itertools

import pytest
import torch
from torch import nn

from svcca.compress.factors import weights_at
from svcca.compress.ranks import Spectrum, asked_ranks, ranks_at, ranks_for_ratio
from svcca.core.directions import Directions
from svcca.core.moments import Moments
from svcca.errors import InputError


def spectrum(name, n_inputs, n_outputs, decay):
    shares = torch.cat([torch.zeros(1), torch.cumsum(decay ** torch.arange(n_inputs, dtype=torch.float64), 0)])
    return Spectrum(name, nn.Linear(n_inputs, n_outputs), shares / shares[-1])


SPECTRA = [spectrum("a", 24, 30, 0.6), spectrum("b", 20, 24, 0.8), spectrum("c", 12, 16, 0.9)]


def left_out(ranks):
    return sum(1 - float(s.shares[ranks[s.name]]) for s in SPECTRA if s.name in ranks)


def weights(ranks):
    return sum(weights_at(s.layer, ranks[s.name]) if s.name in ranks else s.n_weights for s in SPECTRA)


def every_choice():
    """All ranks of all layers; None leaves a layer whole."""
    for choice in itertools.product(*([None, *range(1, len(s.shares))] for s in SPECTRA)):
        yield {s.name: k for s, k in zip(SPECTRA, choice, strict=True) if k is not None}


def test_shares_are_those_of_the_outputs_variance():
    torch.manual_seed(0)
    layer, x = nn.Linear(5, 4).double(), torch.randn(200, 5, dtype=torch.float64) @ torch.randn(5, 5).double() + 2
    directions = Directions.principal(Moments.from_rows(x))
    shares = Spectrum.of("a", layer, [directions]).shares
    total = layer(x).var(dim=0).sum()
    expected = [float((layer(directions.projection(k)(x)).var(dim=0).sum() / total).detach()) for k in range(6)]
    assert shares.tolist() == pytest.approx(expected, abs=1e-9)


def test_directions_without_variance_give_nothing():
    x = torch.randn(200, 2, dtype=torch.float64) @ torch.randn(2, 5).double()
    shares = Spectrum.of("a", nn.Linear(5, 4), [Directions.principal(Moments.from_rows(x))]).shares
    assert shares[2:].tolist() == pytest.approx([1.0] * 4, abs=1e-12)


@pytest.mark.parametrize("price", [0.01, 0.1, 1.0, 5.0])
def test_at_a_price_the_choice_is_the_best_of_all(price):
    total = sum(s.n_weights for s in SPECTRA)
    best = min(left_out(ranks) + price * weights(ranks) / total for ranks in every_choice())
    ranks = ranks_at(SPECTRA, price)
    assert left_out(ranks) + price * weights(ranks) / total == pytest.approx(best)


@pytest.mark.parametrize("ratio", [0.35, 0.5, 0.6, 0.75, 0.9])
def test_within_a_budget_the_choice_is_near_the_best_of_all(ratio):
    budget = ratio * sum(s.n_weights for s in SPECTRA)
    best = min(left_out(ranks) for ranks in every_choice() if weights(ranks) <= budget)
    ranks = ranks_for_ratio(SPECTRA, ratio)
    assert weights(ranks) <= budget
    assert left_out(ranks) <= best + 0.05  # a price finds the best of some budgets, and the rest is filled greedily
    # Nothing more fits.
    for s in SPECTRA:
        if s.name in ranks and ranks[s.name] + 1 < len(s.shares):
            more = {**ranks, s.name: ranks[s.name] + 1}
            assert weights(more) > budget or weights_at(s.layer, more[s.name]) >= s.n_weights


def test_with_the_whole_budget_nothing_is_compressed_that_would_lose_anything():
    assert left_out(ranks_for_ratio(SPECTRA, 1.0)) < 1e-9


def test_ranks_are_read_as_numbers_and_shares():
    layers = {"a": nn.Linear(8, 12), "b": nn.Conv2d(12, 6, 3, groups=2)}
    assert asked_ranks(3, layers) == {"a": 3, "b": 3}
    assert asked_ranks(0.5, layers) == {"a": 4, "b": 3}
    assert asked_ranks(0.01, layers) == {"a": 1, "b": 1}
    assert asked_ranks({"b": 6}, layers) == {"b": 6}
    with pytest.raises(
        InputError, match="ranks of 'b': expected a number of directions from 1 to its 6 inputs a group"
    ):
        asked_ranks(7, layers)
