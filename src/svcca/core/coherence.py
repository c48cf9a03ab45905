"""What any linear measure of a pair of layers needs: two subspaces and the products of their orthonormal bases."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from svcca.core.arrays import ArrayLike, check_same_samples, to_numpy, to_rows
from svcca.core.linalg import svd, svdvals
from svcca.core.moments import JointMoments
from svcca.core.scatter import FLOAT64, Precision, cross_product
from svcca.core.subspace import WHOLE, Subspace, SVDStep
from svcca.errors import InputError, message

Side = Literal["x", "y"]
"""One of the two layers of a pair."""


class LayerSpectrum(Protocol):
    """One layer of a pair, decomposed."""

    @property
    def rank(self) -> int:
        """Number of kept directions."""
        ...

    @property
    def n_features(self) -> int:
        """Width of the layer."""
        ...

    @property
    def singular_values(self) -> Tensor:
        """Of the kept directions, (rank,)."""
        ...

    @property
    def total_variance(self) -> float:
        """Sum of all squared singular values, kept or not."""
        ...


@dataclass(frozen=True, eq=False)
class PairBlock:
    """Directions of two layers that can correlate: all of them, or those of one spatial frequency.

    Attributes:
        x_values: Singular values of x.
        y_values: Singular values of y.
        degrees: Degrees of freedom: samples, less one where they are centred.
        complex_valued: Whether a sample is a complex number.
        multiplicity: How many such blocks there are.
    """

    x_values: npt.NDArray[np.float64]
    y_values: npt.NDArray[np.float64]
    degrees: int
    complex_valued: bool = False
    multiplicity: int = 1

    @property
    def ranks(self) -> tuple[int, int]:
        """Directions of x and of y."""
        return len(self.x_values), len(self.y_values)


class LayerPair(Protocol):
    """A pair of layers as the measures see it; dense (`Coherence`) or a block for each spatial frequency."""

    @property
    def x(self) -> LayerSpectrum:
        """The first layer."""
        ...

    @property
    def y(self) -> LayerSpectrum:
        """The second layer."""
        ...

    @property
    def n_samples(self) -> int:
        """Number of samples both were seen over."""
        ...

    @property
    def blocks(self) -> tuple[PairBlock, ...]:
        """Which directions can correlate with which; the chance level follows from it."""
        ...

    @property
    def correlations(self) -> Tensor:
        """Canonical correlations, largest first, in [0, 1]."""
        ...

    @property
    def cross_norm(self) -> float:
        """Frobenius norm of the cross-scatter X^H Y between the kept directions."""
        ...

    @property
    def cross_singular_values(self) -> Tensor:
        """Singular values of that cross-scatter."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the result should know of how it was computed."""
        ...

    def projection_norms(self, side: Side) -> Tensor:
        """Length of each left singular vector of a side (as its `singular_values`) projected on the other layer."""
        ...

    def projection_weights(self, side: Side, *, squared: bool) -> tuple[Tensor, Tensor]:
        """Sum over units of |<unit, canonical variate>| of a side, or of its squares; and the correlations."""
        ...

    def truncate(self, step: SVDStep) -> LayerPair:
        """Apply the SVD step to both layers."""
        ...


