"""One pass over the data: the moments of layers as a projection sees them, beside those of a target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from svcca.capture.batches import Forward, attention_mask, batch_size, batches_of, to_device
from svcca.capture.hooks import LayerRecorder, preserved_rng
from svcca.capture.observations import Flatten, Observation, Pixels, Tokens
from svcca.capture.rules import Observe, asked_for
from svcca.core.arrays import check_finite, source_eps
from svcca.core.moments import JointMoments, Moments
from svcca.core.scatter import ScatterSums
from svcca.errors import InputError, LayerError, SampleError, message
from svcca.progress import track

RULES: dict[type[Observation], str] = {Flatten: "flatten", Pixels: "pixels", Tokens: "tokens"}
"""Rules by which what was projected can be put back in its place."""


@dataclass(frozen=True, eq=False)
class LayerMoments:
    """A layer over the data.

    Attributes:
        layer: Its name.
        observation: "flatten", "pixels" or "tokens".
        shape: What the features are: the shape of a sample's output for "flatten", otherwise (n_features,).
        moments: Of its rows.
        activation: Mean absolute activation of each unit, (n_features,), float64.
        joint: Moments with the target, where there is one.
    """

    layer: str
    observation: str
    shape: tuple[int, ...]
    moments: Moments
    activation: Tensor
    joint: JointMoments | None


class Target(AbstractContextManager["Target"]):
    """What directions are sought for: gives a block of it, samples first, for each batch. Nothing to open or close.

    Attributes:
        needs_output: Whether it is read off the model's own output, so that forward passes run to their end.
    """

    needs_output = False

    def __exit__(self, *_: object) -> None:
        """Leave nothing behind."""

    def devices(self) -> list[torch.device]:
        """Where it computes."""
        return []

    def block(self, batch: object, samples: slice, output: object, where: str) -> Tensor:
        """Give the target of these samples.

        Args:
            batch: The batch as the loader gave it.
            samples: Its place among all samples.
            output: What the model returned for it, where it ran to its end.
            where: Which batch it is, for messages.
        """
        raise NotImplementedError

    def finish(self, n_samples: int) -> None:
        """Check that the target had as many samples as the data."""


def measure_layers(
    model: nn.Module,
    data: object,
    layers: str | Sequence[str] | None,
    target: Target | None,
    observe: Observe,
    forward: Forward | None,
    progress: bool | None,
) -> tuple[list[LayerMoments], list[str]]:
    """Run the data once through a model and take the moments of layers, and with a target.

    Args:
        model: The model.
        data: Its inputs, as for `compare`.
        layers: Names or patterns; None takes every leaf module, and leaves out what cannot be projected.
        target: What they are seen with; None for nothing.
        observe: A rule, or rules by layer.
        forward: The user's own way to run the model.
        progress: Whether to show a bar.

    Returns:
        The layers in order of execution, and the names of those left out.

    Raises:
        LayerError: For a layer that is not there, or runs several times in a forward pass.
        InputError: For rows or a rule that cannot be.
        SampleError: For fewer than two samples.
    """
    recorder = LayerRecorder(
        model, layers, forward, type(model).__name__, to_the_end=bool(target and target.needs_output)
    )
    folds: dict[str, _Fold] = {}
    left_out: list[str] = []
    n_samples = 0
    with ExitStack() as stack:
        stack.enter_context(preserved_rng([recorder.device, *(target.devices() if target else [])]))
        stack.enter_context(recorder)
        if target is not None:
            stack.enter_context(target)
        for number, batch in enumerate(track(batches_of(data), "Batches", progress)):
            where, size = f"batch {number}", batch_size(batch, f"batch {number}")
            outputs = recorder.run(to_device(batch, recorder.device), where)
            block = None
            if target is not None:
                block = target.block(batch, slice(n_samples, n_samples + size), recorder.output, where)
                _check_length(block, size, f"target, {where}")
            if number == 0:
                left_out = _unfit(outputs, size) if layers is None else []
                folds = {name: _Fold(name, observe, out) for name, out in outputs.items() if name not in left_out}
            for name, fold in folds.items():
                _check_length(outputs[name], size, f"{name!r}, {where}")
                fold.update(outputs[name], block, attention_mask(batch), where)
            n_samples += size
    if n_samples < 2:
        cause = "The loader is empty or was used up before" if n_samples == 0 else ""
        raise SampleError(message(f"data for {type(model).__name__}", "at least 2 samples", str(n_samples), cause))
    if target is not None:
        target.finish(n_samples)
    return [fold.finish() for fold in folds.values()], left_out


def _unfit(outputs: dict[str, Tensor], size: int) -> list[str]:
    """Layers that nobody named and that cannot be projected: run several times, or not samples first."""
    return [name for name, out in outputs.items() if "#" in name or out.ndim < 2 or len(out) != size]


def _check_length(block: Tensor, size: int, where: str) -> None:
    if block.ndim == 0 or len(block) != size:
        expected = f"the batch's {size} samples along the first axis"
        raise InputError(message(where, expected, f"shape {tuple(block.shape)}"))


class _Fold:
    """Running moments of one layer and the target."""

    def __init__(self, name: str, observe: Observe, output: Tensor) -> None:
        if "#" in name:
            cause = "The module is called more than once, and a projection could not tell its calls apart"
            raise LayerError(message("directions", "a layer that runs once in a forward pass", repr(name), cause))
        if output.is_complex():
            raise InputError(message(f"directions of {name!r}", "a real layer", "a complex one"))
        self.name = name
        self.rule = _rule(observe, name, output)
        self.shape = tuple(output.shape[1:]) if isinstance(self.rule, Flatten) else ()
        self._sums: ScatterSums | None = None
        self._widths: list[int] = []
        self._eps: list[float] = []
        self._absolute = torch.zeros(())

    def update(self, output: Tensor, target: Tensor | None, mask: Tensor | None, where: str) -> None:
        place = f"directions of {self.name!r}, {where}"
        rows = self.rule.rows(output, mask, place)
        blocks = [rows]
        if target is not None:
            blocks.append(_beside(target.to(output.device), output, self.rule, mask, place))
        self._widths = self._widths or [block.shape[1] for block in blocks]
        for block, width in zip(blocks, self._widths, strict=True):
            check_finite(block, place if block is rows else f"target, {where}")
            if block.shape[1] != width:
                cause = "The layer's output changes its size between batches"
                expected = f"{width} features, as in the first batch"
                raise InputError(message(place, expected, str(block.shape[1]), cause))
        if self._sums is None:
            self._eps = [source_eps(block.dtype) for block in blocks]
            self._sums = ScatterSums(blocks, 1, self_comparison=target is None)
            self._absolute = torch.zeros(rows.shape[1], dtype=torch.float64, device=rows.device)
        self._sums.update(blocks)
        self._absolute += rows.abs().sum(dim=0, dtype=torch.float64)

    def finish(self) -> LayerMoments:
        assert self._sums is not None, "a fold is made where there is a batch"
        means, scatters, cross = self._sums.finish()
        n_rows = self._sums.n_samples
        sides = [Moments(n_rows, *each) for each in zip(means, scatters, self._eps, strict=True)]
        return LayerMoments(
            self.name,
            RULES[type(self.rule)],
            self.shape or (sides[0].n_features,),
            sides[0],
            self._absolute / n_rows,
            JointMoments(sides[0], sides[1], cross) if len(sides) > 1 else None,
        )


def _rule(observe: Observe, name: str, output: Tensor) -> Observation:
    """Vectors are flattened (nothing to do), (n, tokens, features) by tokens, maps by channel."""
    asked = asked_for(observe, name)
    if asked is None:
        return Flatten() if output.ndim <= 2 else Tokens() if output.ndim == 3 else Pixels()
    if type(asked) not in RULES:
        got = type(asked).__name__
        expected = "observe as 'flatten', 'pixels' or 'tokens', by which a projection can be put back"
        raise InputError(message(f"directions of {name!r}", expected, got))
    return asked


def _beside(target: Tensor, output: Tensor, rule: Observation, mask: Tensor | None, where: str) -> Tensor:
    """Rows of the target, one beside each row of the layer; what has one row a sample is repeated for each of them."""
    if isinstance(rule, Flatten):
        return target.reshape(len(target), -1)
    target = target[:, None] if target.ndim == 1 else target
    tokens = isinstance(rule, Tokens)
    positions = output.shape[1:2] if tokens else output.shape[2:]
    if target.ndim == 2:
        shape = (len(target), *positions, target.shape[1]) if tokens else (*target.shape, *positions)
        axes = (1,) if tokens else tuple(range(2, output.ndim))
        for axis in axes:
            target = target.unsqueeze(axis)
        target = target.expand(shape)
    if (target.shape[1:2] if tokens else target.shape[2:]) != positions or target.ndim != output.ndim:
        got = f"{tuple(target.shape)} beside {tuple(output.shape)}"
        remedy = "Pass a target with one row a sample, or observe='flatten'"
        raise InputError(message(where, "a target over the same positions as the layer", got, "", remedy))
    return rule.rows(target, mask, where)


class LogitsTarget(Target):
    """The model's own logits."""

    needs_output = True

    def __init__(self, find: Callable[[object, str], Tensor]) -> None:
        self._find = find

    def block(self, batch: object, samples: slice, output: object, where: str) -> Tensor:
        """Read them off the output."""
        return self._find(output, where)


