"""From one pass over the data to a labelled matrix for each measure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from svcca.capture.accumulate import Pass
from svcca.capture.rules import advice_on_maps
from svcca.capture.stream import ObservedLayer, ObservedNetwork
from svcca.compare.result import LayerSummary, SimilarityMatrix
from svcca.core.accumulator import Grid
from svcca.core.coherence import LayerSpectrum
from svcca.core.subspace import WHOLE, SVDStep
from svcca.errors import Doubt, DoubtKind, RankError, message
from svcca.measures.chance import cca_mean
from svcca.measures.evaluate import evaluate_all
from svcca.measures.measure import Measure
from svcca.measures.similarity import Similarity
from svcca.progress import track

Layers = Mapping[int, ObservedLayer]
"""Layers that vary between samples, by their place among those observed."""
Subspaces = Sequence[LayerSpectrum]


def similarity_matrices(
    passed: Pass,
    measures: Sequence[Measure],
    step: SVDStep,
    progress: bool | None,
    *,
    column_step: SVDStep | None = None,
    coupled_ranks: bool = False,
) -> list[SimilarityMatrix]:
    """Decompose each layer once and evaluate every measure on every pair; one matrix a measure.

    Args:
        passed: What one pass over the data left behind.
        measures: The measures.
        step: The SVD step of the measures that have one.
        progress: Whether to show a bar; None: on a terminal.
        column_step: The SVD step of the columns; None: that of the rows.
        coupled_ranks: Whether the rank of a row counts only directions that can correlate with the first column.

    Raises:
        RankError: If a layer that was named outright is constant, or all layers of a network are.
    """
    networks, column_step = passed.networks, column_step or step
    all_cut = all(measure.svd_step for measure in measures)
    grid = passed.accumulator.finish(
        [f"{network.source.title} {layer.name!r}" for network in networks for layer in network.layers],
        step if all_cut else WHOLE,
        column_step=column_step if all_cut else WHOLE,
        constant_allowed=[
            not network.source.named_outright(layer.name) for network in networks for layer in network.layers
        ],
    )
    a, b = networks[0], networks[-1]
    rows, columns = _varying(a, grid.rows), _varying(b, grid.columns)
    doubts = [
        *(Doubt("left_out", text) for text in passed.warnings),
        *dict.fromkeys([*_constant_layers(a, rows), *_constant_layers(b, columns)]),
        *dict.fromkeys([*_layer_doubts(a, rows, grid.rows), *_layer_doubts(b, columns, grid.columns)]),
    ]
    coupled = {
        svd_step: _coupled_ranks(grid, rows, next(iter(columns)), step if svd_step else WHOLE) if coupled_ranks else {}
        for svd_step in {measure.svd_step for measure in measures}
    }
    # Layers that were cut when they were decomposed need no second cut for every pair.
    cuts = (WHOLE, WHOLE) if all_cut else (step, column_step)
    pairs = _evaluate_pairs(grid, rows, columns, measures, *cuts, progress)
    return [
        SimilarityMatrix(
            values=np.array([[pair[index].similarity for pair in row] for row in pairs]),
            rows=_summaries(rows, grid.rows, measure, step, coupled[measure.svd_step]),
            columns=_summaries(columns, grid.columns, measure, column_step),
            measure=measure.label,
            retained_variance=step.retained_variance if measure.svd_step else 1.0,
            n_samples=passed.accumulator.n_samples,
            chance=np.array([[pair[index].chance for pair in row] for row in pairs]),
            warnings=(*doubts, *_pooled([pair[index] for row in pairs for pair in row])),
            row_title=a.source.title,
            column_title=b.source.title,
            definition=measure.definition,
        )
        for index, measure in enumerate(measures)
    ]


def _varying(network: ObservedNetwork, subspaces: Subspaces) -> Layers:
    layers = {i: layer for i, layer in enumerate(network.layers) if subspaces[i].rank}
    if not layers:
        title = network.source.title
        raise RankError(message(title, "a layer that varies between samples", "constant layers only"))
    return layers


def _constant_layers(network: ObservedNetwork, varying: Layers) -> list[Doubt]:
    """A doubt about the layers left out because they are constant."""
    constant = [layer.name for index, layer in enumerate(network.layers) if index not in varying]
    if not constant:
        return []
    text = f"{network.source.title}: left out, since they are constant over all samples: {', '.join(constant)}."
    return [Doubt("left_out", text)]


def _layer_doubts(network: ObservedNetwork, layers: Layers, subspaces: Subspaces) -> list[Doubt]:
    named = {f"{network.source.title} {layer.name!r}": subspaces[index] for index, layer in layers.items()}
    return furthest_layer(named)


def furthest_layer(subspaces: Mapping[str, LayerSpectrum]) -> list[Doubt]:
    """Return the doubts about the layer that is furthest from what its rule assumes, and how many others have some.

    Args:
        subspaces: The layers, by the name that each has in a message.
    """
    far = {name: subspace for name, subspace in subspaces.items() if subspace.doubts}
    if not far:
        return []
    worst = max(far, key=lambda name: far[name].translation_gap or 0.0)
    others = len(far) - 1
    more = f" The same holds for {others} other layer{'s' if others > 1 else ''}." if others else ""
    return [Doubt(doubt.kind, f"{worst}: {doubt.text}{more}") for doubt in far[worst].doubts]


def _evaluate_pairs(
    grid: Grid,
    rows: Layers,
    columns: Layers,
    measures: Sequence[Measure],
    step: SVDStep,
    column_step: SVDStep,
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
                where = f"{row.name} x {column.name}"
                pairs[i, j] = evaluate_all(measures, grid.pair(i, j), step, where, y_step=column_step)
    return [[pairs[i, j] for j in columns] for i in rows]


def _coupled_ranks(grid: Grid, rows: Layers, column: int, step: SVDStep) -> dict[int, int]:
    """Count the directions of each row layer that can correlate with a column layer, by the layer's place."""
    return {
        index: sum(block.ranks[0] * block.multiplicity for block in grid.pair(index, column).truncate(step).blocks)
        for index in rows
    }


