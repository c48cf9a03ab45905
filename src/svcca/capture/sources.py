"""Where rows come from: a live model, or arrays that were captured before. The same calls for both."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from svcca.capture.batches import Batch, Forward
from svcca.capture.hooks import Keep, LayerRecorder, Tap
from svcca.capture.layers import as_patterns, match_names, unmatched
from svcca.core.arrays import ArrayLike, to_tensor
from svcca.errors import InputError, SampleError, message


class Source(ABC):
    """Gives the tensors of named layers, or of targets, for one batch after another.

    Attributes:
        title: Its name in results and messages.
        device: Where its tensors lie.
        idle_patterns: Names and patterns that selected no layer of it; None where none were asked for.
        samples_first: Whether the first axis of every tensor must run over the samples of the batch.
        by_layer: As a target: whether each tensor belongs to the layer of the same name alone.
        captured: Whether its tensors were captured before, and can only be read as they are.
    """

    title: str
    device: torch.device = torch.device("cpu")
    idle_patterns: Sequence[str] | None = None
    samples_first: bool = True
    by_layer: bool = False
    captured: bool = False

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *details: object) -> None:
        return

    @abstractmethod
    def tensors(self, batch: Batch, keep: Keep | None = None) -> Mapping[str, Tensor]:
        """Return the tensors of a batch by layer, in order of execution; with `keep`, what it keeps of them."""

    def finish(self, n_samples: int) -> None:
        """Check, after the last batch, that the source was for as many samples as the data hold."""
        return

    def names(self) -> list[str]:
        """Return every layer that could be asked for."""
        return []

    def named_outright(self, label: str) -> bool:
        """Whether the user named this very layer, so that it cannot be left out quietly."""
        return True


class ModelSource(Source):
    """The outputs or inputs of layers of a live model.

    Args:
        model: The model.
        layers: Names or patterns of layers; None takes every leaf module.
        forward: The user's own way to run the model: forward(model, batch).
        title: The model's name in results and messages.
        tap: Whether layers are tapped at their output or their input.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: str | Sequence[str] | None,
        forward: Forward | None,
        title: str,
        *,
        tap: Tap = "output",
    ) -> None:
        self.title = title
        self._patterns = as_patterns(layers) or []
        self.recorder = LayerRecorder(model, layers, forward, title, tap=tap)
        self.idle_patterns = self.recorder.idle_patterns
        self.device = self.recorder.device
        # What a layer is given may be windows or tokens of all samples, one after the other.
        self.samples_first = tap == "output"

    def __enter__(self) -> Source:
        self.recorder.__enter__()
        return self

    def __exit__(self, *details: object) -> None:
        self.recorder.__exit__(*details)

    def tensors(self, batch: Batch, keep: Keep | None = None) -> dict[str, Tensor]:
        """Run the model on the batch."""
        return self.recorder.run(batch, keep)

    def names(self) -> list[str]:
        """Return every module's name."""
        return self.recorder.names()

    def named_outright(self, label: str) -> bool:
        """Whether the label, or the module it comes from, was given without a wildcard."""
        return label in self._patterns or label.partition("#")[0].partition(":")[0] in self._patterns


class ArraySource(Source):
    """Arrays in memory, layer name -> array with samples first.

    Args:
        arrays: The arrays.
        layers: Names or patterns of layers; None takes all.
        title: Their name in results and messages.
    """

    captured = True

    def __init__(self, arrays: Mapping[str, ArrayLike], layers: str | Sequence[str] | None, title: str) -> None:
        self.title = title
        self._names = list(arrays)
        if not arrays:
            raise InputError(message(title, "at least one layer", "an empty mapping"))
        patterns = as_patterns(layers)
        names = self._names
        if patterns is not None:
            names, self.idle_patterns = match_names(self._names, patterns)
        if not names:
            raise unmatched(f"layers of {title}", patterns or [], self._names)
        self.arrays = {name: to_tensor(arrays[name], f"{title} {name!r}") for name in names}
        self.device = next(iter(self.arrays.values())).device
        self.n_samples = self._common_length()

    def _common_length(self) -> int:
        lengths = {name: len(array) if array.ndim else 0 for name, array in self.arrays.items()}
        (first, length), *others = lengths.items()
        for name, other in others:
            if other != length:
                got = f"{length} in {first!r} and {other} in {name!r}"
                raise SampleError(message(self.title, "the same number of samples in every layer", got))
        return length

    def tensors(self, batch: Batch, keep: Keep | None = None) -> dict[str, Tensor]:
        """Cut the batch's samples out of every array: views, no copy."""
        if batch.samples.stop > self.n_samples:
            raise self._uneven(batch.where, f"at least {batch.samples.stop}")
        return kept({name: array[batch.samples] for name, array in self.arrays.items()}, keep)

    def finish(self, n_samples: int) -> None:
        """Raise SampleError if samples are left over."""
        if n_samples != self.n_samples:
            raise self._uneven(self.title, str(n_samples))

    def _uneven(self, where: str, n_samples: str) -> SampleError:
        got = f"{self.n_samples} in {self.title} and {n_samples} on the other side"
        cause, remedy = "The two are of different inputs", "Pass both for the same inputs, in the same order"
        return SampleError(message(where, "as many samples on both sides", got, cause, remedy))

    def names(self) -> list[str]:
        """Return every layer in the mapping."""
        return self._names


def kept(tensors: dict[str, Tensor], keep: Keep | None) -> dict[str, Tensor]:
    """Return what is kept of tensors that no hook has seen; all of them without `keep`."""
    return tensors if keep is None else {label: keep.rows(label, tensors[label]) for label in keep.rules}


def check_patterns(sources: Sequence[Source]) -> None:
    """Raise LayerError for a name or pattern that selects no layer of any source."""
    asked = [source for source in sources if source.idle_patterns is not None]
    idle = set.intersection(*(set(source.idle_patterns or ()) for source in asked)) if asked else set()
    if idle:
        names = list(dict.fromkeys(name for source in asked for name in source.names()))
        raise unmatched(f"layers of {' or '.join(source.title for source in asked)}", sorted(idle), names)
