"""Every measure by its name, with its chance level; and what makes a value doubtful."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from svcca.core.coherence import Factorisation, LayerPair, PairBlock
from svcca.core.subspace import SVDStep
from svcca.errors import unknown_option
from svcca.measures import chance
from svcca.measures import values as measures

TOP_K = 20
"""Correlations that "cca_top" averages, as in the tutorials of the papers' code."""


@dataclass(frozen=True, eq=False)
class Similarity:
    """How similar two layers are, with what is needed to judge the number.

    Attributes:
        measure: Name of the measure.
        similarity: Its value.
        chance: What unrelated layers of the same ranks would give over as many samples.
        x_rank: Directions of x that took part.
        y_rank: Directions of y that took part.
        n_samples: Number of samples.
        warnings: What a reader must know before trusting the value, in plain words.
    """

    measure: str
    similarity: float
    chance: float
    x_rank: int
    y_rank: int
    n_samples: int
    warnings: tuple[str, ...]

    def __float__(self) -> float:
        """Give the similarity."""
        return self.similarity

    @property
    def samples_per_direction(self) -> float:
        """N / (rank_x + rank_y); below 1 + 1/n some correlations are 1 by counting alone."""
        return self.n_samples / (self.x_rank + self.y_rank)


@dataclass(frozen=True)
class Measure:
    """A measure of similarity between two layers.

    Attributes:
        name: Name by which it is asked for.
        definition: One sentence for a reader of a report.
        evaluate: Its value from a pair (already cut, where `svd_step` holds).
        chance: Its expected value for unrelated layers.
        svd_step: Whether both layers are first cut to the directions that hold the retained variance.
        from_correlations: Whether it is a mean of canonical correlations, some of them forced to 1 for small n.
        symmetric: Whether swapping the layers leaves it unchanged.
        needs_rows: Whether it needs the rows of both layers in memory, and not their moments alone.
        needs_vectors: Whether it needs the singular vectors of K, and not its singular values alone.
        factorisation: Which factorisation of the pair its value rests on; the notes on it belong to the value.
        by_frequency: Whether it is defined for maps observed by "fourier".
    """

    name: str
    definition: str
    evaluate: Callable[[LayerPair], float]
    chance: Callable[[LayerPair], float]
    svd_step: bool = False
    from_correlations: bool = False
    symmetric: bool = True
    needs_rows: bool = False
    needs_vectors: bool = False
    factorisation: Factorisation = "correlations"
    by_frequency: bool = True


def _mean_over_correlations(pair: LayerPair, level: Callable[[PairBlock], float]) -> float:
    """Mean of the blocks' levels, each counted with the number of its correlations."""
    total = sum(block.multiplicity * min(block.ranks) * level(block) for block in pair.blocks if min(block.ranks))
    return total / _n_correlations(pair)


def _n_correlations(pair: LayerPair) -> int:
    """Correlations of all blocks together, the zero ones of layers that keep unlike blocks included."""
    return min(sum(block.multiplicity * block.ranks[side] for block in pair.blocks) for side in (0, 1))


def _chance_cca_mean(pair: LayerPair) -> float:
    return _mean_over_correlations(
        pair,
        lambda block: chance.cca_mean(*block.ranks, block.degrees + 1, complex_valued=block.complex_valued),
    )


def _chance_cca_top(pair: LayerPair) -> float:
    return chance.cca_top(TOP_K, pair.x.rank, pair.y.rank, pair.n_samples)


def _chance_cca_thresholded(pair: LayerPair) -> float:
    return chance.cca_thresholded(pair.x.rank, pair.y.rank, pair.n_samples)


def _chance_r2_cca(pair: LayerPair) -> float:
    return _mean_over_correlations(pair, lambda block: chance.r2_cca(*block.ranks, block.degrees + 1))


def _chance_weighted(pair: LayerPair, side: measures.Side) -> float:
    """|diag(rho) Xt^H u_i| is |U_y^H u_i|: the correlation of one unit, u_i, with the other layer."""
    if side == "mean":
        return (_chance_weighted(pair, "x") + _chance_weighted(pair, "y")) / 2
    layer = pair.x if side == "x" else pair.y
    total = 0.0
    for block in pair.blocks:
        own, rank = (block.x_values, block.ranks[1]) if side == "x" else (block.y_values, block.ranks[0])
        if len(own) and rank:
            level = chance.cca_mean(1, rank, block.degrees + 1, complex_valued=block.complex_valued)
            total += block.multiplicity * float(own.sum()) * level
    return total / float(layer.singular_values.sum())


