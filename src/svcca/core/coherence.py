"""What every linear measure of a pair of layers needs: two subspaces and the product of their orthonormal bases."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from svcca.core.arrays import ArrayLike, check_same_samples, to_numpy, to_row_pair
from svcca.core.linalg import SVD, SingularValues, svd, svdvals
from svcca.core.moments import JointMoments
from svcca.core.scatter import FLOAT64, Precision, cross_product
from svcca.core.subspace import WHOLE, Subspace, SVDStep, decompose
from svcca.errors import Doubt, InputError, message

Side = Literal["x", "y"]
"""One of the two layers of a pair."""

Factorisation = Literal["none", "correlations", "cross"]
"""A factorisation of a pair that a value can rest on: none, that of K (`correlations`), of X^H Y (`cross_...`)."""


class LayerSpectrum(Protocol):
    """One layer, decomposed: dense (`Subspace`) or by spatial frequency (`fourier.FourierSubspace`)."""

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
        """Singular values of the kept directions, (rank,)."""
        ...

    @property
    def total_variance(self) -> float:
        """Sum of all squared singular values, kept or not."""
        ...

    @property
    def n_frequencies(self) -> int:
        """Number of spatial frequencies that the directions are spread over; 1 for a dense layer."""
        ...

    @property
    def translation_gap(self) -> float | None:
        """Share of the energy between spatial frequencies, which `fourier` takes to be 0; None for a dense layer."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of a result should know of how the layer was decomposed."""
        ...

    @property
    def doubts(self) -> tuple[Doubt, ...]:
        """Assumptions that the layer does not meet; the texts are without its name."""
        ...

    def truncate(self, step: SVDStep) -> LayerSpectrum:
        """Cut to the leading directions; the same object where nothing is cut."""
        ...


