"""From one pass over the data to a labelled matrix for each measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from svcca.capture.accumulate import Pass
from svcca.capture.observed import ObservedLayer, ObservedNetwork
from svcca.capture.rules import advice_on_maps
from svcca.compare.result import LayerSummary, SimilarityMatrix
from svcca.core.grid import CoherenceGrid
from svcca.core.subspace import WHOLE, Subspace, SVDStep
from svcca.errors import RankError, message
from svcca.fourier.grid import FourierGrid
from svcca.fourier.subspace import FourierSubspace
from svcca.fourier.translation import gap_warnings
from svcca.measures.chance import cca_mean
from svcca.measures.registry import MEASURES, Measure, Similarity, evaluate_all
from svcca.progress import track

Layers = Mapping[int, ObservedLayer]
"""Layers that vary between samples, by their place among those observed."""
Subspaces = Sequence[Subspace] | Sequence[FourierSubspace]


def similarity_matrices(
    passed: Pass, measures: Sequence[Measure], step: SVDStep, progress: bool | None
) -> SimilarityMatrix:
    """Decompose each layer once and evaluate every measure on every pair.

    Raises:
        RankError: If a layer that was named outright is constant, or all layers of a network are.
    """
    networks = passed.networks
    grid = passed.accumulator.finish(
        [f"{network.source.title} {layer.name!r}" for network in networks for layer in network.layers],
        step if all(measure.svd_step for measure in measures) else WHOLE,
        constant_allowed=[
            not network.source.named_outright(layer.name) for network in networks for layer in network.layers
        ],
    )
    a, b = networks[0], networks[-1]
    rows, columns = _varying(a, grid.rows), _varying(b, grid.columns)
    notes = [
        *passed.warnings,
        *dict.fromkeys([*_constant_layers(a, rows), *_constant_layers(b, columns)]),
        *dict.fromkeys([*_gaps(a, rows, grid.rows), *_gaps(b, columns, grid.columns)]),
    ]
    pairs = _evaluate_pairs(grid, rows, columns, measures, step, progress)
    matrices = [
        SimilarityMatrix(
            values=np.array([[pair[index].similarity for pair in row] for row in pairs]),
            rows=_summaries(rows, grid.rows, measure, step),
            columns=_summaries(columns, grid.columns, measure, step),
            measure=measure.name,
            retained_variance=step.retained_variance if measure.svd_step else 1.0,
            n_samples=passed.accumulator.n_samples,
            chance=np.array([[pair[index].chance for pair in row] for row in pairs]),
            warnings=(*notes, *_pooled_warnings([pair[index] for row in pairs for pair in row])),
            row_title=a.source.title,
            column_title=b.source.title,
        )
        for index, measure in enumerate(measures)
    ]
    return replace(matrices[0], others=tuple(matrices[1:]))


def _varying(network: ObservedNetwork, subspaces: Subspaces) -> Layers:
    layers = {i: layer for i, layer in enumerate(network.layers) if subspaces[i].rank}
    if not layers:
        title = network.source.title
        raise RankError(message(title, "a layer that varies between samples", "constant layers only"))
    return layers


def _constant_layers(network: ObservedNetwork, varying: Layers) -> list[str]:
    """A note about the layers left out because they are constant."""
    constant = [layer.name for index, layer in enumerate(network.layers) if index not in varying]
    title = network.source.title
    return [f"{title}: left out, since they are constant over all samples: {', '.join(constant)}."] if constant else []


def _gaps(network: ObservedNetwork, layers: Layers, subspaces: Subspaces) -> list[str]:
    """A warning about the layer that is furthest from what the Fourier way assumes, if it is too far."""
    gaps = {
        layer.name: subspace.gap
        for index, layer in layers.items()
        if isinstance(subspace := subspaces[index], FourierSubspace)
    }
    far = {name: gap for name, gap in gaps.items() if gap_warnings(name, gap)}
    if not far:
        return []
    worst = max(far, key=lambda name: far[name].share)
    others = len(far) - 1
    more = f" The same holds for {others} other layer{'s' if others > 1 else ''}." if others else ""
    return [text + more for text in gap_warnings(f"{network.source.title} {worst!r}", gaps[worst])]


def _evaluate_pairs(
    grid: CoherenceGrid | FourierGrid,
    rows: Layers,
    columns: Layers,
    measures: Sequence[Measure],
    step: SVDStep,
    progress: bool | None,
) -> list[list[list[Similarity]]]:
    """Every measure of every pair, [row][column][measure]."""
    # One network against itself: what lies below the diagonal has been computed above it.
    mirrored = grid.rows is grid.columns and all(measure.symmetric for measure in measures)
    pairs: dict[tuple[int, int], list[Similarity]] = {}
    for i, row in track(rows.items(), "Layers", progress):
        for j, column in columns.items():
            if mirrored and j < i:
                pairs[i, j] = pairs[j, i]
            else:
                pairs[i, j] = evaluate_all(measures, grid.pair(i, j), step, f"{row.name} x {column.name}")
    return [[pairs[i, j] for j in columns] for i in rows]


def _summaries(layers: Layers, subspaces: Subspaces, measure: Measure, step: SVDStep) -> tuple[LayerSummary, ...]:
    """Each layer with the number of its directions that a measure used."""
    cut = step if measure.svd_step else WHOLE
    summaries = []
    for index, layer in layers.items():
        kept = subspaces[index].truncate(cut)
        frequencies, gap = (kept.grid.n_positions, kept.gap.share) if isinstance(kept, FourierSubspace) else (1, None)
        summaries.append(LayerSummary(layer.name, layer.n_features, kept.rank, layer.observation, frequencies, gap))
    return tuple(summaries)


def _pooled_warnings(similarities: Sequence[Similarity]) -> list[str]:
    """One warning for all pairs that have one: the worst pair's, and how many others there are."""
    doubtful = [pair for pair in similarities if pair.warnings]
    if not doubtful:
        return []
    worst = max(doubtful, key=lambda pair: pair.chance)
    total = len(similarities)
    more = f" A warning of this kind holds for {len(doubtful)} of {total} pairs." if total > 1 else ""
    return [worst.warnings[-1] + more]


