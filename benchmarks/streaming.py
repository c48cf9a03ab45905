"""Time two layers that are never in memory: batches of 4,096 rows from a small pool, folded in one pass."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import torch
from torch import Tensor, nn

import svcca
from benchmarks import literal
from benchmarks.floors import centred
from benchmarks.layers import power_law_layers
from benchmarks.work import Size, Work

SIZES = {"quick": (20_000, 2_000, 48, 41), "full": (1_000_000, 20_000, 512, 440)}
"""Samples, rows of the pool (which goes round a whole number of times), units, directions kept."""
BATCH = 4_096


class Columns(nn.Module):
    """Select columns of the input: a layer whose activations cost nothing to compute."""

    def __init__(self, start: int, width: int) -> None:
        super().__init__()
        self.columns = slice(start, start + width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, p + q) to (n, width)."""
        return x[:, self.columns]


def streaming(size: Size) -> Work:
    """Time one pass over all samples."""
    return _work(size, 1)


def streaming_tenth(size: Size) -> Work:
    """Time a tenth of the samples: the peak memory should be the same."""
    return _work(size, 10)


def _work(size: Size, part: int) -> Work:
    n, pool_rows, p, kept = SIZES[size]
    n //= part
    x, y = islice(power_law_layers(3, pool_rows, p, kept), 2)
    pool = torch.cat([x, y], dim=1)
    nets = [nn.Sequential(Columns(0, p)), nn.Sequential(Columns(p, p))]
    wide: list[Tensor] = []

    def floor() -> object:
        if not wide:  # only when asked for, so that it does not count as memory of ours
            wide.extend([centred(x), centred(y)])
        xx, yy, xy = (torch.zeros(p, p, dtype=torch.float64) for _ in range(3))
        for a, b in zip(_batches(wide[0], n), _batches(wide[1], n), strict=True):
            xx.addmm_(a.mH, a)
            yy.addmm_(b.mH, b)
            xy.addmm_(a.mH, b)
        return xx, yy, xy

    return Work(
        what=f"{n:,} x {p:,} x {p:,}, batches of {BATCH:,}",
        ours=lambda: {"svcca": float(svcca.compare(*nets, _batches(pool, n), progress=False).values[0, 0])},
        floor=floor,
        literal=lambda _: {"svcca": literal.svcca(x, y)},
        literal_calls=n / pool_rows,
        bound=1.3,
        warm_up=part > 1,
        notes=(
            f"The pool of {pool_rows:,} rows is used {n // pool_rows} times: the literal version is timed on one "
            "round and multiplied, because it could not hold all rows. The floor is only the three Gram products.",
        ),
    )


def _batches(pool: Tensor, n_samples: int) -> Iterator[Tensor]:
    for _ in range(n_samples // len(pool)):
        yield from pool.split(BATCH)
