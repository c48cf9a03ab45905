"""Skipping the forward pass of frozen blocks: what they put out is kept, for inputs that come again."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
from torch import nn

from svcca.capture.batches import batch_size, device_of, tensors_in_batch
from svcca.capture.hooks import evaluating, preserved_rng
from svcca.errors import FileError, SvccaWarning
from svcca.freeze.hooks import TrainingHook
from svcca.freeze.prefix import NoPrefixError, PrefixCut, first_tensor
from svcca.freeze.row_store import RowStore, StoreFullError
from svcca.freeze.savings import Call, Clock
from svcca.io.files import PathLike


@dataclass(frozen=True, eq=False)
class Stage:
    """What reaches a cut of the network, sample by sample.

    Attributes:
        n_blocks: Frozen blocks before the cut.
        cut: Where the network goes on.
        store: Rows that reached it, by sample.
    """

    n_blocks: int
    cut: PrefixCut
    store: RowStore


class PrefixCache:
    """Keeps what reaches the first block that learns, sample by sample, and starts from there when a sample returns.

    A sample is known by a hash of its inputs, so that loaders may shuffle; one that is augmented anew never returns.
    A batch of which every sample is known skips the frozen blocks; any other runs through them and is kept. When
    another block freezes, samples start from the old cut until they are known at the new one. Whatever stands in the
    way of a cut is noted, and training goes on with what there is.

    Args:
        model: The network, without wrappers.
        folder: Where files go; None: memory.
        limit_bytes: How much may be kept at a cut; one whose rows take more is not cached.
        clock: Times what is no training.

    Attributes:
        n_skipped: Blocks that the last forward pass in training skipped.
        notes: Why a cut is not cached.

    Raises:
        FileError: If the folder cannot be written to.
    """

    def __init__(self, model: nn.Module, folder: PathLike | None, limit_bytes: int, clock: Clock) -> None:
        RowStore(limit_bytes, folder)  # a folder that cannot be is an error now, not in the middle of training
        self._model, self._folder, self._limit, self._clock = model, folder, limit_bytes, clock
        self._stages: list[Stage] = []
        self._wanted: tuple[int, Sequence[nn.Module], Sequence[nn.Module]] | None = None
        self._pass = ExitStack()
        self.n_skipped = 0
        self.notes: list[str] = []
        self._hooks = ExitStack()
        self._hooks.callback(model.register_forward_pre_hook(TrainingHook(self.begin), with_kwargs=True).remove)
        self._hooks.callback(model.register_forward_hook(TrainingHook(self.end), always_call=True).remove)

    def advance(self, n_frozen: int, frozen: Sequence[nn.Module], learning: Sequence[nn.Module]) -> None:
        """Look for another cut at the next forward pass: more blocks are frozen.

        Args:
            n_frozen: How many.
            frozen: Their outermost modules.
            learning: Those of the blocks that learn.
        """
        self._wanted = n_frozen, frozen, learning

    def close(self) -> None:
        """Take the hooks off and drop what is kept."""
        self._hooks.close()
        self._stages, self._wanted = [], None

    def begin(self, args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        """Prepare a forward pass in training: from a cut where every sample is known, keeping what comes to the last.

        Raises:
            InputError: For a pass that takes another path through the network than the first.
        """
        self._pass.close()  # an exception may have cut the pass before short
        self.n_skipped = 0
        if not torch.is_grad_enabled():
            return
        call = (args, keywords)
        if self._wanted is not None:
            wanted, self._wanted = self._wanted, None
            with self._clock.overhead():
                self._find_stage(*wanted, call)
        if not self._stages:
            return
        keys, newest = sample_keys(call), self._stages[-1]
        source = next((stage for stage in reversed(self._stages) if stage.store.knows(keys)), None)
        if source is not None:
            self._pass.enter_context(source.cut.serving(source.store.take(keys), len(keys)))
            self.n_skipped = source.n_blocks
        if source is not newest:
            self._pass.enter_context(self._keeping(newest, keys))
        elif len(newest.store) >= len(self._stages[0].store):
            self._stages = [newest]

    def end(self, inputs: object, output: object) -> None:
        """Finish a forward pass."""
        self._pass.close()

    def _find_stage(
        self, n_frozen: int, frozen: Sequence[nn.Module], learning: Sequence[nn.Module], call: Call
    ) -> None:
        try:
            cut = PrefixCut(self._model, frozen, learning, call)
        except NoPrefixError as error:
            self._refuse(n_frozen, str(error))
            return
        self._clock.overhead_flops += cut.finding_flops
        self._clock.skipped_flops_per_sample[n_frozen] = cut.skipped_flops_per_sample
        # What the trial reads is not what training will: only a pass with gradients shows that nothing learns below.
        trial = Stage(n_frozen, cut, RowStore(self._limit, self._folder))
        try:
            trial.store.add(sample_keys(call), cut.example)
        except (StoreFullError, FileError) as error:
            self._refuse(n_frozen, str(error))
            return
        if pays(trial, self._model, call):
            self._stages.append(Stage(n_frozen, cut, RowStore(self._limit, self._folder)))
        else:
            text = "to read it back takes longer than to compute it anew"
            self.notes.append(f"The output of {n_frozen} frozen block(s) is not cached: {text}.")

    def _keeping(self, stage: Stage, keys: Sequence[bytes]) -> AbstractContextManager[object]:
        def keep(module: nn.Module, args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
            stack.close()  # a module may run again in the same pass
            rows = first_tensor(args, keywords)
            if rows is None or rows.requires_grad:
                self._drop(stage, "something that learns runs before the first block that does")
                return
            try:
                stage.store.add(keys, rows)
            except (StoreFullError, FileError) as error:
                self._drop(stage, str(error))

        stack = ExitStack()
        stack.callback(stage.cut.module.register_forward_pre_hook(keep, with_kwargs=True).remove)
        return stack

    def _drop(self, stage: Stage, reason: str) -> None:
        self._stages.remove(stage)
        self._refuse(stage.n_blocks, reason)

    def _refuse(self, n_frozen: int, reason: str) -> None:
        text = f"The output of {n_frozen} frozen block(s) is not cached: {reason.rstrip('.')}."
        self.notes.append(text)
        warnings.warn(text, SvccaWarning, stacklevel=2)


def pays(stage: Stage, model: nn.Module, call: Call) -> bool:
    """Measure whether starting from the cut, with what it takes to know and read the samples, beats a whole pass."""
    device = device_of(model)
    keys = sample_keys(call)

    def whole() -> None:
        model(*call[0], **call[1])

    def from_cut() -> None:
        with stage.cut.serving(stage.store.take(sample_keys(call)), len(keys)):
            whole()

    with evaluating(model), preserved_rng([device]), torch.no_grad():
        return _seconds(from_cut, device) < _seconds(whole, device)


def _seconds(run: Callable[[], None], device: torch.device) -> float:
    """Shortest of a few times: the rest is other work on the machine."""
    found = []
    for _ in range(3):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        start = perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        found.append(perf_counter() - start)
    return min(found)


def sample_keys(call: Call) -> list[bytes]:
    """Give a hash of each sample of a batch: of its part of every tensor that the model is called with.

    128 bits of BLAKE2: that two of 10^9 samples meet has a probability of 10^-21.
    """
    size = batch_size(call, "inputs of the network")
    hashes = [hashlib.blake2b(digest_size=16) for _ in range(size)]
    for tensor in tensors_in_batch(call):
        per_sample = tensor.shape[:1] == (size,)
        text = f"{tensor.dtype}{tuple(tensor.shape[1:] if per_sample else tensor.shape)}".encode()
        rows = tensor.detach().cpu().reshape(size if per_sample else 1, -1).contiguous().view(torch.uint8).numpy()
        for number, one in enumerate(hashes):
            one.update(text)
            one.update(rows[number if per_sample else 0])
    return [one.digest() for one in hashes]
