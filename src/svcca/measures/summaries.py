"""Means of the leading canonical correlations: the k largest, or those that hold a share of their sum."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real

import torch

from svcca.core.coherence import LayerPair
from svcca.errors import InputError, message
from svcca.measures import chance
from svcca.measures.measure import Measure


@dataclass(frozen=True)
class TopCCA(Measure):
    """Mean of the k largest canonical correlations (of all, where there are fewer); in [0, 1].

    Attributes:
        k: How many; 20 in the tutorials of the papers' code.

    Raises:
        InputError: If `k` is no positive integer.
    """

    k: int = 20

    name = "cca_top"
    from_correlations = True
    by_frequency = False

    def __post_init__(self) -> None:
        """Check the number."""
        if isinstance(self.k, bool) or not isinstance(self.k, Integral) or self.k < 1:
            raise InputError(message(self.name, "k as a positive integer", repr(self.k)))
        object.__setattr__(self, "k", int(self.k))  # NumPy's too: labels show Python's

    @property
    def definition(self) -> str:
        """The definition in one sentence."""
        return f"mean of the {self.k} largest canonical correlations"

    def value(self, pair: LayerPair) -> float:
        """Return sum(rho_i, i <= k) / k."""
        return float(pair.correlations[: self.k].mean())

    def chance(self, pair: LayerPair) -> float:
        """Return the mean of the upper part of Wachter's law."""
        return chance.cca_top(self.k, pair.x.rank, pair.y.rank, pair.n_samples)


@dataclass(frozen=True)
class ThresholdedCCA(Measure):
    """Mean of the leading canonical correlations that hold a fraction of their sum; in [0, 1].

    Attributes:
        fraction: The fraction of sum(rho), in (0, 1].

    Raises:
        InputError: If the fraction is outside (0, 1].
    """

    fraction: float = 0.98

    name = "cca_thresholded"
    from_correlations = True
    by_frequency = False

    def __post_init__(self) -> None:
        """Check the fraction."""
        if isinstance(self.fraction, bool) or not isinstance(self.fraction, Real) or not 0 < self.fraction <= 1:
            raise InputError(message(self.name, "a fraction in (0, 1]", repr(self.fraction)))
        object.__setattr__(self, "fraction", float(self.fraction))

    @property
    def definition(self) -> str:
        """The definition in one sentence."""
        return f"mean of the leading canonical correlations that hold {100 * self.fraction:g}% of their sum"

    def value(self, pair: LayerPair) -> float:
        """Return the mean of the smallest number of leading correlations that hold the fraction."""
        rho = pair.correlations
        share = torch.cumsum(rho, dim=0) / rho.sum()
        return float(rho[: int((share < self.fraction).sum()) + 1].mean())

    def chance(self, pair: LayerPair) -> float:
        """Return the mean of the part of Wachter's law that holds the fraction."""
        return chance.cca_thresholded(pair.x.rank, pair.y.rank, pair.n_samples, self.fraction)
