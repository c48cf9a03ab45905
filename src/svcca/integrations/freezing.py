"""Freeze Training by callback: what the callbacks of Lightning and Hugging Face share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.optim import Optimizer

from svcca.freeze import BlockSpec, FreezeTraining, Schedule

if TYPE_CHECKING:  # torch can be built without it
    from torch.distributed import ProcessGroup


class FreezingCallback:
    """Keep the arguments of `FreezeTraining` until training starts, and run it from then on.

    Args:
        blocks: Blocks as for `FreezeTraining`. Default: those found in the network.
        schedule: Schedule as for `FreezeTraining`; its steps are those of the optimiser.

    Attributes:
        freezer: `FreezeTraining` of this run, with its `summary()`; None before training starts.
    """

    def __init__(
        self,
        blocks: Sequence[BlockSpec] | None = None,
        schedule: Schedule = "linear",
    ) -> None:
        super().__init__()
        self.freezer: FreezeTraining | None = None
        self._blocks, self._schedule = blocks, schedule

    def _start(
        self,
        model: nn.Module,
        optimizers: Optimizer | Sequence[Optimizer],
        total_steps: int,
        group: ProcessGroup | None,
        resumed: Mapping[str, Any] | None,
    ) -> None:
        """Build the `FreezeTraining`, and load its state in a resumed run."""
        self.freezer = FreezeTraining(
            model,
            optimizers,
            self._blocks,
            self._schedule,
            total_steps=total_steps,
            group=group,
        )
        if resumed is not None:
            self.freezer.load_state_dict(resumed)

    def _count_to(self, n_steps: int) -> None:
        """Count the steps that the optimiser has taken since the last call: none while gradients accumulate."""
        assert self.freezer is not None, "built when training started"
        while self.freezer.n_steps < n_steps:
            self.freezer.step()
