"""The number of directions that each layer keeps: as asked for, within a budget of weights, or for an accepted loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from svcca.compress.factors import Layer, cost_of_rank, n_groups, n_inputs, weight_by_group, weights_at
from svcca.core.directions import Directions
from svcca.errors import InputError, LayerError, closest, message

Ranks = int | float | Mapping[str, int | float]
"""Directions to keep: a number (int) or a share of the layer's (float), for all layers or by layer."""

LOWEST_PRICE, HIGHEST_PRICE = 1e-9, 1e3
"""The range of the price of a weight: at the lowest hardly anything is left out, at the highest a layer keeps one
direction."""
HALVINGS = 50
"""Number of times that the interval of the logarithm of the price is halved."""


@dataclass(frozen=True, eq=False)
class Spectrum:
    """What each direction of a layer's inputs contributes to its outputs.

    Attributes:
        name: The layer's name.
        layer: The layer.
        shares: The share of the outputs' variance that the first k directions hold, (n_inputs + 1,), from 0 to 1.
    """

    name: str
    layer: Layer
    shares: Tensor

    @classmethod
    def of(cls, name: str, layer: Layer, directions: Sequence[Directions]) -> Spectrum:
        """Compute it from the directions of each group of inputs: coordinates are uncorrelated, so variances add up."""
        weights = weight_by_group(layer)
        outputs = [w @ d.decoder.double().cpu().T for w, d in zip(weights, directions, strict=True)]
        gains = torch.stack([output.square().sum(dim=0) for output in outputs]).sum(dim=0)
        gains[max(d.rank for d in directions) :] = 0.0  # directions without variance
        added = torch.cat([gains.new_zeros(1), gains.cumsum(0)])
        return cls(name, layer, added / added[-1] if added[-1] > 0 else torch.ones_like(added))

    @property
    def n_weights(self) -> int:
        """Number of weights of the layer as it is."""
        return self.layer.weight.numel()

    def weights_at(self, rank: int) -> int:
        """Return the number of weights with `rank` directions, but no more than the layer has now."""
        return min(weights_at(self.layer, rank), self.n_weights)

    def rank_at(self, price: float) -> int:
        """Return the number of directions for which what is lost of the outputs, plus a price a weight, is least."""
        n_directions = torch.arange(1, len(self.shares))
        weights = (weights_at(self.layer, 0) + n_directions * cost_of_rank(self.layer)).clamp(max=self.n_weights)
        left = torch.where(weights < self.n_weights, 1 - self.shares[1:], 0.0)  # a layer left whole loses nothing
        return int((left + price * weights).argmin()) + 1


def read_ranks(words: Sequence[str]) -> Ranks:
    """Read ranks as they are typed: one number ("40") or share ("0.35") for all, or "layer=40" for each.

    Raises:
        InputError: For anything else.

    >>> read_ranks(["0.35"]), read_ranks(["fc1=40", "fc2=0.5"])
    (0.35, {'fc1': 40, 'fc2': 0.5})
    """
    pairs = [word.rpartition("=") for word in words]
    try:
        numbers = [int(text) if text.strip().isdecimal() else float(text) for _, _, text in pairs]
    except ValueError as error:
        raise InputError(message("ranks", "numbers, shares, or layer=number", ", ".join(words))) from error
    if len(pairs) == 1 and not pairs[0][1]:
        return numbers[0]
    if not all(name for name, _, _ in pairs):
        raise InputError(message("ranks", "one number for all layers, or layer=number for each", ", ".join(words)))
    return {name: number for (name, _, _), number in zip(pairs, numbers, strict=True)}


def asked_ranks(ranks: Ranks, layers: Mapping[str, Layer]) -> dict[str, int]:
    """Read the ranks that a user asked for.

    Raises:
        LayerError: For a layer that is not among those to compress.
        InputError: For more directions than a layer has inputs, less than one, or a share outside of (0, 1].
    """
    if isinstance(ranks, Mapping):
        strangers = [str(name) for name in ranks if name not in layers]
        if strangers:
            near = ", ".join(closest(strangers[0], layers) or list(layers)[:8])
            raise LayerError(message("compress ranks", "names of layers", repr(strangers[0]), "", f"There are: {near}"))
        return {name: _rank(ranks[name], name, layers[name]) for name in layers if name in ranks}
    return {name: _rank(ranks, name, layer) for name, layer in layers.items()}


