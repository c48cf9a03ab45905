"""One pass over the data whose rows are folded into the moments of all pairs of layers, or kept as they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from svcca.capture.rules import Observe, choose_rules, common_rule, pooled_by_default
from svcca.capture.sources import Source
from svcca.capture.stream import ObservedNetwork, stream
from svcca.core.accumulator import Accumulator


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
    *,
    targets: bool = False,
) -> Pass:
    """Run every batch once through both networks and fold their rows.

    Args:
        a: The network of the rows.
        b: The network, or the targets, of the columns; None compares `a` with itself.
        data: Batches; None where both networks are arrays.
        observe: Observation rule, or rules by layer.
        accumulator: What folds the rows.
        progress: Whether to show a bar; None: on a terminal.
        targets: Whether `b` holds targets, which are vectors whatever the rule is.

    Raises:
        InputError: For anything about a batch or a layer that cannot be compared; the message names it.
    """
    networks = [ObservedNetwork(source) for source in (a, b) if source is not None]
    choose = partial(choose_rules, observe, targets=targets)
    with stream(networks, data, choose, aligned=True, progress=progress) as batches:
        for number, batch in enumerate(batches):
            if number == 0:
                shapes = [_shapes(network, rows) for network, rows in zip(networks, batch.rows, strict=True)]
                common_rule(observe).check_layers(shapes[0], shapes[-1])
            blocks = [list(rows.values()) for rows in batch.rows]
            device = blocks[0][0].device
            accumulator.update(*([block.to(device) for block in own] for own in blocks))
    for network in networks[: len(networks) - targets]:
        network.pooled_by_default = pooled_by_default(observe, network.shapes)
    return Pass(accumulator, tuple(networks), tuple(left_out(networks)))


def kept_rows(
    network: ObservedNetwork,
    data: Iterable[Any] | None,
    observe: Observe,
    progress: bool | None,
    device: torch.device | None = None,
) -> dict[str, Tensor]:
    """Run every batch once and keep the rows of each layer, in their own dtype, by label in order of execution.

    Args:
        network: The network.
        data: Batches.
        observe: Observation rule, or rules by layer.
        progress: Whether to show a bar; None: on a terminal.
        device: Where the rows are kept; None: where the network puts them.

    Raises:
        InputError: For anything about a batch or a layer that cannot be observed; the message names it.
    """
    pieces: dict[str, list[Tensor]] = {}
    with stream([network], data, partial(choose_rules, observe), aligned=True, progress=progress) as batches:
        for batch in batches:
            for name, block in batch.rows[0].items():
                pieces.setdefault(name, []).append(block.to(device or block.device))
    # Popped: of one layer at a time there are two copies, not of all.
    return {name: _joined(pieces.pop(name)) for name in list(pieces)}


def _joined(blocks: list[Tensor]) -> Tensor:
    return torch.cat(blocks) if len(blocks) > 1 else blocks[0]


def left_out(networks: Sequence[ObservedNetwork]) -> Iterator[str]:
    """Write a note for each network about the layers that do not put samples first."""
    for network in networks:
        if network.dropped:
            names = ", ".join(network.dropped)
            yield f"{network.source.title}: left out, since their outputs do not put samples first: {names}."


def _shapes(network: ObservedNetwork, rows: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each layer's rows in a batch, by network and layer."""
    return {f"{network.source.title} {name!r}": tuple(block.shape) for name, block in rows.items()}
