"""Skipping the forward pass of frozen blocks: what they put out is kept, for inputs that come again."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import torch
from torch import nn

from svcca.act.hooks import TrainingHook
from svcca.act.prefix import NoPrefixError, PrefixCut, first_tensor
from svcca.act.row_store import RowStore, StoreFullError
from svcca.act.savings import Call, Clock
from svcca.capture.batches import batch_size, tensors_in_batch
from svcca.errors import FileError, SvccaWarning
from svcca.files import PathLike


class PrefixCache:
    """Keeps what reaches the first block that learns, sample by sample, and starts from there when a sample returns.

    A sample is known by a hash of its inputs, so that loaders may shuffle; one that is augmented anew never returns.
    A batch of which every sample is known skips the frozen blocks; any other runs through them and is kept. Whatever
    stands in the way switches the cache off until another block freezes, with a warning; training goes on without it.

    Args:
        model: The network, without wrappers.
        folder: Where files go; None: memory.
        limit_bytes: How much may be kept; the prefix is not cached where its output takes more.
        clock: Times what is no training.
    """

    def __init__(self, model: nn.Module, folder: PathLike | None, limit_bytes: int, clock: Clock) -> None:
        self._model, self._folder, self._limit, self._clock = model, folder, limit_bytes, clock
        self._n_frozen = 0
        self._frozen: Sequence[nn.Module] = ()
        self._learning: Sequence[nn.Module] = ()
        self._cut: PrefixCut | None = None
        self._store: RowStore | None = None
        self._pass = ExitStack()
        self.served = False
        self._hooks = ExitStack()
        self._hooks.callback(model.register_forward_pre_hook(TrainingHook(self.begin), with_kwargs=True).remove)
        self._hooks.callback(model.register_forward_hook(TrainingHook(self.end), always_call=True).remove)

    def advance(self, n_frozen: int, frozen: Sequence[nn.Module], learning: Sequence[nn.Module]) -> None:
        """Start anew, for a longer prefix.

        Args:
            n_frozen: Blocks in it.
            frozen: Their outermost modules.
            learning: Those of the blocks that learn.

        Raises:
            FileError: If the folder cannot be written to.
        """
        self._n_frozen, self._frozen, self._learning = n_frozen, frozen, learning
        self._cut, self.served = None, False
        self._store = RowStore(self._limit, self._folder)

    def close(self) -> None:
        """Take the hooks off and drop what is kept."""
        self._hooks.close()
        self._switch_off()

    def begin(self, args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        """Prepare a forward pass in training: from the cut where every sample is known, else keeping what comes there.

        Raises:
            InputError: For a pass that takes another path through the network than the first.
        """
        self._pass.close()  # an exception may have cut the pass before short
        self.served = False
        call = (args, keywords)
        if self._store is None or not torch.is_grad_enabled():
            return
        try:
            if self._cut is None:
                with self._clock.overhead():
                    self._cut = PrefixCut(self._model, self._frozen, self._learning, call)
                self._clock.overhead_flops += self._cut.finding_flops
                self._clock.skipped_flops_per_sample[self._n_frozen] = self._cut.skipped_flops_per_sample
            keys = sample_keys(call)
        except NoPrefixError as error:
            self._refuse(str(error))
            return
        if all(key in self._store for key in keys):
            self._pass.enter_context(self._cut.serving(self._store.take(keys), len(keys)))
            self.served = True
        else:
            self._pass.enter_context(self._keeping(self._cut, keys))

    def end(self, inputs: object, output: object) -> None:
        """Finish a forward pass."""
        self._pass.close()

    def _keeping(self, cut: PrefixCut, keys: Sequence[bytes]) -> AbstractContextManager[object]:
        def keep(module: nn.Module, args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
            stack.close()  # a module may run again in the same pass
            rows = first_tensor(args, keywords)
            if rows is None or rows.requires_grad:
                self._refuse("something that learns runs before the first block that does")
                return
            assert self._store is not None, "begin() looked"
            try:
                self._store.add(keys, rows)
            except (StoreFullError, FileError) as error:
                self._refuse(str(error))

        stack = ExitStack()
        stack.callback(cut.module.register_forward_pre_hook(keep, with_kwargs=True).remove)
        return stack

    def _refuse(self, reason: str) -> None:
        self._switch_off()
        text = f"The output of {self._n_frozen} frozen block(s) is not cached: {reason.rstrip('.')}."
        warnings.warn(text, SvccaWarning, stacklevel=2)

    def _switch_off(self) -> None:
        self._store, self._cut, self.served = None, None, False


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
