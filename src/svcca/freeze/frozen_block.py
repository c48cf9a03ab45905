"""A block that stands still: its gradients, its mode and the optimiser's state of it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from svcca.freeze.blocks import Block, roots_of


class FrozenBlock:
    """Freeze a block until it is thawed.

    Its parameters require no gradient, so the backward pass ends above it. Its modules stay in evaluation mode,
    whatever `model.train()` says: batch normalisation uses its stored statistics and dropout is off. The optimiser's
    state of its parameters is released. The parameters stay in the optimiser's groups, so schedulers and saved
    optimisers fit; without a gradient neither weight decay nor momentum moves them.

    Args:
        model: Network, without wrappers.
        block: Block to freeze.
        optimizers: Optimisers that hold its parameters.

    Attributes:
        learned: Its parameters that learned until now; the others had been frozen by their owner.
    """

    def __init__(self, model: nn.Module, block: Block, optimizers: Sequence[Optimizer]) -> None:
        parameters = [model.get_parameter(name) for name in block.parameters]
        self.learned = [parameter for parameter in parameters if parameter.requires_grad]
        for parameter in self.learned:
            parameter.requires_grad_(False)
            parameter.grad = None
            for optimizer in optimizers:
                optimizer.state.pop(parameter, None)
        self.roots = roots_of(model, block)
        self._handles: list[RemovableHandle] = []
        for root in self.roots:
            self._handles.append(root.register_forward_pre_hook(_stay_in_evaluation))
            root.eval()

    def thaw(self, training: bool) -> None:
        """Let the block learn again, in the mode of the rest of the network."""
        for parameter in self.learned:
            parameter.requires_grad_(True)
        for handle in self._handles:
            handle.remove()
        for root in self.roots:
            root.train(training)


def _stay_in_evaluation(module: nn.Module, inputs: object) -> None:
    """Undo `model.train()` before the block runs. A module-level function, so that models can be copied and saved."""
    if module.training:
        module.eval()
