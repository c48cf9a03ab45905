"""One pass over the data: the rows of all layers folded into the moments of all pairs, or kept as they are."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from svcca.capture.observed import ObservedNetwork, observed_rows
from svcca.capture.rules import Observe
from svcca.capture.sources import Source
from svcca.core.grid import GridAccumulator
from svcca.errors import SvccaWarning
from svcca.fourier.grid import FourierAccumulator

Accumulator = GridAccumulator | FourierAccumulator
"""What folds batches of all layers."""


@dataclass(frozen=True)
class Pass:
    """What one pass over the data left behind."""

    accumulator: Accumulator
    networks: tuple[ObservedNetwork, ...]
    warnings: tuple[str, ...]


def run_pass(
    a: Source,
    b: Source | None,
    data: Iterable[Any] | None,
    observe: Observe,
    accumulator: Accumulator,
    progress: bool | None,
) -> Pass:
    """Run every batch once through both networks and fold their rows.

    Args:
        a: The network of the rows.
        b: The network of the columns; None compares `a` with itself.
        data: Batches; None where both networks are arrays.
        observe: Observation rule, or rules by layer.
        accumulator: What folds the rows.
        progress: Whether to show a bar; None: on a terminal.

    Raises:
        InputError: For anything about a batch or a layer that cannot be compared; the message names it.
    """
    networks = [ObservedNetwork(source) for source in (a, b) if source is not None]
    # closing: should folding fail, the models are handed back at once, not when the generator happens to be collected.
    with closing(observed_rows(networks, data, observe, progress)) as batches:
        for blocks in batches:
            device = blocks[0][0].device
            accumulator.update(*([block.to(device) for block in network_blocks] for network_blocks in blocks))
    return Pass(accumulator, tuple(networks), tuple(_left_out(networks)))


def collect_rows(
    source: Source, data: Iterable[Any] | None, observe: Observe, progress: bool | None
) -> dict[str, Tensor]:
    """Run every batch once and keep each layer's rows, on the CPU and in their own dtype."""
    network = ObservedNetwork(source)
    with closing(observed_rows([network], data, observe, progress)) as batches:
        pieces = [[block.cpu() for block in blocks[0]] for blocks in batches]
    for note in _left_out([network]):
        warnings.warn(note, SvccaWarning, stacklevel=3)
    names = [layer.name for layer in network.layers]
    return {name: torch.cat(parts) for name, parts in zip(names, zip(*pieces, strict=True), strict=True)}


def _left_out(networks: list[ObservedNetwork]) -> Iterator[str]:
    for network in networks:
        if network.dropped:
            names = ", ".join(network.dropped)
            yield f"{network.source.title}: left out, since their outputs do not put samples first: {names}."
