"""Learning dynamics: 8 layers at 4 checkpoints against the 8 layers of the final network, 256 pairs."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from torch import Tensor

import svcca
from benchmarks import digits, floors, literal
from benchmarks.layers import power_law_layers
from benchmarks.work import Size, Values, Work
from svcca.core.subspace import SVDStep

SIZES = {"quick": (400, 32, 27, 2), "full": (5_000, 512, 440, 8)}
"""Samples, units, directions kept, layers."""
MANY = {"quick": (200, 16, 8, 3, 4), "full": (5_000, 256, 64, 12, 20)}
"""Samples, units, directions kept, layers, checkpoints."""
CHECKPOINTS = 4
STRIDE = 37
"""From one pair to the next that the literal version is timed on: no common factor with the number of pairs."""


def dynamics(size: Size) -> Work:
    """Time pairs with power-law spectra, most directions kept."""
    n, p, kept, depth = SIZES[size]
    layers = list(islice(power_law_layers(2, n, p, kept), depth * (CHECKPOINTS + 1)))
    rows = {f"checkpoint {i // depth} layer {i % depth}": x for i, x in enumerate(layers[:-depth])}
    columns = {f"layer {i}": x for i, x in enumerate(layers[-depth:])}
    return _work(rows, columns, f"{n:,} x {p:,}, {kept:,} kept", bound=1.5, least_speedup=25)


def checkpoints(size: Size) -> Work:
    """Time twelve layers at twenty checkpoints against the last: `learning_dynamics` after the forward passes."""
    n, p, kept, depth, times = MANY[size]
    layers = list(islice(power_law_layers(5, n, p, kept), depth * (times + 1)))
    rows = {f"checkpoint {i // depth} layer {i % depth}": x for i, x in enumerate(layers[:-depth])}
    columns = {f"layer {i}": x for i, x in enumerate(layers[-depth:])}
    return _work(rows, columns, f"{n:,} x {p:,}, {kept:,} kept", bound=1.5, least_speedup=25)


def dynamics_trained(size: Size) -> Work:
    """Time pairs with the spectra of a trained network, few directions kept."""
    n, p, _, depth = SIZES[size]
    *checkpoints, final = digits.train(n, p, depth, CHECKPOINTS + 1, epochs_between=1 if size == "quick" else 2)
    rows = {f"checkpoint {i} {name}": x for i, layers in enumerate(checkpoints) for name, x in layers.items()}
    note = f"Layers after their ReLU of an MLP of width {p} trained on scikit-learn's digits, shifted to {n:,} rows."
    return _work(rows, final, f"{n:,} x {p:,}, trained", bound=1.5, least_speedup=25, notes=(note,))


def _work(
    rows: Mapping[str, Tensor],
    columns: Mapping[str, Tensor],
    what: str,
    *,
    bound: float,
    least_speedup: float,
    notes: tuple[str, ...] = (),
) -> Work:
    pairs = [(row, column) for row in rows for column in columns]

    def ours() -> Values:
        values = svcca.compare(rows, columns, progress=False).values.ravel()
        return {f"{row} x {column}": float(v) for (row, column), v in zip(pairs, values, strict=True)}

    def paper(repeat: int) -> Values:
        row, column = pairs[repeat * STRIDE % len(pairs)]
        return {f"{row} x {column}": literal.svcca(rows[row], columns[column])}

    return Work(
        what=f"{len(pairs)} pairs, {what}",
        ours=ours,
        floor=floors.grid(list(rows.values()), list(columns.values()), SVDStep(0.99)),
        literal=paper,
        literal_calls=len(pairs),
        bound=bound,
        least_speedup=least_speedup,
        notes=(*notes, f"The literal version is timed on one pair per repeat and multiplied by {len(pairs)}."),
    )