@dataclass(frozen=True, eq=False)
class Coherence:
    """The coherence matrix K = U_x^H U_y of two layers with centred X = U_x diag(s_x) V_x^H, Y likewise.

    Its singular values are the canonical correlations; diag(s_x) K diag(s_y) has those of the cross-scatter X^H Y.
    Cutting both layers to their leading directions cuts K to its leading block, so one decomposition a layer and one
    product a pair serve every measure, with the SVD step and without it.

    Attributes:
        x: Subspace of the first layer.
        y: Subspace of the second layer.
        matrix: K, (x.rank, y.rank), float64.
    """

    x: Subspace
    y: Subspace
    matrix: Tensor

    @property
    def n_samples(self) -> int:
        """Number of samples both layers were seen over."""
        return self.x.n_samples

    @property
    def blocks(self) -> tuple[PairBlock, ...]:
        """One block: every direction can correlate with every other."""
        x_values, y_values = (to_numpy(layer.singular_values) for layer in (self.x, self.y))
        return (PairBlock(x_values, y_values, self.n_samples - 1, self.matrix.is_complex()),)

    @classmethod
    def from_subspaces(cls, x: Subspace, y: Subspace) -> Coherence:
        """Pair two layers decomposed with their rows in memory.

        Raises:
            InputError: If one of them was decomposed from moments and so has no basis of the samples.
        """
        if x.basis is None or y.basis is None:
            raise InputError(
                message(
                    "Coherence",
                    "subspaces that hold their basis",
                    "one decomposed from moments",
                    remedy="Pass the JointMoments of the two layers to Coherence.from_moments",
                )
            )
        check_same_samples(x.basis, y.basis, "Coherence")
        return cls(x, y, cross_product(x.basis, y.basis))

    @classmethod
    def from_moments(cls, moments: JointMoments, *, step: SVDStep = WHOLE, where: str = "x") -> Coherence:
        """Decompose both layers from their joint moments and pair them; `where` is what x is called in an error."""
        x = Subspace.from_moments(moments.x, where).truncate(step)
        y = Subspace.from_moments(moments.y, "y").truncate(step)
        half = cross_product(x.whitener, moments.cross_scatter)
        return cls(x, y, cross_product(half.mH, y.whitener))

    @classmethod
    def from_rows(
        cls, x: ArrayLike, y: ArrayLike, *, step: SVDStep = WHOLE, precision: Precision = FLOAT64
    ) -> Coherence:
        """Decompose two arrays (n_samples, p) and (n_samples, q) and pair them; the bases are kept."""
        rows_x, rows_y = to_rows(x, "x"), to_rows(y, "y")
        check_same_samples(rows_x, rows_y, "x and y")
        layers = [
            Subspace.from_rows(rows, where, step=step, precision=precision)
            for rows, where in ((rows_x, "x"), (rows_y, "y"))
        ]
        return cls.from_subspaces(*layers)

    def truncate(self, step: SVDStep) -> Coherence:
        """Apply the SVD step to both layers.

        Raises:
            InputError: If more components are asked for than a layer has directions.
        """
        x, y = self.x.truncate(step), self.y.truncate(step)
        if x is self.x and y is self.y:
            return self
        return Coherence(x, y, self.matrix[: x.rank, : y.rank])

    @cached_property
    def _svd(self) -> tuple[Tensor, Tensor, Tensor, tuple[str, ...]]:
        return svd(self.matrix)

    @property
    def factors(self) -> tuple[Tensor, Tensor, Tensor]:
        """SVD of K as (A, rho, B^H): U_x A and U_y B are the orthonormal canonical variates, rho is in [0, 1]."""
        a, rho, bh, _ = self._svd
        return a, rho.clamp(0.0, 1.0), bh

    @cached_property
    def x_loadings(self) -> Tensor:
        """|<unit, canonical variate>| of x, (p, r), from V diag(s) A: no sample is looked at again."""
        a, _, _ = self.factors
        return ((self.x.directions * self.x.singular_values).to(a.dtype) @ a).abs()

    @cached_property
    def y_loadings(self) -> Tensor:
        """|<unit, canonical variate>| of y, (q, r)."""
        _, _, bh = self.factors
        return ((self.y.directions * self.y.singular_values).to(bh.dtype) @ bh.mH).abs()

    def projection_weights(self, side: Side, *, squared: bool) -> tuple[Tensor, Tensor]:
        """Sum over units of |<unit, canonical variate>|, or of its squares, (r,); and the correlations."""
        loadings = self.x_loadings if side == "x" else self.y_loadings
        return (loadings.square() if squared else loadings).sum(dim=0), self.factors[1]

    def projection_norms(self, side: Side) -> Tensor:
        """Length of each kept left singular vector of a side projected on the other layer: row or column norms of K."""
        lengths: Tensor = torch.linalg.vector_norm(self.matrix, dim=1 if side == "x" else 0)
        return lengths

    @cached_property
    def correlations(self) -> Tensor:
        """Canonical correlations rho, (min(x.rank, y.rank),), largest first, in [0, 1]."""
        if "_svd" in self.__dict__:  # the vectors were wanted before: do not factorise again
            return self.factors[1]
        return self._svdvals[0].clamp(0.0, 1.0)

    @cached_property
    def _svdvals(self) -> tuple[Tensor, tuple[str, ...]]:
        return svdvals(self.matrix)

    @property
    def cross_scatter(self) -> Tensor:
        """diag(s_x) K diag(s_y), (x.rank, y.rank): the cross-scatter X^H Y between the kept singular directions."""
        return self.x.singular_values[:, None] * self.matrix * self.y.singular_values

    @property
    def cross_norm(self) -> float:
        """Frobenius norm of the cross-scatter between the kept directions."""
        return float(torch.linalg.vector_norm(self.cross_scatter))

    @cached_property
    def _cross_svdvals(self) -> tuple[Tensor, tuple[str, ...]]:
        return svdvals(self.cross_scatter)

    @property
    def cross_singular_values(self) -> Tensor:
        """Singular values of the cross-scatter X^H Y between the kept directions, (min(x.rank, y.rank),)."""
        return self._cross_svdvals[0]

    @property
    def notes(self) -> tuple[str, ...]:
        """What the solvers had to do for both layers and for whatever was factorised of the pair so far."""
        taken = (self.__dict__.get(name, ((),))[-1] for name in ("_svdvals", "_cross_svdvals", "_svd"))
        return (*self.x.notes, *self.y.notes, *(note for notes in taken for note in notes))
