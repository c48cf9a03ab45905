"""What a benchmark is: the same answer reached three ways, and the bounds it is held to."""

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
        what: Sizes in words.
        ours: The library's own call.
        floor: The bare products and factorisations that the answer cannot do without, in the library's dtype, on data
            that are centred and converted already.
        literal: The paper's procedure in NumPy, once; repeat i may take another of the pairs.
        literal_calls: How many such calls the whole work takes, where it is timed on a part of it.
        tolerance: How far the literal version's numbers may differ.
        bound: Highest ratio of our time to the floor's that the project allows itself.
        least_speedup: Lowest speed-up over the literal version that it asks for.
        warm_up: Whether to run once untimed first; not where a run takes long enough to hide a first call.
        pair: Two float32 layers to give to other libraries, or None.
        notes: What a reader of the figures must know.
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
