"""What is kept of layers of maps, so that they can be paired with the same layers at another time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from svcca.core.subspace import SVDStep
from svcca.fourier.frequencies import FrequencyGrid, Resize
from svcca.fourier.gap import Gap
from svcca.fourier.grid import FourierAccumulator, FourierGrid, of_one_size
from svcca.fourier.spectra import SpectralSums
from svcca.fourier.subspace import FourierSubspace

TENSORS = ("mean", "values", "vectors")


@dataclass(frozen=True, eq=False)
class KeptMaps:
    """Layers by spatial frequency with their maps: a pair of two is a product over all samples at each frequency.

    Attributes:
        subspaces: Singular values and directions of each layer at each frequency, on the CPU.
        maps: Maps of each layer as they came, (n_samples, n_channels, *sizes), or vectors, on the CPU.
        resize: Treatment of maps whose sizes do not divide; see `match_frequencies`.
    """

    subspaces: tuple[FourierSubspace, ...]
    maps: tuple[Tensor, ...]
    resize: Resize | None = None

    @classmethod
    def of(cls, maps: Mapping[str, Tensor], step: SVDStep, resize: Resize | None = None) -> KeptMaps:
        """Decompose the maps of each layer at every frequency.

        Raises:
            RankError: If a layer is constant; the message names it.
        """
        accumulator = FourierAccumulator(resize=resize)
        accumulator.update(list(maps.values()))
        layers = accumulator.finish(list(maps), step, constant_allowed=[False] * len(maps)).rows
        on_cpu = (replace(each, **{name: getattr(each, name).cpu() for name in TENSORS}) for each in layers)
        return cls(tuple(on_cpu), tuple(each.cpu() for each in maps.values()), resize)

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return self.subspaces[0].n_samples

    def pairs(self, other: KeptMaps) -> FourierGrid:
        """Pair every layer with every layer of the other: cross products alone, in one pass over both.

        Cost: the DFT of both, and 8 n c_x c_y operations for each of half as many frequencies as positions.
        """
        n_rows = len(self.maps)
        layers = of_one_size([*self.maps, *other.maps], self.resize)
        sums = SpectralSums(layers, n_rows, self_comparison=False, resize=self.resize, cross_only=True)
        sums.update(layers)
        return FourierGrid(self.subspaces, other.subspaces, lambda row, column: sums.cross(row, n_rows + column))

    def only(self, index: int) -> KeptMaps:
        """Return one of the layers alone."""
        return KeptMaps((self.subspaces[index],), (self.maps[index],), self.resize)

    def packed(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the tensors by name, complex ones as real, and the rest as plain values."""
        tensors: dict[str, Tensor] = {}
        for index, (subspace, maps) in enumerate(zip(self.subspaces, self.maps, strict=True)):
            tensors |= {f"{index}.{name}": getattr(subspace, name).contiguous() for name in ("mean", "values")}
            tensors[f"{index}.vectors"] = torch.view_as_real(subspace.directions.resolve_conj()).contiguous()
            tensors[f"{index}.maps"] = maps.contiguous()
        rest = [
            {
                "sizes": subspace.grid.sizes,
                "total_variance": subspace.total_variance,
                "gap": asdict(subspace.gap),
                "notes": subspace.notes,
                "uncut_nuclear_norm": subspace.uncut_nuclear_norm,
            }
            for subspace in self.subspaces
        ]
        return tensors, {"layers": rest}

    @classmethod
    def unpacked(
        cls, tensors: Mapping[str, Tensor], plain: Mapping[str, Any], resize: Resize | None = None
    ) -> KeptMaps:
        """Rebuild what was packed."""
        subspaces, kept = [], []
        for index, rest in enumerate(plain["layers"]):
            mean, values, vectors, maps = (tensors[f"{index}.{name}"] for name in (*TENSORS, "maps"))
            # In memory of their own: a file's tensors may not lie where complex arithmetic needs them, which crashes.
            directions = torch.complex(vectors[..., 0], vectors[..., 1])
            subspaces.append(
                FourierSubspace(
                    len(maps),
                    mean,
                    FrequencyGrid.of(tuple(rest["sizes"])),
                    values,
                    directions,
                    rest["total_variance"],
                    Gap(**rest["gap"]),
                    tuple(rest["notes"]),
                    rest["uncut_nuclear_norm"],
                )
            )
            kept.append(maps)
        return cls(tuple(subspaces), tuple(kept), resize)
