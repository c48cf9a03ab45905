"""The frozen prefix of a network: which calls belong to it, and how to run the rest without them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from svcca.capture.batches import batch_size, device_of
from svcca.capture.flops import counting_flops
from svcca.capture.hooks import evaluating, preserved_rng
from svcca.capture.layers import map_tensors, tensors_in
from svcca.errors import InputError, message
from svcca.freeze.cost import Call

WHERE = "frozen blocks"


class NoPrefixError(Exception):
    """The network cannot run without its frozen blocks; the text says why."""


class _Reached(BaseException):
    """Ends a forward pass at the end of the prefix. No Exception, so that no model swallows it."""


@dataclass(frozen=True, eq=False)
class _FrozenCall:
    """A call of a frozen block: its module, its output made blank, and of that the first tensor."""

    module: nn.Module
    output: Any
    first: Tensor


class FrozenPrefix:
    """The calls of frozen blocks before anything learns, and a way to run the network without them.

    For one forward pass the blocks are replaced: the last returns rows that it is given, the others blanks of the right
    shapes, full of NaN. The user's own `forward` runs as it is. A network that uses more of the frozen blocks than
    those rows gives itself away: its output is tried out once, and must be the same to the last bit.

    Args:
        model: Network, without wrappers, in training.
        frozen: Outermost modules of its frozen blocks.
        call: Arguments of a call of the model, as an example.

    Attributes:
        rows: Output of the last block for the example, (n_samples, ...).
        skipped_flops_per_sample: Floating-point operations of a forward pass that the rest does without.
        finding_flops: Floating-point operations of finding the prefix.

    Raises:
        NoPrefixError: If the network cannot run without its frozen blocks.
    """

    def __init__(self, model: nn.Module, frozen: Sequence[nn.Module], call: Call) -> None:
        self._model, self._calls = model, list[_FrozenCall]()
        self._n_samples = batch_size(call, WHERE)
        buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
        with preserved_rng([device_of(model)]):
            with evaluating(model):
                whole, flops_whole = self._outputs(call, "in evaluation mode", self._recording(frozen))
            in_training = self._rows(call)
            with torch.no_grad():
                for buffer, before in buffers:
                    buffer.copy_(before)
            if not _identical(self.rows, in_training):
                cause = "dropout or normalisation between them; name it in their blocks"
                raise NoPrefixError(f"they compute something else in training than in evaluation ({cause})")
            with evaluating(model):
                rest, flops_rest = self._outputs(call, "without them", self.serving(self.rows))
        if not whole or len(whole) != len(rest) or not all(map(_identical, whole, rest)):
            raise NoPrefixError("the rest of the network uses more of them than one tensor")
        self.skipped_flops_per_sample = (flops_whole - flops_rest) / self._n_samples
        self.finding_flops = 2 * flops_whole + flops_rest

    def _outputs(self, call: Call, how: str, context: AbstractContextManager[None]) -> tuple[list[Tensor], int]:
        """Run the network within a context; return its outputs and the number of floating-point operations."""
        args, keywords = call
        try:
            with counting_flops(device_of(self._model)) as counter, context:
                outputs = [tensor.detach().clone() for _, tensor in tensors_in(self._model(*args, **keywords))]
        except Exception as error:  # whatever the user's forward raises where it is only tried out
            raise NoPrefixError(f"the network does not run {how} ({type(error).__name__}: {error})") from error
        return outputs, counter.get_total_flops()

    @contextmanager
    def _recording(self, frozen: Sequence[nn.Module]) -> Iterator[None]:
        """Record the calls of frozen blocks in a forward pass, and the last one's output."""
        learned: set[nn.Module] = set()
        late: set[nn.Module] = set()

        def finished(module: nn.Module, args: object, output: object) -> None:
            rows = _first_tensor(output)
            if rows is None or rows.requires_grad or learned:
                late.add(module)
                return
            self.rows, first = rows.detach().clone(), _blank(rows)
            blank = map_tensors(output, lambda tensor: first if tensor is rows else _blank(tensor))
            self._calls.append(_FrozenCall(module, blank, first))

        with ExitStack() as hooks:
            for module in frozen:
                hooks.callback(module.register_forward_hook(finished).remove)
            for module in self._model.modules():
                if any(parameter.requires_grad for parameter in module.parameters(recurse=False)):
                    hooks.callback(module.register_forward_hook(lambda module, *_: learned.add(module)).remove)
            yield
        if not self._calls or late.difference(call.module for call in self._calls):
            raise NoPrefixError("something that learns runs before them, or they return no floating-point tensor")
        if self.rows.shape[:1] != (self._n_samples,):
            raise NoPrefixError(f"they return {tuple(self.rows.shape)}, not a row a sample")

    def _rows(self, call: Call) -> Tensor | None:
        """Run the network in its own mode as far as the prefix goes, and return the rows."""
        found: list[Tensor] = []

        def stop(rows: Tensor) -> None:
            found.append(rows.clone())
            raise _Reached

        args, keywords = call
        same_kernels = counting_flops(device_of(self._model))  # as the pass that this one is compared with
        with same_kernels, torch.no_grad(), self.watching(stop), suppress(_Reached):
            self._model(*args, **keywords)
        return found[0] if found else None

    @contextmanager
    def watching(self, keep: Callable[[Tensor], None]) -> Iterator[None]:
        """Pass the rows of the next forward pass to a function, once they are computed."""
        last = self._calls[-1].module
        n_left = sum(call.module is last for call in self._calls)

        def finished(module: nn.Module, args: object, output: object) -> None:
            nonlocal n_left
            n_left -= 1
            rows = _first_tensor(output)
            if n_left == 0 and rows is not None and not rows.requires_grad:
                keep(rows)

        handle = last.register_forward_hook(finished)
        try:
            yield
        finally:
            handle.remove()

    @contextmanager
    def serving(self, rows: Tensor) -> Iterator[None]:
        """Let the next forward pass do without the prefix, whose output is these rows, (n_samples, ...).

        Raises:
            InputError: If the pass calls the frozen blocks in another order than the example: its output would be NaN.
        """
        left = list(self._calls)

        def play(module: nn.Module) -> Any:
            call = left.pop(0)
            if call.module is not module:
                left.clear()
                raise _another_path()
            if left:
                return map_tensors(call.output, lambda tensor: self._resized(tensor, len(rows)))
            forwards.close()  # a block that runs again later must be itself
            return map_tensors(
                call.output,
                lambda tensor: rows.to(tensor.device) if tensor is call.first else self._resized(tensor, len(rows)),
            )

        with ExitStack() as forwards:
            for module in {call.module for call in self._calls}:
                forwards.callback(_replace_forward(module, lambda *_, module=module, **__: play(module)))
            yield
        if left:
            raise _another_path()

    def _resized(self, blank: Tensor, n_samples: int) -> Tensor:
        per_sample = blank.shape[:1] == (self._n_samples,)
        return blank[:1].expand(n_samples, *blank.shape[1:]) if per_sample else blank


def _another_path() -> InputError:
    got, cause = "another order", "The model's path through its layers depends on the batch"
    return InputError(message(WHERE, "calls in the order of the first pass", got, cause, "Pass cache_gib=0"))


def _replace_forward(module: nn.Module, forward: Callable[..., Any]) -> Callable[[], None]:
    """Put a forward in place of a module's own; return a function that puts that one back."""
    before = module.__dict__.get("forward")
    module.__dict__["forward"] = forward

    def restore() -> None:
        if before is None:
            del module.__dict__["forward"]
        else:
            module.__dict__["forward"] = before

    return restore


def _identical(a: Tensor, b: Tensor | None) -> bool:
    if b is None or a.shape != b.shape or a.dtype != b.dtype:
        return False
    return torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)


def _blank(tensor: Tensor) -> Tensor:
    """Return a tensor like this one that is NaN throughout (0 for integers) and takes no memory."""
    fill = float("nan") if tensor.is_floating_point() or tensor.is_complex() else 0
    return torch.full((), fill, dtype=tensor.dtype, device=tensor.device).expand(tensor.shape)


def _first_tensor(output: object) -> Tensor | None:
    return next((tensor for _, tensor in tensors_in(output)), None)
