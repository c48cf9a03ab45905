"""The one loop over batches: each layer's rows, batch by batch, checked and aligned, and targets beside them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from svcca.capture.batches import Batch, batch_size, too_few_samples
from svcca.capture.hooks import Keep, preserved_rng
from svcca.capture.observations import Observation, size_in_words
from svcca.capture.rules import Choose
from svcca.capture.sources import ArraySource, Source, check_patterns
from svcca.capture.targets import rows_beside
from svcca.core.arrays import check_finite
from svcca.errors import InputError, SampleError, message
from svcca.progress import track

ARRAY_BATCH = 4096
"""Samples at a time where every network is arrays in memory."""


@dataclass(frozen=True)
class ObservedLayer:
    """A layer as it was observed: its label, the shape of its rows, the rule, described, and its positions."""

    name: str
    shape: tuple[int, ...]
    observation: str
    positions: tuple[int, ...]

    @property
    def n_features(self) -> int:
        """Width of a row: of the flattened map, where rows are maps."""
        return math.prod(self.shape)


class ObservedNetwork:
    """A network during a pass over the data.

    Attributes:
        source: Where its tensors come from.
        layers: Its layers, known from the first batch on, as are the three that follow.
        rules: Rule of each layer, by label.
        shapes: Shape of each layer's tensor in the first batch, by label.
        dropped: Labels of the layers that were left out.
        n_inputs: Number of samples seen.
        pooled_by_default: Shapes of the maps that a comparison observed by "pool" without being told to.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.layers: tuple[ObservedLayer, ...] = ()
        self.rules: Mapping[str, Observation] = {}
        self.shapes: Mapping[str, tuple[int, ...]] = {}
        self.dropped: list[str] = []
        self.n_inputs = 0
        self.pooled_by_default: Mapping[str, tuple[int, ...]] = {}

    def place(self, name: str, where: str) -> str:
        """Name a layer and a batch in messages."""
        return f"{self.source.title} {name!r}, {where}"

    def first_tensors(self, batch: Batch) -> dict[str, Tensor]:
        """Return the tensors of the first batch, without layers that do not put samples first.

        Raises:
            InputError: If such a layer was named, or there is no other.
        """
        tensors = dict(self.source.tensors(batch))
        if not self.source.samples_first:
            return tensors
        self.dropped = [name for name, tensor in tensors.items() if tuple(tensor.shape[:1]) != (batch.size,)]
        for name in self.dropped:
            if self.source.named_outright(name) or len(self.dropped) == len(tensors):
                self._check_samples(name, tensors[name].shape, batch)
        return {name: tensor for name, tensor in tensors.items() if name not in self.dropped}

    def settle(self, shapes: Mapping[str, tuple[int, ...]], rules: Mapping[str, Observation]) -> None:
        """Fix each layer's rule for the rest of the pass; layers without one are left out.

        Raises:
            InputError: If no layer is left.
        """
        self.shapes, self.rules = shapes, rules
        self.dropped += [name for name in shapes if name not in rules]
        if not rules:
            got = f"{', '.join(map(repr, self.dropped[:5]))}, which cannot be"
            raise InputError(message(f"layers of {self.source.title}", "a layer that can be observed", got))

    def rows(self, keep: Keep, first: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
        """Return the rows of each layer in a batch, by label, checked.

        Args:
            keep: What is kept of the batch.
            first: The tensors of the first batch, which has been run already; None for any other.

        Raises:
            InputError: If rows are not finite, not as wide as in the first batch, or not of the batch's samples.
        """
        if first is None:
            found = self.source.tensors(keep.batch, keep)
        else:
            found = {name: keep.rows(name, first[name]) for name in self.rules}
            self.layers = tuple(self._observed(name, block) for name, block in found.items())
        rows = {layer.name: found[layer.name] for layer in self.layers}
        for layer in self.layers:
            if self.source.samples_first:
                self._check_samples(layer.name, keep.shapes[layer.name], keep.batch)
            _check_rows(rows[layer.name], layer.shape, self.place(layer.name, keep.batch.where))
        self.n_inputs = keep.batch.samples.stop
        return rows

    def _check_samples(self, name: str, shape: Sequence[int], batch: Batch) -> None:
        if tuple(shape[:1]) != (batch.size,):
            expected = f"an output with the batch's {batch.size} samples along its first axis"
            cause = "A time-major or batch-free output has no row for each sample"
            got = f"shape {tuple(shape)}"
            raise InputError(message(self.place(name, batch.where), expected, got, cause, "Leave it out"))

    def _observed(self, name: str, block: Tensor) -> ObservedLayer:
        rule, shape = self.rules[name], self.shapes[name]
        return ObservedLayer(name, tuple(block.shape[1:]), rule.describe(shape), tuple(rule.positions(shape)))


@dataclass(frozen=True)
class Streamed:
    """What one batch gives.

    Attributes:
        rows: For each network, the rows of each layer, by label in order of execution.
        targets: For each layer of the first network, the rows of the targets beside its own; empty without targets.
    """

    rows: tuple[dict[str, Tensor], ...]
    targets: dict[str, Tensor]


@contextmanager
def stream(
    networks: Sequence[ObservedNetwork],
    data: Iterable[Any] | None,
    choose: Choose,
    *,
    beside: Source | None = None,
    aligned: bool = False,
    title: str = "Batches",
    progress: bool | None = None,
) -> Iterator[Iterator[Streamed]]:
    """Open one pass over the data: every batch is run once through every network.

    The first batch is kept as it is until `choose` has fixed every layer's rule; from the second on, rules are applied
    inside the hooks, so that no more than the rows is in memory. On leaving, models and random state are as they were
    found, after an error too.

    Args:
        networks: One network or two; their layers are known once the first batch is through.
        data: Batches; None where all networks are arrays.
        choose: Fixes the rules of all layers from the shapes in the first batch.
        beside: Targets whose rows stand beside those of each layer of the first network.
        aligned: Whether every layer of both networks must give the same rows of the same samples.
        title: What the progress bar says.
        progress: Whether to show a bar; None: on a terminal.

    Yields:
        What each batch gives, one after another.

    Raises:
        LayerError: For a name or pattern that selects no layer, or a layer that does not run as in the first batch.
        InputError: For anything about a batch or a layer that cannot be used; the message names both.
        SampleError: For fewer than two rows, or sources of other numbers of samples.
    """
    sources = [*(network.source for network in networks), *([] if beside is None else [beside])]
    check_patterns(sources)
    with ExitStack() as stack:
        stack.enter_context(preserved_rng([source.device for source in sources]))
        for source in sources:
            stack.enter_context(source)
        if data is None:  # arrays alone: batches of their places
            n_samples = next(source.n_samples for source in sources if isinstance(source, ArraySource))
            data = torch.split(torch.arange(n_samples), ARRAY_BATCH)
        batches = _streamed(networks, sources, track(data, title, progress), choose, beside, aligned)
        # closing: should the caller fail, the progress bar ends at once, not when the generator is collected.
        yield stack.enter_context(closing(batches))


def _streamed(
    networks: Sequence[ObservedNetwork],
    sources: Sequence[Source],
    data: Iterator[Any],
    choose: Choose,
    beside: Source | None,
    aligned: bool,
) -> Generator[Streamed, None, None]:
    n_samples, n_rows, widths = 0, Counter[str](), dict[str, int]()
    for number, each in enumerate(data):
        size = batch_size(each, f"batch {number}")
        batch = Batch(each, number, slice(n_samples, n_samples + size))
        n_samples += size
        first = _start(networks, batch, choose) if number == 0 else [None] * len(networks)
        keeps = [Keep(network.rules, batch, network.source.title) for network in networks]
        rows = [network.rows(keep, own) for network, keep, own in zip(networks, keeps, first, strict=True)]
        del first
        if aligned:
            _check_aligned(networks, rows, batch.where)
        targets = {} if beside is None else _targets(networks[0], beside, keeps[0], rows[0], widths)
        n_rows.update({name: len(block) for name, block in rows[0].items()})
        yield Streamed(tuple(rows), targets)
    if min(n_rows.values(), default=0) < 2:
        raise too_few_samples(" and ".join(network.source.title for network in networks), n_samples)
    for source in sources:
        source.finish(n_samples)


def _start(networks: Sequence[ObservedNetwork], batch: Batch, choose: Choose) -> list[dict[str, Tensor]]:
    """Run the first batch and fix the rules of all networks together; return its tensors."""
    first = [network.first_tensors(batch) for network in networks]
    shapes = [{name: tuple(tensor.shape) for name, tensor in tensors.items()} for tensors in first]
    for network, own, rules in zip(networks, shapes, choose(shapes), strict=True):
        network.settle(own, rules)
    return first


def _targets(
    network: ObservedNetwork, beside: Source, keep: Keep, rows: Mapping[str, Tensor], widths: dict[str, int]
) -> dict[str, Tensor]:
    """Return the rows of the targets beside those of each layer, and remember their widths."""
    batch = keep.batch
    blocks, found = beside.tensors(batch), {}
    for name, block in rows.items():
        where = f"targets of {network.place(name, batch.where)}"
        parts = [blocks[name]] if beside.by_layer else list(blocks.values())
        target = (torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]).to(block.device)
        target = rows_beside(target, keep.shapes[name], network.rules[name], batch.mask, batch.size, where)
        _check_rows(target, (widths.setdefault(name, target.shape[1]),), where)
        found[name] = target
    return found