def _chance_linear_cka(pair: LayerPair) -> float:
    """Share of |S_xy|^2 that chance gives, a block at a time."""
    total = 0.0
    for block in pair.blocks:
        if min(block.ranks):
            x_variances, y_variances = block.x_values**2, block.y_values**2
            x_norm, y_norm = (float((variances**2).sum()) ** 0.5 for variances in (x_variances, y_variances))
            participation = ((x_variances.sum() / x_norm) ** 2, (y_variances.sum() / y_norm) ** 2)
            total += block.multiplicity * chance.linear_cka(*participation, block.degrees + 1) * x_norm * y_norm
    norms = [float(torch.linalg.vector_norm(layer.singular_values**2)) for layer in (pair.x, pair.y)]
    return total / (norms[0] * norms[1])


def _chance_procrustes(pair: LayerPair) -> float:
    total = 0.0
    for block in pair.blocks:
        if min(block.ranks):
            scale = math.sqrt(float((block.x_values**2).sum() * (block.y_values**2).sum()))
            total += block.multiplicity * scale * chance.procrustes(block.x_values, block.y_values, block.degrees + 1)
    return total / math.sqrt(pair.x.total_variance * pair.y.total_variance)


def _chance_linear_regression(pair: LayerPair) -> float:
    explained = sum(
        block.multiplicity
        * float((block.y_values**2).sum())
        * chance.linear_regression_r2(block.ranks[0], block.degrees + 1)
        for block in pair.blocks
    )
    return explained / pair.y.total_variance


def _no_chance(pair: LayerPair) -> float:
    return 0.0


_LEADING = "of the leading singular directions that hold 99% (or the share asked for) of each layer's variance"
_PWCCA = "mean of all canonical correlations, weighted by how much of {} units each canonical variate accounts for"
_WEIGHTED = "canonical correlations {leading}, weighted by the singular values of {side}"


def _pwcca(name: str, units: str, side: measures.WeightingSide, *, squared: bool = False) -> Measure:
    evaluate = partial(measures.projection_weighted, side=side, squared=squared)
    definition = _PWCCA.format(units) + (", in squares" if squared else "") + " (Morcos et al. 2018)"
    symmetric = side == "mean"
    return Measure(
        name, definition, evaluate, _chance_cca_mean, from_correlations=True, symmetric=symmetric, needs_vectors=True
    )


def _weighted(name: str, side_name: str, side: measures.Side) -> Measure:
    return Measure(
        name,
        _WEIGHTED.format(leading=_LEADING, side=side_name) + " (Raghu et al. 2017, first version)",
        partial(measures.svcca_weighted, side=side),
        partial(_chance_weighted, side=side),
        svd_step=True,
        from_correlations=True,
        symmetric=side == "mean",
        factorisation="none",
    )


MEASURES = {
    measure.name: measure
    for measure in (
        Measure(
            "svcca",
            f"mean canonical correlation {_LEADING} (Raghu et al. 2017)",
            measures.mean_correlation,
            _chance_cca_mean,
            svd_step=True,
            from_correlations=True,
        ),
        Measure(
            "svcca_r2",
            f"mean squared canonical correlation {_LEADING} (Kornblith et al. 2019)",
            measures.r2_cca,
            _chance_r2_cca,
            svd_step=True,
            from_correlations=True,
        ),
        _weighted("svcca_weighted", "the row layer", "x"),
        _weighted("svcca_weighted_y", "the column layer", "y"),
        _weighted("svcca_weighted_mean", "either layer, the mean of both readings", "mean"),
        _pwcca("pwcca", "the narrower layer's", "narrower"),
        _pwcca("pwcca_x", "the row layer's", "x"),
        _pwcca("pwcca_y", "the column layer's", "y"),
        _pwcca("pwcca_mean", "either layer's (the mean of both readings)", "mean"),
        _pwcca("pwcca_squared", "the narrower layer's", "narrower", squared=True),
        Measure(
            "cca",
            "mean of all canonical correlations (Hotelling 1936)",
            measures.mean_correlation,
            _chance_cca_mean,
            from_correlations=True,
        ),
        Measure(
            "r2_cca",
            "mean of all squared canonical correlations (Yanai 1974)",
            measures.r2_cca,
            _chance_r2_cca,
            from_correlations=True,
        ),
        Measure(
            "cca_top",
            f"mean of the {TOP_K} largest canonical correlations",
            partial(measures.top_mean, k=TOP_K),
            _chance_cca_top,
            from_correlations=True,
            by_frequency=False,
        ),
        Measure(
            "cca_thresholded",
            "mean of the leading canonical correlations that hold 98% of their sum",
            measures.thresholded_mean,
            _chance_cca_thresholded,
            from_correlations=True,
            by_frequency=False,
        ),
        Measure(
            "linear_cka",
            "linear centred kernel alignment, |S_xy|^2 / (|S_xx| |S_yy|) (Kornblith et al. 2019)",
            measures.linear_cka,
            _chance_linear_cka,
            factorisation="none",
        ),
        Measure(
            "linear_cka_debiased",
            "linear centred kernel alignment from the unbiased estimator of HSIC (Song et al. 2012); may be negative",
            measures.linear_cka_debiased,
            _no_chance,
            needs_rows=True,
            factorisation="none",
            by_frequency=False,
        ),
        Measure(
            "procrustes",
            "nuclear norm of the cross-covariance over the root of both total variances (Ding et al. 2021)",
            measures.procrustes,
            _chance_procrustes,
            factorisation="cross",
        ),
        Measure(
            "linear_regression_r2",
            "share of the column layer's variance that least squares on the row layer explains (Kornblith et al. 2019)",
            measures.linear_regression_r2,
            _chance_linear_regression,
            symmetric=False,
            factorisation="none",
        ),
    )
}
"""Every measure that `compare(measure=...)` takes."""