class ArrayTarget(Target):
    """Any array over the same samples."""

    def __init__(self, array: Tensor) -> None:
        self._array = array

    def block(self, batch: object, samples: slice, output: object, where: str) -> Tensor:
        """Cut the samples out."""
        if samples.stop > len(self._array):
            raise self._uneven(f"at least {samples.stop}")
        return self._array[samples]

    def finish(self, n_samples: int) -> None:
        """Check that none is left over."""
        if n_samples != len(self._array):
            raise self._uneven(str(n_samples))

    def _uneven(self, n_samples: str) -> SampleError:
        got = f"{len(self._array)} targets and {n_samples} samples"
        return SampleError(message("directions", "one target a sample", got, "The target is for other data"))


class NetworkTarget(Target):
    """A layer of another network, run on the same batches."""

    def __init__(self, model: nn.Module, layer: str, forward: Forward | None) -> None:
        self._recorder = LayerRecorder(model, layer, forward, f"the other {type(model).__name__}")

    def __enter__(self) -> NetworkTarget:
        """Hook it."""
        self._recorder.__enter__()
        return self

    def __exit__(self, *details: object) -> None:
        """Take the hook off."""
        self._recorder.__exit__(None, None, None)

    def devices(self) -> list[torch.device]:
        """Its own."""
        return [self._recorder.device]

    def block(self, batch: object, samples: slice, output: object, where: str) -> Tensor:
        """Run it."""
        outputs = self._recorder.run(to_device(batch, self._recorder.device), where)
        if len(outputs) != 1:
            raise one_layer("directions, other_layer", list(outputs))
        return next(iter(outputs.values()))


def one_layer(where: str, found: Sequence[str]) -> LayerError:
    """Build the error for a name that selects several layers."""
    shown = ", ".join(map(repr, found[:4])) + (" ..." if len(found) > 4 else "")
    cause = "A module that runs several times in a forward pass" if all("#" in name for name in found) else ""
    return LayerError(message(where, "one layer", shown, cause, "Name one that runs once"))
