"""Every value of a sample is a feature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from svcca.capture.observations.base import Observation


@dataclass(frozen=True)
class Flatten(Observation):
    """A sample is a row; every value of its output is a feature. Exact; needs many more samples than features."""

    name: ClassVar[str] = "flatten"

    def rows(self, output: Tensor, mask: Tensor | None, where: str) -> Tensor:
        """(n, ...) -> (n, product of the rest)."""
        return output.reshape(output.shape[0], -1)