def _summaries(
    layers: Layers, subspaces: Subspaces, measure: Measure, step: SVDStep, ranks: Mapping[int, int] | None = None
) -> tuple[LayerSummary, ...]:
    """Each layer with the number of its directions that a measure used, or of those that are counted in `ranks`."""
    cut = step if measure.svd_step else WHOLE
    return tuple(
        LayerSummary(
            layer.name,
            layer.n_features,
            (ranks or {}).get(index, kept.rank),
            layer.observation,
            kept.n_frequencies,
            kept.translation_gap,
        )
        for index, layer in layers.items()
        for kept in (subspaces[index].truncate(cut),)
    )


def _pooled(similarities: Sequence[Similarity]) -> list[Doubt]:
    """One doubt of each kind for all pairs: that of the pair with the highest chance level, and how many have one."""
    worst: dict[DoubtKind, tuple[float, Doubt]] = {}
    counts: Counter[DoubtKind] = Counter()
    for pair in similarities:
        level = 0.0 if np.isnan(pair.chance) else pair.chance
        last = {doubt.kind: doubt for doubt in pair.warnings}
        counts.update(last.keys())
        for kind, doubt in last.items():
            if kind not in worst or level > worst[kind][0]:
                worst[kind] = level, doubt
    total = len(similarities)
    pooled = []
    for kind, (_, doubt) in worst.items():
        more = f" A warning of this kind holds for {counts[kind]} of {total} pairs." if total > 1 else ""
        pooled.append(Doubt(kind, doubt.text + more))
    return pooled


def with_remark_on_dependence(matrix: SimilarityMatrix, measure: Measure, n_inputs: int) -> SimilarityMatrix:
    """Record that several rows come from each input, and what the chance level is if only the inputs count.

    Positions of one image and tokens of one text are not independent, so the truth lies between the two levels. It
    holds for every comparison by position or token: a remark of the result, not a warning that is issued.
    """
    if n_inputs >= matrix.n_samples:
        return matrix
    remark = f"The {matrix.n_samples:,} rows come from {n_inputs:,} inputs, and rows of one input are not independent"
    if not np.isnan(matrix.chance).any():
        remark += ". The chance level counts every row"
        if measure.from_correlations:
            most = n_inputs - 1
            ranks = [[min(layer.rank, most) for layer in side] for side in (matrix.rows, matrix.columns)]
            cautious = max(cca_mean(row, column, n_inputs) for row in ranks[0] for column in ranks[1])
            remark += f" (up to {matrix.chance.max():.2f}); counting only the inputs it would be up to {cautious:.2f}"
    return with_remark(matrix, Doubt("dependence", f"{remark}."))


def with_remark_on_pooling(matrix: SimilarityMatrix, networks: Sequence[ObservedNetwork]) -> SimilarityMatrix:
    """Record what "auto" left out of maps, and which rules would take it in; a remark, not a warning that is issued."""
    shapes = [shape for network in networks for shape in network.pooled_by_default.values()]
    if not shapes:
        return matrix
    return with_remark(matrix, Doubt("observation", advice_on_maps(shapes, matrix.n_samples)))


def with_remark(matrix: SimilarityMatrix, remark: Doubt) -> SimilarityMatrix:
    """Record a remark behind the warnings of a matrix, which are issued; a remark is not."""
    return replace(matrix, warnings=(*matrix.warnings, remark))
