"""Chance levels of measures of correlations: the laws of chance put together over the blocks of a pair."""

from __future__ import annotations

from collections.abc import Callable

from svcca.core.coherence import LayerPair, PairBlock
from svcca.measures import chance


def n_correlations(pair: LayerPair) -> int:
    """Return the number of correlations of all blocks, the zero ones of layers that keep unlike blocks included."""
    return min(sum(block.multiplicity * block.ranks[side] for block in pair.blocks) for side in (0, 1))


def n_forced(pair: LayerPair) -> int:
    """Return the number of correlations that are 1 whatever the layers hold, for want of samples."""
    return sum(
        block.multiplicity * min(*block.ranks, chance.forced_ones(*block.ranks, block.degrees + 1))
        for block in pair.blocks
    )


def mean_correlation(pair: LayerPair) -> float:
    """Return the mean canonical correlation that unrelated layers would have."""
    return _mean_over_blocks(
        pair,
        lambda block: chance.cca_mean(*block.ranks, block.degrees + 1, complex_valued=block.complex_valued),
    )


def mean_squared_correlation(pair: LayerPair) -> float:
    """Return the mean squared canonical correlation that unrelated layers would have."""
    return _mean_over_blocks(pair, lambda block: chance.r2_cca(*block.ranks, block.degrees + 1))


def _mean_over_blocks(pair: LayerPair, level: Callable[[PairBlock], float]) -> float:
    """Return the mean of the blocks' levels, each counted with the number of its correlations."""
    total = sum(block.multiplicity * min(block.ranks) * level(block) for block in pair.blocks if min(block.ranks))
    return total / n_correlations(pair)
