"""Where the frozen prefix of a network ends, and how to run the rest without it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from svcca.act.savings import Call
from svcca.capture.batches import batch_size, device_of
from svcca.capture.hooks import evaluating, preserved_rng
from svcca.capture.layers import map_tensors, tensors_in
from svcca.errors import InputError, message

FINDING = "prefix of the network"


class NoPrefixError(Exception):
    """The network cannot be cut below its first block that learns; the text says why."""


class PrefixCut:
    """A network cut at the input of the first block that learns.

    What runs before it is replaced, for one forward pass, by stand-ins of the right shapes full of NaN, until the block
    is reached and is given the true input: so the user's own `forward` runs as it is, and whatever else of the prefix
    the rest depended on would show. That it does not is tried out when the cut is found: the network's output must be
    the same to the last bit.

    Args:
        model: The network, without wrappers.
        first_blocks: Modules of the blocks that learn; the one that runs first is where the cut is.
        call: What the model was called with, as an example.

    Raises:
        NoPrefixError: If the network cannot be cut there.
    """

    def __init__(self, model: nn.Module, first_blocks: Sequence[nn.Module], call: Call) -> None:
        self._model = model
        self._n_samples = batch_size(call, FINDING)
        self._order: list[tuple[nn.Module, Any]] = []
        self._found: nn.Module | None = None
        with evaluating(model), preserved_rng([device_of(model)]), torch.no_grad():
            whole, flops_whole = self._record(first_blocks, call)
            self._stand_ins = self._outermost()
            rest, flops_rest = self._try_out(call)
        same = len(whole) == len(rest) and all(
            a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)
            for a, b in zip(whole, rest, strict=True)
        )
        if not same or not whole:
            raise NoPrefixError("the blocks that learn use more of the frozen ones than one tensor")
        self.finding_flops = flops_whole + flops_rest
        self.skipped_flops_per_sample = (flops_whole - flops_rest) / self._n_samples

    @property
    def module(self) -> nn.Module:
        """The module that runs first of those that learn."""
        assert self._found is not None, "found when the cut was made"
        return self._found

    def _record(self, first_blocks: Sequence[nn.Module], call: Call) -> tuple[list[Tensor], int]:
        """Run the network once: what runs before the cut, what comes out of it, what reaches the cut."""
        starts = {id(module) for module in first_blocks}

        def started(module: nn.Module, args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
            if self._found is None and id(module) in starts:
                self._found = module
                self._input = first_tensor(args, keywords).clone()

        def ended(module: nn.Module, args: object, output: object) -> None:
            if self._found is None:
                self._order.append((module, map_tensors(output, _blank)))

        with ExitStack() as stack:
            for module in self._model.modules():
                stack.callback(module.register_forward_pre_hook(started, with_kwargs=True).remove)
                stack.callback(module.register_forward_hook(ended).remove)
            with FlopCounterMode(display=False) as counter:
                outputs = self._outputs(call)
        if self._found is None:
            raise NoPrefixError("no block that learns runs in its forward pass")
        if self._input.shape[:1] != (self._n_samples,):
            raise NoPrefixError(f"the first block that learns is given {tuple(self._input.shape)}, not a row a sample")
        return outputs, counter.get_total_flops()

    def _outermost(self) -> dict[nn.Module, list[Any]]:
        """Keep, of modules that ended before the cut, those inside no other such; their outputs in order of calls."""
        ended = {module for module, _ in self._order}
        inside = {inner for module in ended for inner in module.modules() if inner is not module}
        if any(parameter.requires_grad for module in ended for parameter in module.parameters()):
            raise NoPrefixError("something that learns runs before it")
        stand_ins: dict[nn.Module, list[Any]] = {}
        for module, output in self._order:
            if module not in inside:
                stand_ins.setdefault(module, []).append(output)
        return stand_ins

    def _try_out(self, call: Call) -> tuple[list[Tensor], int]:
        try:
            with FlopCounterMode(display=False) as counter, self.serving(self._input, self._n_samples):
                outputs = self._outputs(call)
        except Exception as error:
            raise NoPrefixError(f"it does not run without its frozen part ({type(error).__name__}: {error})") from error
        return outputs, counter.get_total_flops()

    def _outputs(self, call: Call) -> list[Tensor]:
        args, keywords = call
        return [tensor.clone() for _, tensor in tensors_in(self._model(*args, **keywords))]

    @contextmanager
    def serving(self, rows: Tensor, n_samples: int) -> Iterator[None]:
        """Let the next forward pass of the network begin at the cut, with these rows.

        Raises:
            InputError: On leaving, if the pass did not come to the cut: its output would be NaN.
        """
        reached: list[bool] = []
        with ExitStack() as stand_ins:
            for module, outputs in self._stand_ins.items():
                stand_ins.callback(_replace_forward(module, _Player(outputs, self._n_samples, n_samples)))

            def inject(module: nn.Module, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
                stand_ins.close()  # a module that also runs later must be itself again
                handle.remove()
                reached.append(True)
                return _with_first_tensor(args, keywords, rows)

            handle = self.module.register_forward_pre_hook(inject, with_kwargs=True)
            stand_ins.callback(handle.remove)
            yield
        if not reached:
            raise _another_path("none of those that learn")


class _Player:
    """Gives what a module gave in the first pass, call by call: blank, and for so many samples."""

    def __init__(self, outputs: Sequence[Any], n_then: int, n_now: int) -> None:
        self._outputs, self._n_then, self._n_now = list(outputs), n_then, n_now

    def __call__(self, *args: object, **keywords: object) -> Any:
        if not self._outputs:
            raise _another_path("more calls of a layer than at first")
        return map_tensors(self._outputs.pop(0), self._resized)

    def _resized(self, tensor: Tensor) -> Tensor:
        per_sample = tensor.shape[:1] == (self._n_then,)
        return tensor[:1].expand(self._n_now, *tensor.shape[1:]) if per_sample else tensor


def _another_path(got: str) -> InputError:
    cause = "The model's path through its layers depends on the batch"
    return InputError(message(FINDING, "the layers to run as in the first pass", got, cause, "Pass cache=None"))


def _replace_forward(module: nn.Module, forward: Callable[..., Any]) -> Callable[[], None]:
    """Put a forward in place of a module's own; gives what puts it back."""
    before = module.__dict__.get("forward")
    module.__dict__["forward"] = forward

    def restore() -> None:
        if before is None:
            del module.__dict__["forward"]
        else:
            module.__dict__["forward"] = before

    return restore


def _blank(tensor: Tensor) -> Tensor:
    """Give a tensor like this one that is NaN throughout (0 for integers) and takes no memory."""
    fill = float("nan") if tensor.is_floating_point() or tensor.is_complex() else 0
    return torch.full((), fill, dtype=tensor.dtype, device=tensor.device).expand(tensor.shape)


def first_tensor(args: Sequence[Any], keywords: Mapping[str, Any]) -> Tensor:
    """Give the first floating-point tensor that a module is called with.

    Raises:
        NoPrefixError: If there is none.
    """
    for value in (*args, *keywords.values()):
        if isinstance(value, Tensor) and value.is_floating_point():
            return value
    raise NoPrefixError("the first block that learns is given no floating-point tensor")


def _with_first_tensor(args: Sequence[Any], keywords: Mapping[str, Any], rows: Tensor) -> Any:
    old = first_tensor(args, keywords)
    return tuple(rows if v is old else v for v in args), {k: rows if v is old else v for k, v in keywords.items()}
