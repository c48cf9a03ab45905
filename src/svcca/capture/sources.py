"""Where rows come from: a live model, or arrays that were captured before. The same call for both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Protocol

import torch
from torch import Tensor, nn

from svcca.capture.batches import Forward, to_device
from svcca.capture.hooks import Keep, LayerRecorder
from svcca.capture.layers import as_patterns, match_names, unmatched
from svcca.core.arrays import ArrayLike, to_tensor
from svcca.errors import InputError, SampleError, message


class Source(Protocol):
    """Gives each layer's output on one batch of samples after another."""

    title: str
    """What it is called in results and messages."""
    idle_patterns: list[str]
    """Patterns that selected no layer here."""

    def __enter__(self) -> Source:
        """Start."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave everything as it was found."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the outputs lie."""
        ...

    def outputs(self, batch: object, samples: slice, where: str) -> dict[str, Tensor]:
        """Outputs of a batch by layer, in order of execution; `samples` is its place among all samples."""
        ...

    def settle(self, labels: Sequence[str], keep: Keep) -> None:
        """After the first batch: give only these layers, and `keep` of each output what is needed."""
        ...

    def names(self) -> list[str]:
        """Every layer that could be asked for."""
        ...

    def named_outright(self, label: str) -> bool:
        """Whether the user named this very layer, so that it cannot be left out quietly."""
        ...


class ModelSource:
    """Outputs of a live model."""

    def __init__(
        self, model: nn.Module, layers: str | Sequence[str] | None, forward: Forward | None, title: str
    ) -> None:
        self.title = title
        self._patterns = as_patterns(layers) or []
        self._recorder = LayerRecorder(model, layers, forward, title)
        self.idle_patterns = self._recorder.idle_patterns
        self.device = self._recorder.device

    def __enter__(self) -> ModelSource:
        """Hook the model."""
        self._recorder.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the hooks."""
        self._recorder.__exit__(kind, error, trace)

    def outputs(self, batch: object, samples: slice, where: str) -> dict[str, Tensor]:
        """Run the model on the batch."""
        return self._recorder.run(to_device(batch, self.device), where)

    def settle(self, labels: Sequence[str], keep: Keep) -> None:
        """Record only what is needed from now on."""
        self._recorder.settle(labels, keep)

    def names(self) -> list[str]:
        """Every module's name."""
        return self._recorder.names()

    def named_outright(self, label: str) -> bool:
        """Whether the label, or the module it comes from, was given without a wildcard."""
        return label in self._patterns or label.partition("#")[0].partition(":")[0] in self._patterns


class ArraySource:
    """Activations in memory, layer name -> array with samples first."""

    def __init__(self, arrays: Mapping[str, ArrayLike], layers: str | Sequence[str] | None, title: str) -> None:
        self.title = title
        self._names = list(arrays)
        if not arrays:
            raise InputError(message(title, "at least one layer", "an empty mapping"))
        patterns = as_patterns(layers)
        names, self.idle_patterns = (self._names, []) if patterns is None else match_names(self._names, patterns)
        if not names:
            raise unmatched(f"layers of {title}", patterns or [], self._names)
        self._arrays = {name: to_tensor(arrays[name], f"{title} {name!r}") for name in names}
        self._keep: Keep = lambda _, output: output
        self.n_samples = self._common_length()

    def _common_length(self) -> int:
        lengths = {name: len(array) if array.ndim else 0 for name, array in self._arrays.items()}
        (first, length), *others = lengths.items()
        for name, other in others:
            if other != length:
                got = f"{length} in {first!r} and {other} in {name!r}"
                raise SampleError(message(self.title, "the same number of samples in every layer", got))
        return length

    @property
    def device(self) -> torch.device:
        """Where the arrays lie."""
        return next(iter(self._arrays.values())).device

    def __enter__(self) -> ArraySource:
        """Nothing to prepare."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to restore."""

    def outputs(self, batch: object, samples: slice, where: str) -> dict[str, Tensor]:
        """Cut the batch's samples out of every array: views, no copy."""
        if samples.stop > self.n_samples:
            got = f"{self.n_samples} in {self.title} and at least {samples.stop} in the data"
            cause = "The activations were captured over fewer samples"
            raise SampleError(message(where, "as many samples in both networks", got, cause, "Pass the same data"))
        return {name: self._keep(name, array[samples]) for name, array in self._arrays.items()}

    def settle(self, labels: Sequence[str], keep: Keep) -> None:
        """Observe from now on."""
        self._arrays = {name: self._arrays[name] for name in labels}
        self._keep = keep

    def names(self) -> list[str]:
        """Every layer in the mapping."""
        return self._names

    def named_outright(self, label: str) -> bool:
        """Every entry of a mapping is there on purpose."""
        return True
