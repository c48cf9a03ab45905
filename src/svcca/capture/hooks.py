"""Hooks that hand over what layers put out, or are given, and leave the model as it was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from svcca.capture.batches import Batch, Forward, call, device_of, to_device
from svcca.capture.layers import named_layers, select_layers, tensors_in, unwrap
from svcca.capture.observations import Observation
from svcca.errors import InputError, LayerError, SvccaError, message

Tap = Literal["output", "input"]
"""Where a layer is tapped: at what it puts out, or at what it is given."""


@dataclass(frozen=True)
class Keep:
    """What a hook keeps of a layer in one batch: its rows, by its rule.

    Attributes:
        rules: Rule of each layer, by label; other layers are not kept.
        batch: The batch.
        title: The network's name in messages.
        shapes: Shape of the tensor that each layer's rows came from, by label; filled while the model runs.
    """

    rules: Mapping[str, Observation]
    batch: Batch
    title: str
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def rows(self, label: str, tensor: Tensor) -> Tensor:
        """Apply a layer's rule to its tensor; what else than our own errors it raises carries layer and batch.

        Raises:
            InputError: If the rule returns no tensor.
        """
        self.shapes[label] = tuple(tensor.shape)
        rule, where = self.rules[label], f"{self.title} {label!r}, {self.batch.where}"
        try:
            rows = rule.rows(tensor, self.batch.mask, where)
        except SvccaError:
            raise
        except Exception as error:
            error.add_note(f"svcca: raised by observation rule {type(rule).__name__} on {where}")
            raise
        if not isinstance(rows, Tensor):
            raise InputError(message(where, f"a tensor of rows from {type(rule).__name__}", type(rows).__name__))
        return rows


class _LastLayerDone(BaseException):
    """Ends a forward pass early. No Exception, so that a model's own `except Exception` does not swallow it."""


