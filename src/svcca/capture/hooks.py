"""Forward hooks that hand over what layers put out, and leave the model as it was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType

import torch
from torch import Tensor, nn

from svcca.capture.batches import Forward, call, device_of
from svcca.capture.layers import named_layers, select_layers, tensors_in, unwrap
from svcca.errors import LayerError, message

Keep = Callable[[str, Tensor], Tensor]
"""What to keep of a layer's output, called inside the hook: must not alias it, for a later in-place op writes there."""


class _LastLayerDone(BaseException):
    """Ends a forward pass early. No Exception, so that a model's own `except Exception` does not swallow it."""


class LayerRecorder:
    """Runs a model on batches and collects the outputs of chosen layers, in order of execution.

    A layer is a module by name; `name:path` is one tensor of several that it returns. A module without a path gives
    its first floating-point tensor. A module that fires several times in a forward pass gives the layers name#1,
    name#2 and so on. Which layers there are is settled by the first batch; from the second on, the forward pass stops
    after the last of them.

    Args:
        model: Any module; parallel and compile wrappers are taken off.
        layers: Names or glob patterns, "!" before one to leave it out; None takes every leaf module.
        forward: The user's own forward(model, batch).
        title: What the model is called in messages.
        to_the_end: Never stop early: the model's own output is wanted too, and stands in `output` after each run.

    Raises:
        LayerError: On entry, for a name or pattern that selects nothing.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: str | Sequence[str] | None,
        forward: Forward | None,
        title: str,
        *,
        to_the_end: bool = False,
    ) -> None:
        self.model = unwrap(model)
        self.device = device_of(self.model)
        self.title = title
        self._selection = select_layers(self.model, layers, title)
        self.idle_patterns = self._selection.idle_patterns
        self._forward = forward
        self._labels: dict[tuple[str, int, str], str] | None = None
        self._calls: Counter[str] = Counter()
        self._outputs: dict[tuple[str, int, str], Tensor] = {}
        self._keep: Keep = lambda _, output: output.clone()
        self._active = False
        self._to_the_end = to_the_end
        self.output: object = None
        self._stack = ExitStack()

    def names(self) -> list[str]:
        """Every module's name."""
        return list(named_layers(self.model))

    def __enter__(self) -> LayerRecorder:
        """Hook the layers and switch the model to evaluation."""
        self._stack.enter_context(evaluating(self.model))
        for name, module in self._selection.modules.items():
            handle = module.register_forward_hook(self._hook(name))
            self._stack.callback(handle.remove)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the hooks and give every module its mode back, after an error too."""
        self._stack.close()

    def _hook(self, name: str) -> Callable[[nn.Module, object, object], None]:
        def record(module: nn.Module, inputs: object, output: object) -> None:
            if not self._active:  # the model may be part of another that is being run
                return
            self._calls[name] += 1
            found = dict(tensors_in(output))
            for place, (path, tensor) in enumerate(found.items()):
                for wanted in self._selection.paths[name]:
                    if wanted == path or (wanted == "" and place == 0):
                        self._record((name, self._calls[name], wanted), tensor)
            if self._labels is not None and len(self._outputs) == len(self._labels) and not self._to_the_end:
                raise _LastLayerDone

        return record

    def _record(self, key: tuple[str, int, str], tensor: Tensor) -> None:
        if self._labels is None:  # first batch: names are settled once it is through
            self._outputs[key] = tensor.detach().clone()
        elif key in self._labels:
            self._outputs[key] = self._keep(self._labels[key], tensor.detach())

    def run(self, batch: object, where: str) -> dict[str, Tensor]:
        """Run one batch and give what was kept of each layer, by label, in order of execution.

        Args:
            batch: The batch, on the model's device.
            where: Which batch it is, for messages.

        Raises:
            LayerError: If a layer did not fire as it did in the first batch.
        """
        self._calls.clear()
        self._outputs = {}
        self._active = True
        try:
            with torch.no_grad():
                output = call(self.model, batch, self._forward)
                self.output = output if self._to_the_end else None
        except _LastLayerDone:
            pass
        except Exception as error:
            error.add_note(f"svcca: raised by {self.title} on {where}")
            raise
        finally:
            self._active = False
        if self._labels is None:
            self._labels = self._name_outputs()
        missing = [label for key, label in self._labels.items() if key not in self._outputs]
        if missing:
            cause = "The model's path through its layers depends on the batch"
            got = f"no output of {', '.join(repr(label) for label in missing)}"
            raise LayerError(
                message(f"{self.title}, {where}", "every layer of the first batch", got, cause, "Leave it out")
            )
        outputs = {label: self._outputs[key] for key, label in self._labels.items()}
        self._outputs = {}
        return outputs

    def _name_outputs(self) -> dict[tuple[str, int, str], str]:
        """Labels for what the first batch gave, in order of execution: name, name#2 for a second call, name:path."""
        if not self._outputs:
            got = f"none from {', '.join(repr(name) for name in list(self._selection.modules)[:5])}"
            cause = "The layers did not run in this forward pass, or return no floating-point tensor"
            raise LayerError(message(f"layers of {self.title}", "outputs that are tensors", got, cause))
        given = {(name, path) for name, _, path in self._outputs}
        silent = [
            name + (f":{path}" if path else "") for name, path in self._selection.outright if (name, path) not in given
        ]
        if silent:
            got = f"none from {', '.join(repr(name) for name in silent)}"
            cause = "It did not run in this forward pass, or returns no floating-point tensor there"
            raise LayerError(message(f"layers of {self.title}", "an output of every layer named", got, cause))
        return {
            (name, number, path): name + (f"#{number}" if self._calls[name] > 1 else "") + (f":{path}" if path else "")
            for name, number, path in self._outputs
        }

    def settle(self, labels: Sequence[str], keep: Keep) -> None:
        """After the first batch: record only these layers from now on, and `keep` of each what is needed."""
        assert self._labels is not None, "settle() follows the first run()"
        wanted = set(labels)
        self._labels = {key: label for key, label in self._labels.items() if label in wanted}
        self._keep = keep


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for every module; afterwards each has its own mode again."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def preserved_rng(devices: Sequence[torch.device]) -> Iterator[None]:
    """Give torch's random state back as it was, on the CPU and on the CUDA devices in use."""
    cuda = sorted({d.index or 0 for d in devices if d.type == "cuda"})
    with torch.random.fork_rng(devices=cuda):
        yield
