"""Both networks over the same batches: each layer's rows, batch by batch, checked and aligned."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

from torch import Tensor

from svcca.capture.batches import attention_mask, batch_size
from svcca.capture.hooks import preserved_rng
from svcca.capture.layers import matches, unmatched
from svcca.capture.observations import Fourier, Observation, size_in_words
from svcca.capture.rules import Observe, choose_rules, fourier_rule, pooled_by_default
from svcca.capture.sources import ArraySource, Source
from svcca.core.arrays import check_finite
from svcca.errors import InputError, SampleError, message
from svcca.fourier.frequencies import match_frequencies
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
    """A network during a pass: its source, and its layers' rules and widths once the first batch has settled them."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.layers: tuple[ObservedLayer, ...] = ()
        self.dropped: list[str] = []
        self.n_inputs = 0
        self.pooled_by_default: Mapping[str, tuple[int, ...]] = {}
        self._rules: Mapping[str, Observation] = {}
        self._mask: Tensor | None = None
        self._where = ""

    def first(self, batch: object, samples: slice, where: str) -> dict[str, Tensor]:
        """Outputs of the first batch; layers that do not put samples first are left out, or refused if named."""
        outputs = self.source.outputs(batch, samples, where)
        n_samples = samples.stop - samples.start
        fitting = {name: o for name, o in outputs.items() if o.ndim > 0 and o.shape[0] == n_samples}
        odd = [name for name in outputs if name not in fitting]
        refused = [name for name in odd if self.source.named_outright(name) or not fitting]
        if refused:
            got = f"shape {tuple(outputs[refused[0]].shape)}"
            cause = "A time-major or batch-free output has no row for each sample"
            expected = f"an output with the batch's {n_samples} samples along its first axis"
            raise InputError(
                message(f"{self.source.title} {refused[0]!r}, {where}", expected, got, cause, "Leave it out")
            )
        self.dropped = odd
        return fitting

    def settle(self, rules: Mapping[str, Observation], shapes: Mapping[str, Sequence[int]]) -> None:
        """Fix each layer's rule for the rest of the pass."""
        self._rules, self._shapes = rules, shapes
        self.source.settle(list(rules), self._observe)

    def observed(self, outputs: Mapping[str, Tensor], batch: object, where: str) -> list[Tensor]:
        """Rows of the first batch's outputs."""
        self._expect(batch, where)
        rows = {name: self._observe(name, output) for name, output in outputs.items()}
        self.layers = tuple(
            ObservedLayer(name, tuple(block.shape[1:]), rule.describe(shape), tuple(rule.positions(shape)))
            for name, block in rows.items()
            for rule, shape in [(self._rules[name], self._shapes[name])]
        )
        return self._checked(rows, where)

    def rows(self, batch: object, samples: slice, where: str) -> list[Tensor]:
        """Rows of a later batch."""
        self._expect(batch, where)
        return self._checked(self.source.outputs(batch, samples, where), where)

    def _expect(self, batch: object, where: str) -> None:
        self._mask, self._where = attention_mask(batch), where

    def _observe(self, name: str, output: Tensor) -> Tensor:
        """Apply the layer's rule; called inside the hook, so what is kept must not share the output's memory."""
        rows = self._rules[name].rows(output, self._mask, f"{self.source.title} {name!r}, {self._where}")
        shared = rows.untyped_storage().data_ptr() == output.untyped_storage().data_ptr()
        return rows.clone() if shared and not isinstance(self.source, ArraySource) else rows

    def _checked(self, rows: Mapping[str, Tensor], where: str) -> list[Tensor]:
        for layer in self.layers:
            block = rows[layer.name]
            place = f"{self.source.title} {layer.name!r}, {where}"
            if block.shape[1:] != layer.shape:
                cause, remedy = (
                    "The layer's output changes its size between batches",
                    "Observe it by 'pool' or 'tokens'",
                )
                got, expected = (size_in_words(shape) for shape in (block.shape[1:], layer.shape))
                raise InputError(message(place, f"{expected} features, as in the first batch", got, cause, remedy))
            check_finite(block, place)
        return [rows[layer.name] for layer in self.layers]


def observed_rows(
    networks: list[ObservedNetwork], data: Iterable[Any] | None, observe: Observe, progress: bool | None
) -> Generator[list[list[Tensor]], None, None]:
    """Run every batch once through every network; give the rows of each network's layers, aligned by sample.

    Args:
        networks: One network or two; their `layers` are settled once the first batch is through.
        data: Batches; None where all networks are arrays.
        observe: Observation rule, or rules by layer.
        progress: Whether to show a bar; None: on a terminal.

    Raises:
        InputError: For anything about a batch or a layer that cannot be compared; the message names it.
    """
    with ExitStack() as stack:
        stack.enter_context(preserved_rng([network.source.device for network in networks]))
        for network in networks:
            stack.enter_context(network.source)
        n_samples = n_rows = 0
        for number, (batch, size) in enumerate(track(_SizedBatches(data, networks), "Batches", progress)):
            where, samples = f"batch {number}", slice(n_samples, n_samples + size)
            blocks = _first_rows(networks, batch, samples, where, observe) if number == 0 else []
            blocks = blocks or [network.rows(batch, samples, where) for network in networks]
            _check_aligned(networks, blocks, where)
            n_samples, n_rows = samples.stop, n_rows + blocks[0][0].shape[0]
            for network in networks:
                network.n_inputs = n_samples
            yield blocks
    _check_enough(n_rows, n_samples, networks)


