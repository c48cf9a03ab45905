"""Freeze Training as a callback of Lightning's Trainer.

trainer = Trainer(callbacks=[FreezeTrainingCallback(schedule="linear")])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from svcca.errors import InputError, message
from svcca.freeze.blocks import BlockSpec, network_of
from svcca.freeze.freeze import Cache, FreezeTraining
from svcca.freeze.frozen import training_group
from svcca.freeze.schedules import Schedule

__all__ = ["FreezeTrainingCallback"]


class FreezeTrainingCallback(Callback):
    """Freezes the network of a LightningModule block by block; saved and resumed with the Trainer's checkpoints.

    Args:
        blocks: As for `FreezeTraining`, by their names in the network: the one module that holds all parameters, or
            the LightningModule itself where there are several.
        schedule: As for `FreezeTraining`; the steps are those of the optimiser.
        cache: As for `FreezeTraining`.
        cache_gib: As for `FreezeTraining`.

    Attributes:
        freezer: The `FreezeTraining`, from the start of training on: for `summary()`.

    Raises:
        InputError: When training starts, for a Trainer without an end; else as `FreezeTraining`.
    """

    def __init__(
        self,
        blocks: Sequence[BlockSpec] | None = None,
        schedule: Schedule = "linear",
        *,
        cache: Cache = None,
        cache_gib: float = 2.0,
    ) -> None:
        super().__init__()
        self.freezer: FreezeTraining | None = None
        self._blocks, self._schedule, self._cache, self._cache_gib = blocks, schedule, cache, cache_gib
        self._resumed: dict[str, Any] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the blocks, and what is frozen already in a resumed run."""
        total = trainer.estimated_stepping_batches
        if total == float("inf"):
            remedy = "Pass max_steps= or max_epochs= to the Trainer"
            raise InputError(message("FreezeTrainingCallback", "a training run with an end", "none", "", remedy))
        assert trainer.model is not None, "training has started"
        group = training_group(trainer.model)
        self.freezer = FreezeTraining(
            network_of(pl_module),
            trainer.optimizers,
            self._blocks,
            self._schedule,
            total_steps=int(total),
            cache=self._cache,
            cache_gib=self._cache_gib,
            group=group,
        )
        if self._resumed is not None:
            self.freezer.load_state_dict(self._resumed)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: object) -> None:
        """Count the optimiser's steps: none while gradients accumulate."""
        assert self.freezer is not None, "built when training started"
        while self.freezer.n_steps < trainer.global_step:
            self.freezer.step()

    def state_dict(self) -> dict[str, Any]:
        """Give what the Trainer's checkpoint keeps."""
        return {} if self.freezer is None else self.freezer.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what a checkpoint kept, once training starts."""
        self._resumed = state_dict or None
