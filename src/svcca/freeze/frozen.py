"""What it takes for a part of a network to stand still: gradients, normalisation and the optimiser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import LBFGS, Optimizer
from torch.utils.hooks import RemovableHandle

from svcca.errors import InputError, message
from svcca.freeze.blocks import Block, roots_of

if TYPE_CHECKING:  # torch can be built without it
    from torch.distributed import ProcessGroup


class FrozenBlock:
    """A block that stands still until it is thawed.

    Its parameters ask for no gradient, so that the backward pass ends above it; its modules stay in evaluation mode,
    whatever `model.train()` says, so that batch normalisation uses its stored statistics and dropout is off; the
    optimiser's state of its parameters is released. They stay in the optimiser's groups, so that schedulers and saved
    optimisers fit: without a gradient no optimiser moves them, by weight decay or momentum neither.

    Args:
        model: The network, without wrappers.
        block: What to freeze.
        optimizers: Where its parameters' state is.

    Attributes:
        learned: The parameters that learned until now; others had been frozen by their owner.
    """

    def __init__(self, model: nn.Module, block: Block, optimizers: Sequence[Optimizer]) -> None:
        parameters = [model.get_parameter(name) for name in block.parameters]
        self.learned = [parameter for parameter in parameters if parameter.requires_grad]
        for parameter in self.learned:
            parameter.requires_grad_(False)
            parameter.grad = None
            for optimizer in optimizers:
                optimizer.state.pop(parameter, None)
        self._roots = roots_of(model, block)
        self._handles: list[RemovableHandle] = []
        for root in self._roots:
            self._handles.append(root.register_forward_pre_hook(_stay_in_evaluation))
            root.eval()

    def thaw(self, training: bool) -> None:
        """Let the block learn again, in the mode of the rest of the network."""
        for parameter in self.learned:
            parameter.requires_grad_(True)
        for handle in self._handles:
            handle.remove()
        for root in self._roots:
            root.train(training)


def _stay_in_evaluation(module: nn.Module, inputs: object) -> None:
    """Undo `model.train()` before the block runs. A function of a module, so that models are still copied and saved."""
    if module.training:
        module.eval()


def check_optimizers(model: nn.Module, blocks: Sequence[Block], optimizers: Sequence[Optimizer]) -> None:
    """Make sure that the optimisers hold what is to be frozen, and leave alone what has no gradient.

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
    """Give the processes that train a model together; None for a model on its own.

    Raises:
        InputError: For DistributedDataParallel that cannot do without a gradient of every parameter.
    """
    if not isinstance(model, DistributedDataParallel):
        return None
    if not model.find_unused_parameters:
        cause = "Otherwise it waits for the gradients of frozen parameters, and the next step fails"
        remedy = "Wrap the model with DistributedDataParallel(model, find_unused_parameters=True)"
        raise InputError(message("FreezeTraining model", "find_unused_parameters=True", "False", cause, remedy))
    group: ProcessGroup = model.process_group
    return group


def is_compiled(model: nn.Module) -> bool:
    """Tell whether torch.compile has been at a model or a part of it."""
    return any(
        "_orig_mod" in module._modules or getattr(module, "_compiled_call_impl", None) is not None
        for module in model.modules()
    )
