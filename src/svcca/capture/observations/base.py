"""The base class of every observation rule, ours and yours."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from svcca.core.accumulator import Accumulator
from svcca.core.grid import GridAccumulator
from svcca.core.kept import KeptBases, KeptLayers
from svcca.core.subspace import SVDStep

Shape = Sequence[int]
"""Shape of a layer's output, samples first."""


class Observation(ABC):
    """A rule from a layer's output to rows (n_rows, n_features): what counts as a sample and what as a feature.

    A rule of your own derives from this class and has at least `rows`; everything else has a default. It is passed as
    any other: observe=Norms(). The methods from `accumulator` on are asked once a comparison, of the rule given for all
    layers; where `observe` gives several by layer, they are asked of one that is `for_all_layers`.

    >>> import svcca, torch
    >>> class Norms(Observation):  # of each channel of a map: (n, channels, *positions) -> (n, channels)
    ...     def rows(self, output, mask, where):
    ...         return output.flatten(2).norm(dim=2)
    >>> maps = torch.randn(500, 3, 4, 4)
    >>> matrix = svcca.compare({"conv": maps, "relu": maps.relu()}, observe=Norms())
    >>> [(layer.name, layer.n_features, layer.observation) for layer in matrix.rows]
    [('conv', 3, 'norms'), ('relu', 3, 'norms')]
    """

    name: ClassVar[str] = ""
    """Name by which `observe` takes the rule with its default options, for rules in this package."""
    per_sample: ClassVar[bool] = True
    """Whether each sample gives one row, so that layers of any shape line up."""
    for_all_layers: ClassVar[bool] = False
    """Whether the rule is for all layers of a comparison or for none; targets are then observed by it too."""
    by_frequency: ClassVar[bool] = False
    """Whether measures are evaluated by spatial frequency, for which some are not defined."""

    @abstractmethod
    def rows(self, output: Tensor, mask: Tensor | None, where: str) -> Tensor:
        """Turn the output for one batch into rows.

        Args:
            output: The layer's output, samples first.
            mask: Which tokens are real, (n_samples, n_tokens) bool, where the batch has an attention mask.
            where: Network, layer and batch, to begin the message of an error with.
        """

    def describe(self, shape: Shape) -> str:
        """Name the rule as it applied to an output of this shape (samples first)."""
        return self.name or type(self).__name__.lower()

    def positions(self, shape: Shape) -> tuple[int, ...]:
        """Return what the rows of one sample run over: layers that differ in it do not line up."""
        return ()

    def settled(self, shapes: Sequence[Shape]) -> Observation:
        """Return the rule as it holds for outputs of these shapes: those of all layers that are observed alike."""
        return self

    def advice(self, sizes: Sequence[tuple[int, ...]]) -> str:
        """Return why the rule suits maps of these sizes, each different; "" (default) where it does not."""
        return ""

    # -- of a comparison as a whole ------------------------------------------------------------------------------------

    def accumulator(self, *, self_comparison: bool, keep_rows: bool, memory_budget: int | None) -> Accumulator:
        """Return what folds the rows of all layers.

        Args:
            self_comparison: Whether one network is compared with itself.
            keep_rows: Whether a measure needs the rows.
            memory_budget: Bytes that the sums may take; None sets no limit.
        """
        return GridAccumulator(self_comparison=self_comparison, keep_rows=keep_rows, memory_budget=memory_budget)

    def presented(self, batches: Iterable[Any] | None, *, captured: bool) -> Iterable[Any] | None:
        """Return the batches as the networks see them; None where all are captured activations.

        Args:
            batches: The batches of the user.
            captured: Whether captured activations take part, which can only be read as they are.
        """
        return batches

    def check_layers(self, rows: Mapping[str, Shape], columns: Mapping[str, Shape]) -> None:
        """Raise InputError, with the names, for layers that cannot be compared.

        Args:
            rows: The shape of a batch of each row layer, as `rows` returned it, by network and layer.
            columns: The same of the column layers.
        """
        return

    def remark(self, n_samples: int) -> str:
        """Return what ties the samples together, beyond several rows for each input; "" (default)."""
        return ""

    def keep(self, rows: Mapping[str, Tensor], step: SVDStep) -> KeptLayers:
        """Decompose each layer once, and return what is needed to pair it with the same layers at another step.

        Args:
            rows: The rows of each layer over the same samples, by network and layer.
            step: The SVD step: which directions are kept.
        """
        return KeptBases.of(rows, step)

    def restore(self, tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> KeptLayers:
        """Rebuild what `keep` returned from the tensors and plain values that it was packed into."""
        return KeptBases.unpacked(tensors, plain)
