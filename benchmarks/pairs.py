"""Time one pair of layers: SVCCA in both precisions, a wide pair, PWCCA, CKA, and every measure at once."""

from __future__ import annotations

from itertools import islice

import torch
from torch import Tensor

import svcca
from benchmarks import floors, literal
from benchmarks.layers import power_law_layers
from benchmarks.work import Size, Values, Work
from svcca.core.subspace import WHOLE, SVDStep

CUT = SVDStep(0.99)
SIZES = {"quick": (1_000, 48, 41), "full": (10_000, 512, 440)}
WIDE = {"quick": (300, 240, 60), "full": (5_000, 4_096, 1_000)}


def _layers(shape: tuple[int, int, int]) -> tuple[Tensor, Tensor, str]:
    n, p, kept = shape
    x, y = islice(power_law_layers(1, n, p, kept), 2)
    return x, y, f"{n:,} x {p:,} x {p:,}, {kept:,} kept"


def pair(size: Size) -> Work:
    """Time SVCCA of two layers."""
    x, y, what = _layers(SIZES[size])
    return Work(
        what=what,
        ours=lambda: {"svcca": svcca.svcca(x, y).similarity},
        floor=floors.pair(x, y, CUT),
        literal=lambda _: {"svcca": literal.svcca(x, y)},
        bound=1.5,
        least_speedup=8,
        pair=(x, y),
    )


def pair_float32(size: Size) -> Work:
    """Time SVCCA of two layers with the products over samples in float32."""
    x, y, what = _layers(SIZES[size])
    return Work(
        what=what + ", float32 products",
        ours=lambda: {"svcca": svcca.svcca(x, y, precision="float32").similarity},
        floor=floors.pair(x, y, CUT, torch.float32),
        literal=lambda _: {"svcca": literal.svcca(x, y)},
        tolerance=1e-4,
        bound=1.5,
        least_speedup=14,
    )


def wide_pair(size: Size) -> Work:
    """Time SVCCA of two layers almost as wide as there are samples."""
    x, y, what = _layers(WIDE[size])
    return Work(
        what=what,
        ours=lambda: {"svcca": svcca.svcca(x, y).similarity},
        floor=floors.pair(x, y, CUT),
        literal=lambda _: {"svcca": literal.svcca(x, y)},
        warm_up=False,
    )


def pwcca(size: Size) -> Work:
    """Time projection-weighted CCA of two layers."""
    x, y, what = _layers(SIZES[size])
    return Work(
        what=what,
        ours=lambda: {"pwcca": svcca.measures.pwcca(x, y).similarity},
        floor=floors.pair(x, y, WHOLE, weights=True),
        literal=lambda _: {"pwcca": literal.pwcca(x, y)},
    )


def cka(size: Size) -> Work:
    """Time linear CKA of two layers."""
    x, y, what = _layers(SIZES[size])
    return Work(
        what=what,
        ours=lambda: {"linear_cka": svcca.measures.linear_cka(x, y).similarity},
        floor=floors.cka(x, y),
        literal=lambda _: {"linear_cka": literal.linear_cka(x, y)},
    )


def all_measures(size: Size) -> Work:
    """Time every measure that needs no rows, from one decomposition, against SVCCA alone with its directions."""
    x, y, what = _layers(SIZES[size])
    names = [name for name, measure in svcca.MEASURES.items() if not measure.needs_rows]

    def paper(_: int) -> Values:
        return {"svcca": literal.svcca(x, y), "pwcca": literal.pwcca(x, y), "linear_cka": literal.linear_cka(x, y)}

    return Work(
        what=f"{what}, {len(names)} measures",
        ours=lambda: {name: float(value) for name, value in svcca.measures.similarities(x, y, names).items()},
        floor=lambda: svcca.svcca(x, y).x_directions,
        literal=paper,
        bound=1.3,
        notes=("The floor is svcca.svcca and its directions; the literal version: only svcca, pwcca and linear_cka.",),
    )
