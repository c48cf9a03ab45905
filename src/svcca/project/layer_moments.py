"""One pass over the data: the moments of layers as a projection sees them, beside those of a target."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from svcca.capture.batches import batches_of
from svcca.capture.folding import MomentsFold
from svcca.capture.observations import Flatten
from svcca.capture.rules import PROJECTABLE, Observe, choose_projectable
from svcca.capture.sources import Source
from svcca.capture.stream import ObservedNetwork, stream
from svcca.core.moments import JointMoments, Moments
from svcca.errors import InputError, message


@dataclass(frozen=True, eq=False)
class LayerMoments:
    """A layer over the data.

    Attributes:
        layer: Name of the layer.
        observation: "flatten", "pixels" or "tokens".
        shape: What the features are: the shape of a sample's output for "flatten", otherwise (n_features,).
        moments: Moments of its rows.
        activation: Mean absolute activation of each unit, (n_features,), float64.
        joint: Moments with the target, where there is one.
    """

    layer: str
    observation: str
    shape: tuple[int, ...]
    moments: Moments
    activation: Tensor
    joint: JointMoments | None


def measure_layers(
    source: Source, data: object, target: Source | None, observe: Observe, progress: bool | None
) -> tuple[list[LayerMoments], list[str]]:
    """Run the data once through a model and take the moments of layers, and with a target.

    Args:
        source: The layers of the model.
        data: Its inputs, as for `compare`.
        target: The target that stands beside them; None for none.
        observe: A rule, or rules by layer.
        progress: Whether to show a bar.

    Returns:
        The layers in order of execution, and the names of those left out.

    Raises:
        LayerError: For a layer that is not there, or runs several times in a forward pass.
        InputError: For rows or a rule that cannot be used.
        SampleError: For fewer than two rows, or a target for another number of samples.
    """
    network, fold, absolute = ObservedNetwork(source), MomentsFold(), dict[str, Tensor]()
    choose = partial(choose_projectable, observe, named_outright=source.named_outright)
    with stream([network], batches_of(data), choose, beside=target, progress=progress) as batches:
        for batch in batches:
            for name, rows in batch.rows[0].items():
                if rows.is_complex():
                    raise InputError(message(f"directions of {name!r}", "a real layer", "a complex one"))
                size = rows.abs().sum(dim=0, dtype=torch.float64)
                absolute[name] = absolute[name] + size if name in absolute else size
            fold.update(batch)
    found = []
    for name, (moments, joint) in fold.finish().items():
        rule = network.rules[name]
        shape = network.shapes[name][1:] if isinstance(rule, Flatten) else (moments.n_features,)
        activation = absolute[name] / moments.n_samples
        found.append(LayerMoments(name, PROJECTABLE[type(rule)], shape, moments, activation, joint))
    return found, network.dropped
