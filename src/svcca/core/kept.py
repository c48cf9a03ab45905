"""What is kept of the layers of a network, so that they can be paired with the same layers at another time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

from torch import Tensor

from svcca.core.accumulator import Grid
from svcca.core.coherence import LayerSpectrum
from svcca.core.grid import CoherenceGrid
from svcca.core.subspace import Subspace, SVDStep

TENSORS = ("basis", "singular_values", "directions", "mean")


class KeptLayers(Protocol):
    """Layers over a fixed set of samples, each decomposed once, and what a pair of two of them needs beside that."""

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        ...

    @property
    def subspaces(self) -> Sequence[LayerSpectrum]:
        """The layers, in order of execution."""
        ...

    def pairs(self, other: Self) -> Grid:
        """Pair every layer with every layer of another network or step; nothing is decomposed anew."""
        ...

    def only(self, index: int) -> Self:
        """Return one of the layers alone."""
        ...

    def packed(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the tensors by name, and the rest as plain values."""
        ...


@dataclass(frozen=True, eq=False)
class KeptBases:
    """Layers as orthonormal bases of their samples: a pair of two is one small product.

    Attributes:
        subspaces: Singular values, directions and basis of each layer, on the CPU.
    """

    subspaces: tuple[Subspace, ...]

    @classmethod
    def of(cls, rows: Mapping[str, Tensor], step: SVDStep) -> KeptBases:
        """Decompose the rows of each layer, (n_samples, n_features).

        Raises:
            RankError: If a layer is constant; the message names it.
        """
        subspaces = (Subspace.from_rows(block, name, step=step) for name, block in rows.items())
        return cls(tuple(replace(each, **{name: getattr(each, name).cpu() for name in TENSORS}) for each in subspaces))

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return self.subspaces[0].n_samples

    def pairs(self, other: KeptBases) -> CoherenceGrid:
        """Pair every layer with every layer of the other by their bases."""
        return CoherenceGrid.from_subspaces(self.subspaces, other.subspaces)

    def only(self, index: int) -> KeptBases:
        """Return one of the layers alone."""
        return KeptBases((self.subspaces[index],))

    def packed(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the tensors by name, and the rest as plain values."""
        tensors = {
            f"{index}.{name}": getattr(subspace, name).contiguous()
            for index, subspace in enumerate(self.subspaces)
            for name in TENSORS
        }
        plain = {
            "total_variance": [subspace.total_variance for subspace in self.subspaces],
            "uncut_nuclear_norm": [subspace.uncut_nuclear_norm for subspace in self.subspaces],
            "notes": [list(subspace.notes) for subspace in self.subspaces],
        }
        return tensors, plain

    @classmethod
    def unpacked(cls, tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> KeptBases:
        """Rebuild what was packed."""
        rest = zip(plain["total_variance"], plain["uncut_nuclear_norm"], plain["notes"], strict=True)
        return cls(
            tuple(
                Subspace(
                    len(tensors[f"{index}.basis"]),
                    tensors[f"{index}.mean"],
                    tensors[f"{index}.singular_values"],
                    tensors[f"{index}.directions"],
                    total,
                    tensors[f"{index}.basis"],
                    tuple(notes),
                    uncut,
                )
                for index, (total, uncut, notes) in enumerate(rest)
            )
        )
