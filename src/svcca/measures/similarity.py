"""The similarity of one pair of layers, with what is needed to judge the number."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TypeVar

from svcca.errors import Doubt, SvccaWarning


@dataclass(frozen=True, eq=False)
class Similarity:
    """How similar two layers are, with what is needed to judge the number.

    Attributes:
        measure: Label of the measure.
        similarity: Its value.
        chance: What unrelated layers of the same ranks would give over as many samples; NaN where it is not known.
        x_rank: Directions of x that took part.
        y_rank: Directions of y that took part.
        n_samples: Number of samples.
        warnings: What a reader must know before trusting the value.
    """

    measure: str
    similarity: float
    chance: float
    x_rank: int
    y_rank: int
    n_samples: int
    warnings: tuple[Doubt, ...]

    def __float__(self) -> float:
        """Return the similarity."""
        return self.similarity

    @property
    def samples_per_direction(self) -> float:
        """N / (rank_x + rank_y); below 1 + 1/n some correlations are 1 by counting alone."""
        return self.n_samples / (self.x_rank + self.y_rank)


_Result = TypeVar("_Result", bound=Similarity)


def announced(result: _Result) -> _Result:
    """Warn of what a result records, at the line that called the public function."""
    for doubt in result.warnings:
        warnings.warn(doubt.text, SvccaWarning, stacklevel=3)
    return result
