"""Moments of what layers are given, alone or together with targets, over all samples of the data."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from svcca.capture.batches import Batch, Forward, device_of
from svcca.capture.folding import MomentsFold
from svcca.capture.hooks import Keep, evaluating, run_model
from svcca.capture.observations import Observation, Pixels
from svcca.capture.rules import Rules, Shapes, check_runs_once
from svcca.capture.sources import ModelSource, Source, kept
from svcca.capture.stream import ObservedNetwork, stream
from svcca.capture.targets import logits_in
from svcca.compress.factors import Layer, as_layer, n_groups
from svcca.core.moments import JointMoments, Moments
from svcca.errors import InputError, message

LayerInputs = tuple[Moments, JointMoments | None]
"""Moments of what a layer is given, and those with its target where there is one."""

KEPT_BYTES = 2**28
"""Bytes of a network's output that are kept from one pass over the data to the next; for the rest it is run again."""

WIDEST_TARGET = 4096
"""Columns of a target above which its own moments take more than they give."""


@dataclass(frozen=True)
class LinearInputs(Observation):
    """What a linear layer is given: a row a sample, token or position; masked tokens are left out."""

    per_sample: ClassVar[bool] = False

    def rows(self, output: Tensor, mask: Tensor | None, where: str) -> Tensor:
        """(..., features) -> (n_rows, features)."""
        return _real(output.reshape(-1, output.shape[-1]), mask)


@dataclass(frozen=True)
class ConvInputs(Pixels):
    """What a convolution is given: a row a position; masked positions are left out."""

    def rows(self, output: Tensor, mask: Tensor | None, where: str) -> Tensor:
        """(n, channels, *positions) -> (n_rows, channels)."""
        return _real(super().rows(output, None, where), mask)


def _real(rows: Tensor, mask: Tensor | None) -> Tensor:
    """Leave out masked tokens, where there is one row a token."""
    return rows if mask is None or mask.numel() != len(rows) else rows[mask.to(rows.device).flatten()]


def input_moments(
    model: nn.Module,
    names: Collection[str],
    data: Iterable[Any],
    target: Source | None,
    forward: Forward | None,
    progress: bool | None,
) -> dict[str, LayerInputs]:
    """Run every batch through a model and fold what layers are given.

    A linear layer is given a row a sample, or a token; a convolution a row a position. Where a sample has several rows,
    its target counts for each of them; masked tokens do not count.

    Args:
        model: The network; run in evaluation mode without gradients, and handed back as it was.
        names: Names of linear layers and convolutions.
        data: Batches.
        target: What the layers are held against; None: nothing.
        forward: The user's own way to run the model: forward(model, batch).
        progress: Whether to show a bar; None: on a terminal.

    Returns:
        Moments of each layer's inputs, and with the target where there is one, by layer in order of execution.

    Raises:
        LayerError: If a layer does not run once in each forward pass.
        InputError: If its rows do not go with the target's.
        NonFiniteError: For NaN or infinity in what it is given.
    """
    layers = {name: as_layer(model.get_submodule(name)) for name in names}
    source = ModelSource(model, list(names), forward, f"inputs of {type(model).__name__}", tap="input")
    title = "Inputs" if len(names) > 1 else f"Inputs of {next(iter(names))}"
    network, fold = ObservedNetwork(source), MomentsFold()

    def choose(networks: Sequence[Shapes]) -> list[Rules]:
        for name in networks[0]:
            check_runs_once(name, f"compress {type(model).__name__}")
        return [{name: _rule(name, layers[name], shape) for name, shape in networks[0].items()}]

    with stream([network], data, choose, beside=target, title=title, progress=progress) as batches:
        for batch in batches:
            _check_width(batch.targets)
            fold.update(batch)
    return fold.finish()


def _rule(name: str, layer: Layer, shape: Sequence[int]) -> Observation:
    if isinstance(layer, nn.Linear):
        return LinearInputs()
    if len(shape) != 4:
        expected = "maps (n_samples, channels, height, width) as its inputs"
        raise InputError(message(f"compress {name!r}", expected, f"shape {tuple(shape)}"))
    return ConvInputs()


def _check_width(targets: Mapping[str, Tensor]) -> None:
    for name, block in targets.items():
        if block.shape[1] > WIDEST_TARGET:
            expected, remedy = f"a target of at most {WIDEST_TARGET:,} columns", "Pass against='pca'"
            raise InputError(message(f"compress {name!r}", expected, f"{block.shape[1]:,}", "", remedy))


def group_moments(found: LayerInputs, layer: Layer) -> list[LayerInputs]:
    """Return the moments of each group's inputs, for a grouped convolution; else those there are."""
    whole, joint = found
    width = whole.n_features // n_groups(layer)
    groups: list[LayerInputs] = []
    for start in range(0, whole.n_features, width):
        part = slice(start, start + width)
        x = Moments(whole.n_samples, whole.mean[part], whole.scatter[part, part], whole.source_eps, whole.product_eps)
        groups.append((x, None if joint is None else JointMoments(x, joint.y, joint.cross_scatter[part])))
    return groups


class OriginalLogits(Source):
    """The logits of the network as it was, whichever copy of it is measured.

    They are kept, up to `KEPT_BYTES`, since layers are measured one after the other on the same batches.
    """

    title = "targets"

    def __init__(self, model: nn.Module, forward: Forward | None) -> None:
        self._model, self._forward = model, forward
        self.device = device_of(model)
        self._kept: dict[int, Tensor] = {}

    def tensors(self, batch: Batch, keep: Keep | None = None) -> dict[str, Tensor]:
        """Run the network on the batch, unless its logits were kept."""
        logits = self._kept.get(batch.number)
        if logits is None:
            title = f"compress {type(self._model).__name__}"
            with evaluating(self._model):
                output = run_model(self._model, batch, self._forward, title)
            logits = logits_in(output, batch.size, f"{title}, {batch.where}", "Pass against='pca'", per_token=True)
            if sum(each.nbytes for each in (*self._kept.values(), logits)) <= KEPT_BYTES:
                self._kept[batch.number] = logits
        return kept({"logits": logits}, keep)


def inputs_of_other(other: nn.Module, names: Collection[str], forward: Forward | None) -> Source:
    """Return what the layers of the same names are given in another model, as their targets."""
    source = ModelSource(other, list(names), forward, f"inputs of the other {type(other).__name__}", tap="input")
    source.by_layer = True
    return source