def with_remark_on_dependence(matrix: SimilarityMatrix, n_inputs: int) -> SimilarityMatrix:
    """Record that several rows come from each input, and what the chance level is if only the inputs count.

    Positions of one image and tokens of one text are not independent, so the truth lies between the two levels. It
    holds for every comparison by position or token: a remark of the result, not a warning that is issued.
    """
    others = tuple(with_remark_on_dependence(other, n_inputs) for other in matrix.others)
    if n_inputs >= matrix.n_samples:
        return replace(matrix, others=others)
    remark = (
        f"The {matrix.n_samples:,} rows come from {n_inputs:,} inputs, and rows of one input are not independent. The "
        f"chance level counts every row"
    )
    if MEASURES[matrix.measure].from_correlations:
        most = n_inputs - 1
        ranks = [[min(layer.rank, most) for layer in side] for side in (matrix.rows, matrix.columns)]
        cautious = max(cca_mean(row, column, n_inputs) for row in ranks[0] for column in ranks[1])
        remark += f" (up to {matrix.chance.max():.2f}); counting only the inputs it would be up to {cautious:.2f}"
    return replace(matrix, warnings=(*matrix.warnings, f"{remark}."), others=others)


def with_remark_on_phases(matrix: SimilarityMatrix, phases: int) -> SimilarityMatrix:
    """Record that shifts of one image are not independent; a remark, as it holds wherever phases are fed."""
    if phases == 1:
        return matrix
    others = tuple(with_remark_on_phases(other, phases) for other in matrix.others)
    remark = (
        f"Each image counts once for each of its shifts by 0 to {phases - 1} positions along every axis, and these are "
        f"not independent: judge the number of samples, {matrix.n_samples:,}, and the chance level by the images."
    )
    return replace(matrix, warnings=(*matrix.warnings, remark), others=others)


def with_remark_on_pooling(matrix: SimilarityMatrix, networks: Sequence[ObservedNetwork]) -> SimilarityMatrix:
    """Record what "auto" left out of maps, and which rules would take it in; a remark, not a warning that is issued."""
    shapes = [shape for network in networks for shape in network.pooled_by_default.values()]
    if not shapes:
        return matrix
    others = tuple(with_remark_on_pooling(other, networks) for other in matrix.others)
    remark = advice_on_maps(shapes, matrix.n_samples)
    return replace(matrix, warnings=(*matrix.warnings, remark), others=others)
