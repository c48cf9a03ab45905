"""Train any net with one loop: deterministic, interruptible, with snapshots on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from time import perf_counter, thread_time
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from reproduce.cache import LATER, VERSION, plain, write
from reproduce.errors import ReproduceError, message

SAVE_EVERY = 30.0
"""Seconds of training after which the state of a run is written, at the end of an epoch."""
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}

State = dict[str, Tensor]
Track = Callable[[Iterable[int], str], Iterable[int]]


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a net is trained: what a trained one is keyed by.

    Attributes:
        epochs: Passes over the training data.
        batch: Samples (or sequences) a step.
        optimizer: "adam" or "sgd" (with momentum 0.9).
        learning_rate: At the start.
        decay_at: Fractions of training at which the learning rate is divided by ten.
        translate: Largest random translation of an image in pixels, zeros coming in; 0 leaves images as they are.
        snapshots: Weights are kept at so many places of equal distance beside the last: 20 keeps 21, step 0 among them.
        clip: Largest norm of the gradient; 0 does not clip.
        precision: "float32", or "bfloat16" for the operations that autocast picks; weights, their averages in the
            optimizer and the loss stay in float32.
        channels_last: Whether weights and images of convolutions lie with their channels last: the same sums in
            another order, faster on most processors.
    """

    epochs: int
    batch: int = 128
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    decay_at: tuple[float, ...] = (0.5, 0.75)
    translate: int = 0
    snapshots: int = 0
    clip: float = 0.0
    precision: str = field(default="float32", metadata=LATER)
    channels_last: bool = field(default=False, metadata=LATER)

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            known = f"a precision, one of {', '.join(PRECISIONS)}"
            raise ReproduceError(message("training", known, repr(self.precision), "Name one"))

    @property
    def layout(self) -> torch.memory_format:
        """How weights and images lie in memory."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def snapshot_steps(self, n_steps: int) -> list[int]:
        """Steps after which weights are kept; the last step always."""
        on_the_way = {round(i * n_steps / self.snapshots) for i in range(self.snapshots)}
        return sorted(on_the_way | {n_steps})


FAST: dict[str, Any] = {"precision": "bfloat16", "channels_last": True}
"""For `Training`: a third of the time where the processor has instructions for bfloat16."""


@dataclass
class Run:
    """A training run, so far or complete: weights by step, mean loss of each epoch, and what it took.

    Without a GPU the seconds are the processor's own: a pause, or other work on the machine, does not lengthen them.
    """

    states: dict[int, State]
    losses: list[float]
    seconds: float


def fit(
    net: nn.Module,
    batches: Callable[[torch.Generator], Sequence[Any]],
    loss: Callable[[nn.Module, Any], Tensor],
    training: Training,
    seed: int,
    *,
    partial: Path,
    track: Track,
    title: str,
) -> Run:
    """Train a net in place.

    All randomness of an epoch comes from the seed and the number of the epoch, so that a run that was killed goes on
    from `partial` to the same weights as one that was not.

    Args:
        net: With its first weights; left in training mode.
        batches: Gives the batches of an epoch, always as many, from a generator of that epoch.
        loss: The loss of the net on a batch.
        training: How.
        seed: The seed of the order of the batches, and of dropout.
        partial: Where the state of an unfinished run is kept; removed at the end.
        track: Iterates with a progress bar.
        title: The title of the progress bar.
    """
    net.to(memory_format=training.layout)
    device = next(net.parameters()).device.type
    clock = perf_counter if device == "cuda" else thread_time
    n_batches = len(batches(torch.Generator().manual_seed(0)))
    n_steps = training.epochs * n_batches
    wanted = set(training.snapshot_steps(n_steps))
    optimizer = _optimizer(net, training)
    steps = [round(fraction * n_steps) for fraction in training.decay_at]
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, steps)
    run = Run({0: _copy(net)} if 0 in wanted else {}, [], 0.0)
    parts = {"net": net, "optimizer": optimizer, "scheduler": scheduler}
    _resume(run, parts, partial, plain(training) | {"seed": seed, "title": title})
    saved = run.seconds
    for epoch in track(range(len(run.losses), training.epochs), title):
        start, total = clock(), 0.0
        step = epoch * n_batches
        with forked_rng():
            torch.manual_seed(_epoch_seed(seed, epoch))
            net.train()
            for batch in batches(torch.Generator().manual_seed(_epoch_seed(seed, epoch))):
                optimizer.zero_grad()
                with torch.autocast(device, PRECISIONS[training.precision], enabled=training.precision != "float32"):
                    value = loss(net, batch)
                value.backward()
                if training.clip:
                    nn.utils.clip_grad_norm_(net.parameters(), training.clip)
                optimizer.step()
                scheduler.step()
                total += float(value.detach())
                step += 1
                if step in wanted:
                    run.states[step] = _copy(net)
        run.losses.append(total / n_batches)
        run.seconds += clock() - start
        if run.seconds - saved > SAVE_EVERY and epoch + 1 < training.epochs:
            _save(run, parts, partial, plain(training) | {"seed": seed, "title": title})
            saved = run.seconds
    partial.unlink(missing_ok=True)
    return run


def forked_rng() -> AbstractContextManager[None]:
    """Restore torch's global generators on exit, on all devices."""
    return torch.random.fork_rng(devices=range(torch.cuda.device_count()))