def get_measure(name: str) -> Measure:
    """Look a measure up by name.

    Raises:
        UnknownOptionError: If there is none; the message lists those there are.
    """
    if name not in MEASURES:
        raise unknown_option("measure", "measure", name, MEASURES)
    return MEASURES[name]


def by_frequency(name: str) -> Measure:
    """Look up a measure of maps observed by frequency.

    Raises:
        UnknownOptionError: If there is none of that name, or it is not defined there.
    """
    if get_measure(name).by_frequency:
        return MEASURES[name]
    defined = [measure.name for measure in MEASURES.values() if measure.by_frequency]
    raise unknown_option("observe='fourier'", "measure", name, defined)


def evaluate(measure: Measure, pair: LayerPair, step: SVDStep, where: str = "x and y") -> Similarity:
    """Evaluate one measure on one pair of layers, SVD step, chance level and warnings included."""
    (result,) = evaluate_all([measure], pair, step, where)
    return result


def evaluate_all(chosen: Sequence[Measure], pair: LayerPair, step: SVDStep, where: str = "x and y") -> list[Similarity]:
    """Evaluate several measures on one pair of layers; they share its decompositions."""
    # Singular values come with the vectors: where one measure needs these, no other need factorise for values alone.
    if any(measure.needs_vectors and not measure.svd_step for measure in chosen):
        pair = pair.with_vectors()
    cut = pair.truncate(step) if any(measure.svd_step for measure in chosen) else pair
    if any(measure.needs_vectors and measure.svd_step for measure in chosen):
        cut = cut.with_vectors()
    results = []
    for measure in chosen:
        part = cut if measure.svd_step else pair
        value, level = measure.evaluate(part), measure.chance(part)
        notes = part.notes_on(measure.factorisation)
        doubtful = tuple(doubts(part, level, where, notes, from_correlations=measure.from_correlations))
        results.append(Similarity(measure.name, value, level, part.x.rank, part.y.rank, part.n_samples, doubtful))
    return results


def doubts(
    pair: LayerPair, level: float, where: str, notes_taken: Sequence[str], *, from_correlations: bool
) -> list[str]:
    """Say in plain words why a value may mean little: correlations forced to 1, a high chance level, a fallback."""
    blocks, n = pair.blocks, pair.n_samples
    forced = sum(
        block.multiplicity * min(*block.ranks, chance.forced_ones(*block.ranks, block.degrees + 1)) for block in blocks
    )
    x_rank, y_rank = max((block.ranks for block in blocks), key=sum)
    place = " at one spatial frequency" if len(blocks) > 1 else ""
    advice = "Use more samples (5 to 10 for each direction), or keep fewer directions."
    notes = [f"{where}: {note}." for note in notes_taken]
    if forced and from_correlations:
        return [
            *notes,
            f"{where}: {forced} of {_n_correlations(pair)} canonical correlations are 1 whatever the layers hold, "
            f"because {n} samples cannot tell {x_rank} + {y_rank} directions apart{place}. {advice}",
        ]
    if level > chance.CHANCE_WARNING:
        return [
            *notes,
            f"{where}: unrelated layers would already give {level:.2f} with {n} samples and {x_rank} and {y_rank} "
            f"directions{place and f', the most{place}'}. {advice}",
        ]
    return notes
