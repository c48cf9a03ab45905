"""What a loader yields: how a model is called with it, on which device, and how many samples it holds."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from svcca.core.arrays import from_numpy
from svcca.errors import InputError, SampleError, message

Forward = Callable[[nn.Module, Any], object]
"""A user's own way to run a model on a batch: forward(model, batch)."""

ONE_BATCH = 256
"""Samples at a time where the data are one tensor instead of a loader."""

SMALL_BATCH = 64
"""The same for a probe set on a CPU, whose maps then stay near the cores and in memory that is already mapped: half the
time of ONE_BATCH for a conv net between two steps of training."""

LABEL_KEYS = ("labels", "label")


@dataclass(frozen=True)
class Batch:
    """One batch of a pass over the data.

    Attributes:
        data: The batch as the loader gave it; None where all networks are arrays.
        number: Its place among the batches, from 0.
        samples: Its place among all samples.
    """

    data: Any
    number: int
    samples: slice

    @property
    def size(self) -> int:
        """Number of samples."""
        return int(self.samples.stop - self.samples.start)

    @property
    def where(self) -> str:
        """Its name in messages."""
        return f"batch {self.number}"

    @cached_property
    def mask(self) -> Tensor | None:
        """Mask of real tokens, (n_samples, n_tokens) bool, where the batch has one."""
        return attention_mask(self.data)


def batches_of(data: object, size: int = ONE_BATCH) -> Iterable[Any]:
    """Return the batches in `data`: a loader or any iterable of batches, or one tensor, array or dict that is split.

    Args:
        data: The data that a user passes.
        size: Samples in a batch where the data are split.

    Raises:
        InputError: If `data` is nothing that can be iterated.
    """
    if isinstance(data, np.ndarray):
        data = from_numpy(data, "data")
    if isinstance(data, Tensor):
        return torch.split(data, size)
    if isinstance(data, Mapping):
        return _split_mapping(data, size)
    if isinstance(data, Iterable):
        return data
    raise InputError(message("data", "an iterable of batches, a tensor or a dict of tensors", type(data).__name__))


def kept_batches(data: object, where: str, size: int = ONE_BATCH) -> list[Any]:
    """Return the batches in `data` as a list, for several passes over the same inputs in the same order.

    Args:
        data: The data that a user passes.
        where: The call, for the message.
        size: Samples in a batch where the data are split.

    Raises:
        SampleError: If there is no batch.
        InputError: If `data` is nothing that can be iterated.
    """
    batches = list(batches_of(data, size))
    if not batches:
        raise too_few_samples(where, 0)
    return batches


def too_few_samples(where: str, n_samples: int) -> SampleError:
    """Build the error for data of fewer than two samples."""
    got = f"{n_samples} sample{'s' if n_samples != 1 else ''}"
    cause = "The loader is empty or was used up before" if n_samples == 0 else ""
    return SampleError(message(f"data for {where}", "at least 2 samples", got, cause))


def _split_mapping(data: Mapping[str, Any], size: int) -> Iterator[dict[str, Any]]:
    for start in range(0, batch_size(data, "data"), size):
        part = slice(start, start + size)
        yield {key: value[part] if isinstance(value, Tensor) else value for key, value in data.items()}


def call(model: nn.Module, batch: object, forward: Forward | None) -> object:
    """Run a model on a batch: pass a tensor as the argument, of (inputs, labels) the inputs, a dict as keywords.

    Args:
        model: The model.
        batch: The batch, already on the model's device.
        forward: The user's own way to run the model, used instead.
    """
    if forward is not None:
        return forward(model, batch)
    args, named = call_arguments(model, batch)
    return model(*args, **named)


def call_arguments(model: nn.Module, batch: object) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the positional and keyword arguments that a model is called with on a batch."""
    inputs = batch[0] if isinstance(batch, (tuple, list)) else batch
    if isinstance(inputs, Mapping):
        return (), _accepted(model, inputs)
    return (inputs,), {}


def _accepted(model: nn.Module, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out labels that `forward` does not take: loaders carry them, encoders have no use for them."""
    parameters = inspect.signature(model.forward).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return dict(inputs)
    return {key: value for key, value in inputs.items() if key in parameters or key not in LABEL_KEYS}