class LayerRecorder:
    """Runs a model on batches and collects the outputs or inputs of chosen layers, in order of execution.

    A layer is a module by name; `name:path` is one tensor of several that it returns. A module without a path gives
    its first floating-point tensor. A module that fires several times in a forward pass gives the layers name#1,
    name#2 and so on. The first batch settles which layers there are; from the second on, the forward pass stops after
    the last of them.

    Args:
        model: Any module; parallel and compile wrappers are taken off.
        layers: Names or glob patterns, "!" before one to leave it out; None takes every leaf module.
        forward: The user's own way to run the model: forward(model, batch).
        title: The model's name in messages.
        tap: Whether layers are tapped at their output or their input.

    Attributes:
        to_the_end: Whether forward passes run to their end because the model's own output is needed.
        output: What the model returned for the last batch; None where the forward pass stopped early.

    Raises:
        LayerError: If no layer is selected.
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
        self.model = unwrap(model)
        self.device = device_of(self.model)
        self.title = title
        self.to_the_end = False
        self.output: object = None
        self._selection = select_layers(self.model, layers, title)
        self.idle_patterns = self._selection.idle_patterns
        self._forward = forward
        self._tap = tap
        self._labels: dict[tuple[str, int, str], str] | None = None
        self._first_calls: Counter[str] = Counter()
        self._calls: Counter[str] = Counter()
        self._taken: dict[tuple[str, int, str], Tensor] = {}
        self._wanted: dict[tuple[str, int, str], str] | None = None
        self._keep: Keep | None = None
        self._active = False
        self._stack = ExitStack()

    def names(self) -> list[str]:
        """Return every module's name."""
        return list(named_layers(self.model))

    def __enter__(self) -> LayerRecorder:
        self._stack.enter_context(evaluating(self.model))
        for name, module in self._selection.modules.items():
            self._stack.callback(self._hooked(name, module).remove)
        return self

    def __exit__(self, *details: object) -> None:
        self._stack.close()

    def _hooked(self, name: str, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        if self._tap == "output":
            return module.register_forward_hook(lambda module, args, output: self._record(name, output))
        return module.register_forward_pre_hook(
            lambda module, args, named: self._record(name, (*args, *named.values())), with_kwargs=True
        )

    def _record(self, name: str, value: object) -> None:
        """Take from a layer's output or inputs what is wanted of them."""
        if not self._active:  # the model may be part of another that is being run
            return
        self._calls[name] += 1
        for place, (path, tensor) in enumerate(dict(tensors_in(value)).items()):
            for asked in self._selection.paths[name]:
                if asked == path or (asked == "" and place == 0):
                    self._take((name, self._calls[name], asked), tensor.detach())
        if self._wanted is not None and len(self._taken) == len(self._wanted) and not self.to_the_end:
            raise _LastLayerDone

    def _take(self, key: tuple[str, int, str], tensor: Tensor) -> None:
        """Keep a tensor, or its rows, in memory of their own: a later in-place step may write to the tensor."""
        if self._wanted is not None and key not in self._wanted:
            return
        if self._keep is None or self._wanted is None:
            self._taken[key] = tensor.clone()
            return
        rows = self._keep.rows(self._wanted[key], tensor)
        shared = rows.untyped_storage().data_ptr() == tensor.untyped_storage().data_ptr()
        self._taken[key] = rows.clone() if shared else rows

    def run(self, batch: Batch, keep: Keep | None = None) -> dict[str, Tensor]:
        """Run one batch and return what was kept of each layer, by label, in order of execution.

        Args:
            batch: The batch.
            keep: What is kept of which layers, from the second batch on; None keeps the tensors of all as they are.

        Raises:
            LayerError: If a layer did not run as it did in the first batch.
        """
        self._calls.clear()
        self._taken, self.output, self._keep = {}, None, keep
        if self._labels is not None:
            self._wanted = {k: label for k, label in self._labels.items() if keep is None or label in keep.rules}
        self._active = True
        try:
            self.output = run_model(self.model, batch, self._forward, self.title)
        except _LastLayerDone:
            pass
        finally:
            self._active, self._keep = False, None
        if self._wanted is None:
            self._labels = self._wanted = self._name_layers()
            self._first_calls = self._calls.copy()
        self._check_calls(batch.where)
        taken = {label: self._taken[key] for key, label in self._wanted.items()}
        self._taken = {}
        return taken

    def _check_calls(self, where: str) -> None:
        """Raise LayerError unless every layer ran as often as in the first batch."""
        assert self._wanted is not None, "set by the first batch"
        missing = [label for key, label in self._wanted.items() if key not in self._taken]
        again = sorted({name for name, _, _ in self._wanted if self._calls[name] > self._first_calls[name]})
        if not missing and not again:
            return
        got = f"no {self._tap} of" if missing else "more runs than in the first batch of"
        got += f" {', '.join(map(repr, missing or again))}"
        cause = "The model's path through its layers depends on the batch"
        raise LayerError(
            message(f"{self.title}, {where}", "every layer of the first batch", got, cause, "Leave it out")
        )

    def _name_layers(self) -> dict[tuple[str, int, str], str]:
        """Label what the first batch gave, in order of execution: name, name#2 for a second call, name:path."""
        where = f"layers of {self.title}"
        if not self._taken:
            got = f"none from {', '.join(repr(name) for name in list(self._selection.modules)[:5])}"
            cause = "The layers did not run in this forward pass, or have no floating-point tensor there"
            raise LayerError(message(where, f"{self._tap}s that are tensors", got, cause))
        given = {(name, path) for name, _, path in self._taken}
        silent = [
            name + (f":{path}" if path else "") for name, path in self._selection.outright if (name, path) not in given
        ]
        if silent:
            got = f"none from {', '.join(repr(name) for name in silent)}"
            cause = "It did not run in this forward pass, or has no floating-point tensor there"
            raise LayerError(message(where, f"an {self._tap} of every layer named", got, cause))
        return {
            (name, number, path): name + (f"#{number}" if self._calls[name] > 1 else "") + (f":{path}" if path else "")
            for name, number, path in self._taken
        }


def run_model(model: nn.Module, batch: Batch, forward: Forward | None, title: str) -> object:
    """Run a model on a batch without gradients; an error that it raises gets a note of which model and batch."""
    try:
        with torch.no_grad():
            return call(model, to_device(batch.data, device_of(model)), forward)
    except Exception as error:
        error.add_note(f"svcca: raised by {title} on {batch.where}")
        raise


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Switch every module to evaluation mode; afterwards each has its own mode again."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def preserved_rng(devices: Sequence[torch.device]) -> Iterator[None]:
    """Restore torch's random state afterwards, on the CPU and on the CUDA devices in use."""
    cuda = sorted({d.index or 0 for d in devices if d.type == "cuda"})
    with torch.random.fork_rng(devices=cuda):
        yield
