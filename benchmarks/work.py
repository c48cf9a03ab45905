"""Define a benchmark: the same answer computed in three ways, and the bounds it must meet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch

Size = Literal["quick", "full"]
"""Full is the size that figures are quoted at; quick takes seconds and only shows that everything runs."""
Values = Mapping[str, float]
"""The numbers that were computed, by name."""


@dataclass(frozen=True, eq=False)
class Work:
    """One piece of fixed work.

    Attributes:
        what: The sizes in words.
        ours: The library's own call.
        floor: The bare products and factorisations that no solution can avoid, in the library's dtype, on data that
            are already centred and converted.
        literal: The paper's procedure in NumPy, once; repeat i may take another of the pairs.
        literal_calls: The number of such calls in the whole work, if only a part of it is timed.
        tolerance: The largest allowed difference from the literal version's numbers.
        bound: The highest allowed ratio of our time to the floor's.
        least_speedup: The lowest allowed speed-up over the literal version.
        warm_up: Whether to run once untimed first; not needed if a run is long enough to hide a first call.
        pair: Two float32 layers for other libraries, or None.
        notes: Remarks that a reader of the results needs.
    """

    what: str
    ours: Callable[[], Values]
    floor: Callable[[], object]
    literal: Callable[[int], Values]
    literal_calls: float = 1
    tolerance: float = 1e-6
    bound: float | None = None
    least_speedup: float | None = None
    warm_up: bool = True
    pair: tuple[torch.Tensor, torch.Tensor] | None = None
    notes: tuple[str, ...] = ()
