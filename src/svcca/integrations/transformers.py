"""Freeze Training as a callback of Hugging Face's Trainer.

trainer = Trainer(model, arguments, train_dataset=data, callbacks=[FreezeTrainingCallback(schedule="linear")])
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from svcca.errors import FileError, InputError, message
from svcca.integrations.freezing import FreezingCallback
from svcca.io.files import write_atomically

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

__all__ = ["FreezeTrainingCallback"]

FILE = "svcca_freeze_training.pt"
"""Name of the state's file in each `checkpoint-500` folder, beside the Trainer's own files."""


class FreezeTrainingCallback(FreezingCallback, TrainerCallback):
    """Freeze the Trainer's model block by block; the Trainer's checkpoints hold and resume its state.

    Args:
        blocks: Blocks as for `FreezeTraining`. Default: those found in the model.
        schedule: Schedule as for `FreezeTraining`; its steps are those of the optimiser.

    Attributes:
        freezer: `FreezeTraining` of this run, with its `summary()`; None before training starts.
    """

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **given: Any,
    ) -> None:
        """Find the blocks, and freeze what was frozen before in a resumed run."""
        group = _training_group(args)
        resumed = _read(_folder(args, state), args.resume_from_checkpoint) if state.global_step > 0 else None
        self._start(given["model"], given["optimizer"], state.max_steps, group, resumed)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Count the optimiser's steps."""
        self._count_to(state.global_step)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Write the state into the checkpoint's folder."""
        assert self.freezer is not None, "built when training began"
        folder = _folder(args, state)
        if state.is_world_process_zero and folder.is_dir():
            kept = self.freezer.state_dict()
            write_atomically(folder / FILE, lambda path: torch.save(kept, path))


def _folder(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"


def _training_group(args: TrainingArguments) -> ProcessGroup | None:
    """Return the processes that train together; the Trainer shows a callback its model without the wrapper."""
    if args.world_size == 1:
        return None
    if args.ddp_find_unused_parameters is False or args.gradient_checkpointing:
        cause = "Otherwise DistributedDataParallel waits for the gradients of frozen parameters"
        remedy = "Set it in TrainingArguments, without gradient_checkpointing"
        raise InputError(message("FreezeTrainingCallback", "ddp_find_unused_parameters=True", "False", cause, remedy))
    from torch import distributed as dist

    return dist.group.WORLD


def _read(folder: Path, named: str | None) -> dict[str, Any]:
    """Read the state from the checkpoint in the run's own folder, or in the folder that the arguments name."""
    paths = [place / FILE for place in (folder, *([Path(named)] if named else []))]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        cause = "The checkpoint was saved without this callback, or lies outside of output_dir"
        remedy = "Set TrainingArguments(resume_from_checkpoint=folder), or train from the start"
        raise FileError(message(f"resume from {folder}", f"{FILE} in it", "none", cause, remedy))
    state: dict[str, Any] = torch.load(path, weights_only=True)
    return state
