"""Freeze Training as a callback of Hugging Face's Trainer.

trainer = Trainer(model, arguments, train_dataset=data, callbacks=[FreezeTrainingCallback(schedule="linear")])
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from svcca.errors import FileError, InputError, message
from svcca.freeze.blocks import BlockSpec
from svcca.freeze.freeze import Cache, FreezeTraining
from svcca.freeze.schedules import Schedule
from svcca.io.files import write_atomically

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

__all__ = ["FreezeTrainingCallback"]

FILE = "svcca_freeze_training.pt"
"""What lies in each `checkpoint-500` folder beside the Trainer's own files."""


class FreezeTrainingCallback(TrainerCallback):
    """Freezes the Trainer's model block by block; saved into the Trainer's checkpoints and resumed from them.

    Args:
        blocks: As for `FreezeTraining`.
        schedule: As for `FreezeTraining`; the steps are those of the optimiser.
        cache: As for `FreezeTraining`; the Trainer's loader pads each batch by itself, which makes inputs come again
            only where all have one length.
        cache_gib: As for `FreezeTraining`.

    Attributes:
        freezer: The `FreezeTraining`, from the start of training on: for `summary()`.
    """

    def __init__(
        self,
        blocks: Sequence[BlockSpec] | None = None,
        schedule: Schedule = "linear",
        *,
        cache: Cache = None,
        cache_gib: float = 2.0,
    ) -> None:
        self.freezer: FreezeTraining | None = None
        self._blocks, self._schedule, self._cache, self._cache_gib = blocks, schedule, cache, cache_gib

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **given: Any,
    ) -> None:
        """Find the blocks, and what is frozen already in a resumed run."""
        self.freezer = FreezeTraining(
            given["model"],
            given["optimizer"],
            self._blocks,
            self._schedule,
            total_steps=state.max_steps,
            cache=self._cache,
            cache_gib=self._cache_gib,
            group=_training_group(args),
        )
        if state.global_step > 0:
            self.freezer.load_state_dict(_read(_folder(args, state), args.resume_from_checkpoint))

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Count a step of the optimiser."""
        assert self.freezer is not None, "built when training began"
        self.freezer.step()

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Put what a resumed run needs into the checkpoint's folder."""
        assert self.freezer is not None, "built when training began"
        folder = _folder(args, state)
        if state.is_world_process_zero and folder.is_dir():
            kept = self.freezer.state_dict()
            write_atomically(folder / FILE, lambda path: torch.save(kept, path))


def _folder(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"


def _training_group(args: TrainingArguments) -> ProcessGroup | None:
    """Give the processes that train together; the Trainer shows a callback its model without the wrapper."""
    if args.world_size == 1:
        return None
    if args.ddp_find_unused_parameters is False or args.gradient_checkpointing:
        cause = "Otherwise DistributedDataParallel waits for the gradients of frozen parameters"
        remedy = "Set it in TrainingArguments, without gradient_checkpointing"
        raise InputError(message("FreezeTrainingCallback", "ddp_find_unused_parameters=True", "False", cause, remedy))
    from torch import distributed as dist

    return dist.group.WORLD


def _read(folder: Path, named: str | None) -> dict[str, Any]:
    """Read the state beside the checkpoint: in the run's own folder, or in the one that the arguments name."""
    paths = [place / FILE for place in (folder, *([Path(named)] if named else []))]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        cause = "The checkpoint was saved without this callback, or lies outside of output_dir"
        remedy = "Set TrainingArguments(resume_from_checkpoint=folder), or train from the start"
        raise FileError(message(f"resume from {folder}", f"{FILE} in it", "none", cause, remedy))
    state: dict[str, Any] = torch.load(path, weights_only=True)
    return state
