"""Rows of a model's layers, in memory: what to save, or to hand to any other tool."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from svcca.capture.accumulate import kept_rows, left_out
from svcca.capture.batches import Forward, batches_of
from svcca.capture.rules import Observe
from svcca.capture.sources import ModelSource
from svcca.capture.stream import ObservedNetwork
from svcca.errors import SvccaWarning


def activations(
    model: nn.Module,
    data: object,
    *,
    layers: str | Sequence[str] | None = None,
    observe: Observe = "auto",
    forward: Forward | None = None,
    progress: bool | None = None,
) -> dict[str, Tensor]:
    """Capture the rows of a model's layers in one pass, to be compared or saved later.

    The arguments are those of `compare`. For a comparison of two live models use `compare`, which keeps moments instead
    of rows.

    Returns:
        Rows (n_samples, n_features) of each layer, in order of execution, on the CPU, in the layer's own dtype.

    Raises:
        LayerError: For a layer or pattern that is not there.
        InputError: For a batch or layer that cannot be observed; the message names it.

    Cost:
        Memory for all rows: n_samples times the sum of the layers' widths.

    >>> import torch
    >>> rows = activations(torch.nn.Linear(3, 2), torch.randn(10, 3))
    >>> {name: tuple(block.shape) for name, block in rows.items()}
    {'(model)': (10, 2)}
    """
    network = ObservedNetwork(ModelSource(model, layers, forward, type(model).__name__))
    rows = kept_rows(network, batches_of(data), observe, progress, torch.device("cpu"))
    for note in left_out([network]):
        warnings.warn(note, SvccaWarning, stacklevel=2)
    return {name: block.contiguous() for name, block in rows.items()}