@dataclass(frozen=True, eq=False)
class PairBlock:
    """Directions of two layers that can correlate: all of them, or those of one spatial frequency.

    Attributes:
        x_values: Singular values of x.
        y_values: Singular values of y.
        degrees: Degrees of freedom: samples, less one where they are centred.
        complex_valued: Whether a sample is a complex number.
        multiplicity: Number of such blocks.
    """

    x_values: npt.NDArray[np.float64]
    y_values: npt.NDArray[np.float64]
    degrees: int
    complex_valued: bool = False
    multiplicity: int = 1

    @property
    def ranks(self) -> tuple[int, int]:
        """Number of directions of x and of y."""
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
        """Groups of directions that can correlate with each other; the chance level follows from them."""
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
        """What a reader of a result should know of both layers and of how they were paired."""
        ...

    def notes_on(self, factorisation: Factorisation) -> tuple[str, ...]:
        """Return `notes` and those on a factorisation of the pair, which is taken now if it was not before."""
        ...

    def projection_norms(self, side: Side) -> Tensor:
        """Return the length of each left singular vector of a side, in their order, projected on the other layer."""
        ...

    def projection_weights(self, side: Side, *, squared: bool) -> tuple[Tensor, Tensor]:
        """Return the sum over units of |<unit, canonical variate>| of a side, or of its squares; and correlations."""
        ...

    def truncate(self, step: SVDStep, y_step: SVDStep | None = None) -> LayerPair:
        """Apply the SVD step to both layers, or another to y; the same object where nothing is cut."""
        ...

    def with_vectors(self) -> LayerPair:
        """Return the pair with correlations from the SVD with vectors, which `projection_weights` needs anyway."""
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
        vectors: Whether `correlations` come from the SVD with vectors; see `with_vectors`.
    """

    x: Subspace
    y: Subspace
    matrix: Tensor
    vectors: bool = False

    @classmethod
    def from_subspaces(cls, x: Subspace, y: Subspace) -> Coherence:
        """Pair two layers decomposed with their rows in memory.

        Raises:
            InputError: If one of them was decomposed from moments and so has no basis of the samples.
            SampleError: If they were seen over unequal numbers of samples.
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
        """Decompose both layers from their joint moments and pair them.

        Args:
            moments: Joint moments of the layers.
            step: The SVD step; default every direction above the numerical rank.
            where: The name of x in an error.

        Raises:
            RankError: If a layer is constant.
        """
        x = Subspace.from_moments(moments.x, where).truncate(step)
        y = Subspace.from_moments(moments.y, "y").truncate(step)
        half = cross_product(x.whitener, moments.cross_scatter)
        return cls(x, y, cross_product(half.mH, y.whitener))

    @classmethod
    def from_rows(
        cls, x: ArrayLike, y: ArrayLike, *, step: SVDStep = WHOLE, precision: Precision = FLOAT64
    ) -> Coherence:
        """Decompose two arrays (n_samples, p) and (n_samples, q) and pair them; the bases are kept.

        Raises:
            InputError: If one of them is not an array of activations, or they differ in their number of rows.
            RankError: If a layer is constant.
        """
        return pair_rows(*to_row_pair(x, y), step=step, precision=precision)

    @property
    def n_samples(self) -> int:
        """Number of samples both layers were seen over."""
        return self.x.n_samples

    @property
    def blocks(self) -> tuple[PairBlock, ...]:
        """One block: every direction can correlate with every other."""
        x_values, y_values = (to_numpy(layer.singular_values) for layer in (self.x, self.y))
        return (PairBlock(x_values, y_values, self.n_samples - 1, self.matrix.is_complex()),)

    def truncate(self, step: SVDStep, y_step: SVDStep | None = None) -> Coherence:
        """Apply the SVD step to both layers, or another to y; the same object where nothing is cut.

        Raises:
            InputError: If a layer has fewer directions than the step's number of components.
        """
        x, y = self.x.truncate(step), self.y.truncate(y_step or step)
        if x is self.x and y is self.y:
            return self
        return Coherence(x, y, self.matrix[: x.rank, : y.rank])

    def with_vectors(self) -> Coherence:
        """Return the pair with `correlations` from the SVD with vectors, so that K is factorised once for both."""
        return self if self.vectors else replace(self, vectors=True)

    # -- factorisations: each is taken once, when first wanted, and carries its own notes -----------------------------

    @cached_property
    def factors(self) -> SVD:
        """SVD of K as A diag(rho) B^H: U_x A and U_y B are the orthonormal canonical variates, rho is in [0, 1]."""
        found = svd(self.matrix)
        return found._replace(s=found.s.clamp(0.0, 1.0))

    @cached_property
    def spectrum(self) -> SingularValues:
        """Singular values of K, in [0, 1], from `factors` where `vectors` holds."""
        if self.vectors:
            return SingularValues(self.factors.s, self.factors.notes)
        found = svdvals(self.matrix)
        return found._replace(s=found.s.clamp(0.0, 1.0))

    @cached_property
    def cross_spectrum(self) -> SingularValues:
        """Singular values of the cross-scatter between the kept directions."""
        return svdvals(self.cross_scatter)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the solvers had to do for both layers."""
        return (*self.x.notes, *self.y.notes)

    def notes_on(self, factorisation: Factorisation) -> tuple[str, ...]:
        """Return `notes` and those on a factorisation of the pair, which is taken now if it was not before."""
        if factorisation == "none":
            return self.notes
        found = self.spectrum if factorisation == "correlations" else self.cross_spectrum
        return (*self.notes, *found.notes)

    # -- what the measures read ---------------------------------------------------------------------------------------

    @property
    def correlations(self) -> Tensor:
        """Canonical correlations rho, (min(x.rank, y.rank),), largest first, in [0, 1]; a copy."""
        return self.spectrum.s.clone()

    @cached_property
    def x_loadings(self) -> Tensor:
        """|<unit, canonical variate>| of x, (p, r), from V diag(s) A: no sample is looked at again."""
        a = self.factors.u
        return ((self.x.directions * self.x.singular_values).to(a.dtype) @ a).abs()

    @cached_property
    def y_loadings(self) -> Tensor:
        """|<unit, canonical variate>| of y, (q, r)."""
        bh = self.factors.vh
        return ((self.y.directions * self.y.singular_values).to(bh.dtype) @ bh.mH).abs()

    def projection_weights(self, side: Side, *, squared: bool) -> tuple[Tensor, Tensor]:
        """Return the sum over units of |<unit, canonical variate>| or of its squares, (r,); and the correlations."""
        loadings = self.x_loadings if side == "x" else self.y_loadings
        return (loadings.square() if squared else loadings).sum(dim=0), self.factors.s.clone()

    def projection_norms(self, side: Side) -> Tensor:
        """Return the length of each kept left singular vector of a side projected on the other layer, (rank,)."""
        norms: Tensor = torch.linalg.vector_norm(self.matrix, dim=1 if side == "x" else 0)
        return norms

    @property
    def cross_scatter(self) -> Tensor:
        """diag(s_x) K diag(s_y), (x.rank, y.rank): the cross-scatter X^H Y between the kept singular directions."""
        return self.x.singular_values[:, None] * self.matrix * self.y.singular_values

    @property
    def cross_norm(self) -> float:
        """Frobenius norm of the cross-scatter between the kept directions."""
        return float(torch.linalg.vector_norm(self.cross_scatter))

    @property
    def cross_singular_values(self) -> Tensor:
        """Singular values of the cross-scatter X^H Y between the kept directions, (min(x.rank, y.rank),)."""
        return self.cross_spectrum.s.clone()


def pair_rows(x: Tensor, y: Tensor, *, step: SVDStep = WHOLE, precision: Precision = FLOAT64) -> Coherence:
    """Decompose checked rows of two layers and pair them; as `Coherence.from_rows`, which checks them first."""
    layers = [decompose(rows, where, step=step, precision=precision) for rows, where in ((x, "x"), (y, "y"))]
    return Coherence.from_subspaces(*layers)