def to_device(batch: Any, device: torch.device) -> Any:
    """Move every tensor in a batch to a device; what is there already is not copied."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, Mapping):
        return {key: to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(to_device(value, device) for value in batch))
    if isinstance(batch, (tuple, list)):
        return type(batch)(to_device(value, device) for value in batch)
    return batch


def device_of(model: nn.Module) -> torch.device:
    """Return the device of a model's first parameter or buffer, on which it takes its input; the CPU without any."""
    for tensors in (model.parameters(), model.buffers()):
        for tensor in tensors:
            return tensor.device
    return torch.device("cpu")


def batch_size(batch: object, where: str) -> int:
    """Count the samples of a batch: the length of its first tensor.

    Raises:
        SampleError: If the batch holds no tensor, or no sample.
    """
    first = next(tensors_in_batch(batch), None)
    if first is None or first.ndim == 0:
        remedy = "Collate samples into tensors, or pass forward="
        raise SampleError(message(where, "a batch that holds a tensor of samples", type(batch).__name__, "", remedy))
    if first.shape[0] == 0:
        raise SampleError(message(where, "at least one sample in a batch", "none"))
    return first.shape[0]


class ShiftedBatches:
    """Every batch under every cyclic shift of its images by 0 to phases - 1 positions along each axis.

    Args:
        batches: Batches that hold images (n_samples, channels, *sizes) as their first tensor of three or more axes.
        phases: Number of shifts along an axis.
    """

    def __init__(self, batches: Iterable[Any], phases: int) -> None:
        self._batches = batches
        self._phases = phases

    def __iter__(self) -> Iterator[Any]:
        """Yield each batch once for each combination of shifts.

        Raises:
            InputError: For a batch without images.
        """
        for number, batch in enumerate(self._batches):
            images = next((tensor for tensor in tensors_in_batch(batch) if tensor.ndim > 2), None)
            if images is None:
                expected = "images (n_samples, channels, *sizes) to shift for phases"
                remedy = "Pass Fourier(phases=1)"
                raise InputError(message(f"batch {number}", expected, "none", "", remedy))
            if self._phases > min(images.shape[2:]):
                expected, got = f"images of at least {self._phases} positions an axis, as many as phases", "size "
                got += " x ".join(str(size) for size in images.shape[2:])
                raise InputError(message(f"batch {number}", expected, got))
            axes = tuple(range(2, images.ndim))
            for shift in product(range(self._phases), repeat=len(axes)):
                yield _replaced(batch, images, images.roll(shift, axes))


def _replaced(batch: Any, old: Tensor, new: Tensor) -> Any:
    """Return the batch with one tensor in place of another."""
    if batch is old:
        return new
    if isinstance(batch, Mapping):
        return {key: _replaced(value, old, new) for key, value in batch.items()}
    if isinstance(batch, (tuple, list)):
        parts = [_replaced(value, old, new) for value in batch]
        return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)
    return batch


def tensors_in_batch(batch: object) -> Iterator[Tensor]:
    """Walk the tensors of a batch, in order: in tuples, lists and mappings."""
    if isinstance(batch, Tensor):
        yield batch
    elif isinstance(batch, (Mapping, tuple, list)):
        for part in batch.values() if isinstance(batch, Mapping) else batch:
            yield from tensors_in_batch(part)


def attention_mask(batch: object) -> Tensor | None:
    """Find the mask of real tokens, (n_samples, n_tokens) bool, where the batch is a dict with `attention_mask`."""
    inputs = batch[0] if isinstance(batch, (tuple, list)) and batch else batch
    if isinstance(inputs, Mapping) and isinstance(mask := inputs.get("attention_mask"), Tensor) and mask.ndim == 2:
        return mask.bool()
    return None
