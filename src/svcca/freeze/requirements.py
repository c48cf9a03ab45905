"""What Freeze Training requires: optimisers that fit, and processes that freeze alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import LBFGS, Optimizer

from svcca.errors import InputError, message
from svcca.freeze.blocks import Block

if TYPE_CHECKING:  # torch can be built without it
    from torch.distributed import ProcessGroup


def check_optimizers(model: nn.Module, blocks: Sequence[Block], optimizers: Sequence[Optimizer]) -> None:
    """Check that the optimisers hold the blocks' parameters, and leave alone what has no gradient.

    Raises:
        InputError: If they do not.
    """
    where = "FreezeTraining optimizer"
    for optimizer in optimizers:
        if not isinstance(optimizer, Optimizer):
            raise InputError(message(where, "a torch.optim.Optimizer", type(optimizer).__name__))
        if isinstance(optimizer, LBFGS):
            cause = "It steps along all parameters at once, with or without gradient, and would move frozen ones"
            raise InputError(message(where, "one that leaves alone what has no gradient", "LBFGS", cause))
    held = {id(p) for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}
    strangers = [
        name
        for block in blocks
        for name in block.parameters
        if model.get_parameter(name).requires_grad and id(model.get_parameter(name)) not in held
    ]
    if strangers:
        got = f"without {', '.join(strangers[:5])}" + (f" and {len(strangers) - 5} more" if strangers[5:] else "")
        cause = "It was built for another model, before a copy, or for some parameters only"
        remedy = "Build it from this model's parameters, or name blocks that it trains"
        raise InputError(message(where, "groups that hold the blocks' parameters", got, cause, remedy))


def training_group(model: nn.Module) -> ProcessGroup | None:
    """Return the processes that train a model together; None for a model without DistributedDataParallel.

    Raises:
        InputError: If DistributedDataParallel waits for a gradient of every parameter.
    """
    if not isinstance(model, DistributedDataParallel):
        return None
    if not model.find_unused_parameters:
        cause = "Otherwise it waits for the gradients of frozen parameters, and the next step fails"
        remedy = "Wrap the model with DistributedDataParallel(model, find_unused_parameters=True)"
        raise InputError(message("FreezeTraining model", "find_unused_parameters=True", "False", cause, remedy))
    group: ProcessGroup = model.process_group
    return group
