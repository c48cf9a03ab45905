"""A cache of what frozen blocks compute, for inputs that come again: their forward pass is skipped."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from svcca.capture.batches import batch_size, device_of, tensors_in_batch
from svcca.capture.hooks import evaluating, preserved_rng
from svcca.errors import SvccaWarning
from svcca.freeze.cost import Call, Clock
from svcca.freeze.prefix import FrozenPrefix, NoPrefixError
from svcca.freeze.training_hook import TrainingHook


class CachedPrefix:
    """A frozen prefix and its rows by sample.

    Args:
        n_blocks: Number of frozen blocks in it.
        prefix: Prefix that the rows are the output of.
    """

    def __init__(self, n_blocks: int, prefix: FrozenPrefix) -> None:
        self.n_blocks, self.prefix = n_blocks, prefix
        self.n_bytes = 0
        self._rows: dict[bytes, Tensor] = {}

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._rows)

    def add(self, keys: Sequence[bytes], rows: Tensor) -> None:
        """Keep the rows of samples that are new, on the CPU."""
        new = [number for number, key in enumerate(keys) if key not in self._rows]
        kept = rows.detach()[new].cpu()
        self._rows.update(zip([keys[number] for number in new], kept.unbind(), strict=True))
        self.n_bytes += kept.nbytes

    def take(self, keys: Sequence[bytes]) -> Tensor | None:
        """Return the rows of these samples, (n_keys, ...); None unless all are there and of one shape and dtype."""
        rows = [self._rows[key] for key in keys if key in self._rows]
        alike = len(rows) == len(keys) and len({(row.shape, row.dtype) for row in rows}) == 1
        return torch.stack(rows) if alike else None


class PrefixCache:
    """Keep the output of the frozen blocks, sample by sample, and start from there when a sample comes again.

    A sample is known by a hash of its inputs, so loaders may shuffle; one that is augmented anew never comes again. A
    batch of known samples skips the frozen blocks; any other runs through them and is kept. When another block freezes,
    samples start from the prefix before until they are known at the new one. Where a prefix cannot be cached, a note
    says why, and training goes on without.

    Args:
        model: Network, without wrappers.
        limit_bytes: Most bytes that one prefix may hold; a larger one is not cached.
        clock: Clock of what is no training.

    Attributes:
        n_skipped: Number of blocks that the last forward pass in training skipped.
        notes: Reasons why a prefix is not cached.
    """

    def __init__(self, model: nn.Module, limit_bytes: int, clock: Clock) -> None:
        self._model, self._limit, self._clock = model, limit_bytes, clock
        self._prefixes: list[CachedPrefix] = []
        self._wanted: tuple[int, Sequence[nn.Module]] | None = None
        self._pass = ExitStack()
        self.n_skipped = 0
        self.notes: list[str] = []
        self._hooks = ExitStack()
        self._hooks.callback(model.register_forward_pre_hook(TrainingHook(self._begin), with_kwargs=True).remove)
        self._hooks.callback(model.register_forward_hook(TrainingHook(self._end), always_call=True).remove)

    def advance(self, n_blocks: int, frozen: Sequence[nn.Module]) -> None:
        """Look for a longer prefix at the next forward pass: of so many frozen blocks, with these outermost modules."""
        self._wanted = n_blocks, frozen

    def close(self) -> None:
        """Remove the hooks and drop all rows."""
        self._hooks.close()
        self._prefixes, self._wanted = [], None

    def _begin(self, args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        """Prepare a forward pass in training: skip the prefix where every sample is known, or keep its rows."""
        self._abandon()  # an interrupt may have ended the pass before
        self.n_skipped = 0
        if not torch.is_grad_enabled():
            return
        call = (args, keywords)
        if self._wanted is not None:
            wanted, self._wanted = self._wanted, None
            with self._clock.overhead():
                self._find(*wanted, call)
        if not self._prefixes:
            return
        keys, newest = sample_keys(call), self._prefixes[-1]
        for known in reversed(self._prefixes):
            if (rows := known.take(keys)) is not None:
                self._pass.enter_context(known.prefix.serving(rows))
                self.n_skipped = known.n_blocks
                break
        if self.n_skipped != newest.n_blocks:
            self._pass.enter_context(newest.prefix.watching(lambda rows: self._keep(newest, keys, rows)))
        elif len(newest) >= len(self._prefixes[0]):
            self._prefixes = [newest]

    def _end(self, inputs: object, output: object) -> None:
        if output is None:  # an exception ended the pass
            self._abandon()
        self._pass.close()

    def _abandon(self) -> None:
        """Leave a pass that did not come to its end, without a check that it came to that of the prefix."""
        self._pass.__exit__(Exception, Exception(), None)

    def _find(self, n_blocks: int, frozen: Sequence[nn.Module], call: Call) -> None:
        try:
            prefix = FrozenPrefix(self._model, frozen, call)
        except NoPrefixError as error:
            self._refuse(n_blocks, str(error))
            return
        self._clock.overhead_flops += prefix.finding_flops
        self._clock.skipped_flops_per_sample[n_blocks] = prefix.skipped_flops_per_sample
        if pays(prefix, self._model, call):
            self._prefixes.append(CachedPrefix(n_blocks, prefix))
        else:
            self._note(n_blocks, "to read it back takes longer than to compute it anew")

    def _keep(self, newest: CachedPrefix, keys: Sequence[bytes], rows: Tensor) -> None:
        newest.add(keys, rows)
        if newest.n_bytes > self._limit:
            self._prefixes.remove(newest)
            self._refuse(newest.n_blocks, f"{len(newest):,} samples take more than {self._limit / 2**30:.3g} GiB")

    def _refuse(self, n_blocks: int, reason: str) -> None:
        warnings.warn(self._note(n_blocks, reason), SvccaWarning, stacklevel=2)

    def _note(self, n_blocks: int, reason: str) -> str:
        self.notes.append(f"The output of {n_blocks} frozen block(s) is not cached: {reason.rstrip('.')}.")
        return self.notes[-1]


def pays(prefix: FrozenPrefix, model: nn.Module, call: Call) -> bool:
    """Return whether a forward pass without the prefix, with reading its rows, takes less time than a whole one."""
    device = device_of(model)
    trial = CachedPrefix(0, prefix)
    trial.add(sample_keys(call), prefix.rows)

    def whole() -> None:
        model(*call[0], **call[1])

    def without() -> None:
        rows = trial.take(sample_keys(call))
        assert rows is not None, "kept above"
        with prefix.serving(rows):
            whole()

    with evaluating(model), preserved_rng([device]):
        return _seconds(without, device) < _seconds(whole, device)


def _seconds(run: Callable[[], None], device: torch.device) -> float:
    """Return the shortest time of three: the rest is other work on the machine."""
    times = []
    for _ in range(3):
        start = perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(perf_counter() - start)
    return min(times)


def sample_keys(call: Call) -> list[bytes]:
    """Return a hash of each sample of a batch: of its part of every tensor that the model is called with.

    128 bits of BLAKE2: the probability that two of 10^9 samples share a hash is 10^-21.
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