def _rank(rank: object, name: str, layer: Layer) -> int:
    most = n_inputs(layer)
    if isinstance(rank, float) and 0 < rank <= 1:
        return max(1, round(rank * most))
    if isinstance(rank, bool) or not isinstance(rank, int) or not 1 <= rank <= most:
        unit = f"{most} inputs{' a group' if n_groups(layer) > 1 else ''}"
        expected = f"a number of directions from 1 to its {unit}, or a share in (0, 1]"
        raise InputError(message(f"compress ranks of {name!r}", expected, repr(rank)))
    return rank


def least_ratio(spectra: Sequence[Spectrum]) -> float:
    """Return the share of these layers' weights that a single direction each takes."""
    return sum(spectrum.weights_at(1) for spectrum in spectra) / sum(spectrum.n_weights for spectrum in spectra)


def ranks_for_ratio(spectra: Sequence[Spectrum], ratio: float) -> dict[str, int]:
    """Find the ranks that leave out least of the layers' outputs within a budget of weights.

    Args:
        spectra: The spectra of the layers.
        ratio: Weights after over weights before, of all these layers together.

    Raises:
        InputError: For a ratio outside (0, 1], or one that even a single direction a layer exceeds.
    """
    if not 0 < ratio <= 1:
        raise InputError(message("compress ratio", "a share in (0, 1]", repr(ratio)))
    total = sum(spectrum.n_weights for spectrum in spectra)
    least = least_ratio(spectra)
    if least > ratio:
        got, cause = f"{ratio:g}", f"One direction a layer takes {least:.3g} of the weights already"
        raise InputError(message("compress ratio", f"at least {least:.3g} for these layers", got, cause))
    low, high = HIGHEST_PRICE, LOWEST_PRICE
    for _ in range(HALVINGS):
        price = (low * high) ** 0.5
        if _weights(spectra, ranks_at(spectra, price)) <= ratio * total:
            low = price
        else:
            high = price
    return _filled(spectra, ranks_at(spectra, low), int(ratio * total))


def ranks_at(spectra: Sequence[Spectrum], price: float) -> dict[str, int]:
    """Find the ranks for which the shares of outputs left out, plus a price for each share of all weights, are least.

    Args:
        spectra: The spectra of the layers.
        price: The share of a layer's output variance that all weights together are worth.

    Returns:
        The rank of each layer; layers that would not become smaller are left out.
    """
    total = sum(spectrum.n_weights for spectrum in spectra)
    found = {spectrum.name: spectrum.rank_at(price / total) for spectrum in spectra}
    return {s.name: found[s.name] for s in spectra if s.weights_at(found[s.name]) < s.n_weights}


def _weights(spectra: Sequence[Spectrum], ranks: Mapping[str, int]) -> int:
    return sum(s.weights_at(ranks[s.name]) if s.name in ranks else s.n_weights for s in spectra)


def _filled(spectra: Sequence[Spectrum], ranks: Mapping[str, int], budget: int) -> dict[str, int]:
    """Spend what a price leaves of the budget, direction by direction, where it gains most."""
    filled, room = dict(ranks), budget - _weights(spectra, ranks)
    by_name = {spectrum.name: spectrum for spectrum in spectra}
    while True:
        gains = {}
        for name, rank in filled.items():
            spectrum, price = by_name[name], cost_of_rank(by_name[name].layer)
            smaller = weights_at(spectrum.layer, rank + 1) < spectrum.n_weights
            if smaller and price <= room and rank + 1 < len(spectrum.shares):
                gains[name] = float(spectrum.shares[rank + 1] - spectrum.shares[rank]) / price
        if not gains:
            return filled
        name = max(gains, key=gains.__getitem__)
        room -= cost_of_rank(by_name[name].layer)
        filled[name] += 1