def _check_rows(block: Tensor, shape: Sequence[int], where: str) -> None:
    """Raise InputError unless rows are finite and have the shape of those in the first batch."""
    if tuple(block.shape[1:]) != tuple(shape):
        got, expected = (size_in_words(each) for each in (block.shape[1:], shape))
        cause = "The layer's size changes between batches"
        remedy = "Observe it by 'pool' or 'tokens'"
        raise InputError(message(where, f"{expected} features, as in the first batch", got, cause, remedy))
    check_finite(block, where)


def _check_aligned(networks: Sequence[ObservedNetwork], rows: Sequence[Mapping[str, Tensor]], where: str) -> None:
    """Raise SampleError unless every layer of both networks gave the same number of rows from the same positions."""
    layers = [(network, layer) for network in networks for layer in network.layers]
    placed = [(network.source.title, layer) for network, layer in layers if layer.positions]
    for (first_title, first), (title, layer) in pairwise(placed):
        if layer.positions != first.positions:
            got = f"{first.positions} in {first_title} {first.name!r} and {layer.positions} in {title} {layer.name!r}"
            remedy = "Compare layers of one size, or choose observe='pool'"
            raise SampleError(message(where, "the same positions in every layer", got, "", remedy))
    counts = [
        (f"{network.source.title} {layer.name!r} ({layer.observation})", len(blocks[layer.name]))
        for network, blocks in zip(networks, rows, strict=True)
        for layer in network.layers
    ]
    first_name, first_count = counts[0]
    for name, count in counts[1:]:
        if count != first_count:
            got = f"{first_count} from {first_name} and {count} from {name}"
            cause = "Their observation rules count different things as a sample"
            remedy = "Choose one that gives a row a sample: observe='pool' for maps, 'mean_token' for tokens"
            raise SampleError(message(where, "the same number of rows from every layer", got, cause, remedy))