def translations(n: int, most: int, generator: torch.Generator) -> Tensor:
    """Draw for each of n images its shift up and left, plus `most`: whole numbers (2, n) up to 2 `most`."""
    if not most:
        return torch.zeros(2, n, dtype=torch.int64)
    return torch.randint(0, 2 * most + 1, (2, n), generator=generator)


def translated(
    images: Tensor, shifts: Tensor, most: int, layout: torch.memory_format = torch.contiguous_format
) -> Tensor:
    """Move every image up and left by its own shift less `most`, at most `most` either way; zeros come in.

    Args:
        images: (n, channels, height, width).
        shifts: (2, n), of `translations`.
        most: That they were drawn with; 0 leaves images where they are.
        layout: How the images that are returned lie in memory.
    """
    if not most:
        return images.contiguous(memory_format=layout)
    n, _, height, width = images.shape
    down, right = shifts.to(images.device)[:, :, None]
    index, row, column = (torch.arange(size, device=images.device) for size in (n, height, width))
    padded = pad(images, (most,) * 4).permute(0, 2, 3, 1)
    moved = padded[index[:, None, None], (down + row)[:, :, None], (right + column)[:, None, :]]
    return moved.permute(0, 3, 1, 2).contiguous(memory_format=layout)


def _optimizer(net: nn.Module, training: Training) -> torch.optim.Optimizer:
    if training.optimizer == "sgd":
        return torch.optim.SGD(net.parameters(), lr=training.learning_rate, momentum=0.9)
    return torch.optim.Adam(net.parameters(), lr=training.learning_rate)


def _epoch_seed(seed: int, epoch: int) -> int:
    return 1_000_003 * (seed + 1) + epoch


def _copy(net: nn.Module) -> State:
    return {name: value.detach().cpu().clone() for name, value in net.state_dict().items()}


def _save(run: Run, parts: dict[str, Any], partial: Path, config: dict[str, Any]) -> None:
    stored = {name: part.state_dict() for name, part in parts.items()} | {"states": run.states, "losses": run.losses}
    stored |= {"seconds": run.seconds, "config": config, "version": VERSION}
    write(partial, lambda temporary: torch.save(stored, temporary))


def _resume(run: Run, parts: dict[str, Any], partial: Path, config: dict[str, Any]) -> None:
    """Resume from the state of an interrupted run; ignore it if it is damaged or of another configuration."""
    try:
        stored = torch.load(partial, weights_only=True)
    except (OSError, RuntimeError, EOFError, KeyError, ValueError, UnpicklingError):
        return
    if stored.get("config") != config or stored.get("version") != VERSION:
        return
    for name, part in parts.items():
        part.load_state_dict(stored[name])
    run.states.update(stored["states"])
    run.losses.extend(stored["losses"])
    run.seconds = stored["seconds"]
