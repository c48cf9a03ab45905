"""Freeze Training as a callback of Lightning's Trainer.

trainer = Trainer(callbacks=[FreezeTrainingCallback(schedule="linear")])
"""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from svcca.errors import InputError, message
from svcca.freeze.blocks import network_of
from svcca.freeze.requirements import training_group
from svcca.integrations.freezing import FreezingCallback

__all__ = ["FreezeTrainingCallback"]


class FreezeTrainingCallback(FreezingCallback, Callback):
    """Freeze the network of a LightningModule block by block; the Trainer's checkpoints hold and resume its state.

    Args:
        blocks: Blocks as for `FreezeTraining`, by their names in the network: the one module that holds all parameters,
            or the LightningModule itself where several do. Default: those found in it.
        schedule: Schedule as for `FreezeTraining`; its steps are those of the optimiser.

    Attributes:
        freezer: `FreezeTraining` of this run, with its `summary()`; None before training starts.

    Raises:
        InputError: When training starts, for a Trainer without an end; otherwise as `FreezeTraining`.
    """

    _resumed: dict[str, Any] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the blocks, and freeze what was frozen before in a resumed run."""
        total = trainer.estimated_stepping_batches
        if total == float("inf"):
            remedy = "Pass max_steps= or max_epochs= to the Trainer"
            raise InputError(message("FreezeTrainingCallback", "a training run with an end", "none", "", remedy))
        assert trainer.model is not None, "training has started"
        group = training_group(trainer.model)
        self._start(network_of(pl_module), trainer.optimizers, int(total), group, self._resumed)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: object) -> None:
        """Count the optimiser's steps."""
        self._count_to(trainer.global_step)

    def state_dict(self) -> dict[str, Any]:
        """Return the state for the Trainer's checkpoint."""
        return {} if self.freezer is None else self.freezer.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the state from a checkpoint until training starts."""
        self._resumed = state_dict or None