class _SizedBatches:
    """Batches with the number of samples in each; slices of the arrays where there are no data.

    A class, so that a progress bar can ask for the length.
    """

    def __init__(self, data: Iterable[Any] | None, networks: list[ObservedNetwork]) -> None:
        self._data = data
        self._lengths = {s.source.title: s.source.n_samples for s in networks if isinstance(s.source, ArraySource)}

    def __len__(self) -> int:
        if self._data is None:
            return -(-next(iter(self._lengths.values())) // ARRAY_BATCH)
        return len(self._data)  # type: ignore[arg-type]  # a TypeError here says: no length

    def __iter__(self) -> Iterator[tuple[Any, int]]:
        seen = 0
        if self._data is None:
            total = next(iter(self._lengths.values()))
            for seen in range(0, total, ARRAY_BATCH):
                yield None, min(ARRAY_BATCH, total - seen)
            seen = total
        else:
            for number, batch in enumerate(self._data):
                size = batch_size(batch, f"batch {number}")
                yield batch, size
                seen += size
        for title, length in self._lengths.items():
            if length != seen:
                cause = "The two were captured over different inputs"
                got = f"{length} in {title} and {seen} in the other"
                raise SampleError(message("compare", "as many samples in both networks", got, cause))


def _first_rows(
    networks: list[ObservedNetwork], batch: object, samples: slice, where: str, observe: Observe
) -> list[list[Tensor]]:
    """Run the first batch, settle every rule on both networks together, and give its rows."""
    outputs = [network.first(batch, samples, where) for network in networks]
    _check_observe(observe, [name for network_outputs in outputs for name in network_outputs])
    shapes = [{name: tuple(output.shape) for name, output in each.items()} for each in outputs]
    blocks = []
    for network, rules, own, each in zip(networks, choose_rules(observe, shapes), shapes, outputs, strict=True):
        network.settle(rules, own)
        network.pooled_by_default = pooled_by_default(observe, own)
        blocks.append(network.observed(each, batch, where))
    _check_frequencies(networks, fourier_rule(observe))
    return blocks


def _check_observe(observe: Observe, names: list[str]) -> None:
    """Raise LayerError for a pattern of `observe` that fits no layer."""
    patterns = list(observe) if isinstance(observe, Mapping) else []
    idle = [pattern for pattern in patterns if not any(matches(name, pattern) for name in names)]
    if idle:
        raise unmatched("observe", idle, list(dict.fromkeys(names)))


def _check_aligned(networks: list[ObservedNetwork], blocks: list[list[Tensor]], where: str) -> None:
    """Raise SampleError unless every layer of both networks gave the same number of rows."""
    counts = [
        (f"{network.source.title} {layer.name!r} ({layer.observation})", block.shape[0])
        for network, network_blocks in zip(networks, blocks, strict=True)
        for layer, block in zip(network.layers, network_blocks, strict=True)
    ]
    _check_positions(networks)
    first_name, first = counts[0]
    for name, count in counts[1:]:
        if count != first:
            raise SampleError(
                message(
                    where,
                    "the same number of rows from every layer",
                    f"{first} from {first_name} and {count} from {name}",
                    "Their observation rules count different things as a sample",
                    "Choose one that gives a row a sample: observe='pool' for maps, 'mean_token' for tokens",
                )
            )


def _check_positions(networks: list[ObservedNetwork]) -> None:
    """Raise SampleError where the same number of rows comes from other places."""
    layers = [(network.source.title, layer) for network in networks for layer in network.layers if layer.positions]
    for (first_title, first), (title, layer) in pairwise(layers):
        if layer.positions != first.positions:
            got = f"{first.positions} in {first_title} {first.name!r} and {layer.positions} in {title} {layer.name!r}"
            remedy = "Compare layers of one size, or choose observe='pool'"
            raise SampleError(message("compare", "the same positions in every layer", got, "", remedy))


def _check_frequencies(networks: list[ObservedNetwork], rule: Fourier | None) -> None:
    """Raise InputError, with the names, for two layers whose maps have no frequencies in common."""
    if rule is None:
        return
    if all(len(layer.shape) == 1 for network in networks for layer in network.layers):
        got, remedy = "vectors only", "Use observe='flatten'"
        raise InputError(message("observe='fourier'", "a layer of maps (n_samples, channels, *sizes)", got, "", remedy))
    if rule.resize == "interpolate":
        return
    for x, y in product(networks[0].layers, networks[-1].layers):
        where = f"{networks[0].source.title} {x.name!r} and {networks[-1].source.title} {y.name!r}"
        match_frequencies(x.shape[1:], y.shape[1:], rule.resize, where)


def _check_enough(n_rows: int, n_samples: int, networks: list[ObservedNetwork]) -> None:
    if n_rows < 2:
        titles = " and ".join(network.source.title for network in networks)
        got = f"{n_samples} sample{'s' if n_samples != 1 else ''}"
        cause = "The loader is empty or was used up before" if n_samples == 0 else ""
        raise SampleError(message(f"data for {titles}", "at least 2 samples", got, cause))
