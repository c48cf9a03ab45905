"""Where the frozen prefix of a network ends, and how to run the rest without it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from svcca.capture.batches import batch_size, device_of
from svcca.capture.flops import counting_flops
from svcca.capture.hooks import evaluating, preserved_rng
from svcca.capture.layers import map_tensors, tensors_in
from svcca.errors import InputError, message
from svcca.freeze.savings import Call

FINDING = "prefix of the network"


class NoPrefixError(Exception):
    """The network cannot be cut below its first block that learns; the text says why."""


class _Reached(BaseException):
    """Ends a forward pass at the first block that learns. No Exception, so that no model swallows it."""


@dataclass(frozen=True, eq=False)
class _Place:
    """Where a network may be cut: the input of a module, after so many others have ended."""

    module: nn.Module
    rows: Tensor
    n_ended: int


class PrefixCut:
    """A network cut between its frozen blocks and those that learn.

    What runs before the cut is replaced, for one forward pass, by stand-ins of the right shapes full of NaN, until the
    module at the cut is reached and is given the true input: so the user's own `forward` runs as it is, and whatever
    else of the prefix the rest depends on would show. That it does not is tried out when the cut is found: the
    network's output must be the same to the last bit.

    The cut is as near to the first block that learns as what reaches it is the same in training as in evaluation:
    below a dropout that stands between.

    Args:
        model: The network, without wrappers, in training.
        frozen: Outermost modules of the frozen blocks.
        learning: Those of the blocks that learn.
        call: What the model was called with, as an example.

    Attributes:
        module: Is given the rows that are kept.
        example: Those of the example.
        skipped_flops_per_sample: Floating-point operations of a forward pass that the cut saves.
        finding_flops: Those of finding it.

    Raises:
        NoPrefixError: If the network cannot be cut.
    """

    def __init__(
        self, model: nn.Module, frozen: Sequence[nn.Module], learning: Sequence[nn.Module], call: Call
    ) -> None:
        self._model = model
        self._n_samples = batch_size(call, FINDING)
        with preserved_rng([device_of(model)]), torch.no_grad():
            with evaluating(model):
                places, ended, whole, flops_whole = self._explore(frozen, learning, call)
            buffers = [(buffer, buffer.clone()) for module, _ in ended for buffer in module.buffers()]
            in_training = self._explore(frozen, learning, call, stop=True)[0]
            for buffer, before in buffers:
                buffer.copy_(before)
            place = _last_alike(places, in_training)
            if place.rows.shape[:1] != (self._n_samples,):
                raise NoPrefixError(f"the blocks that learn are given {tuple(place.rows.shape)}, not a row a sample")
            self.module, self.example = place.module, place.rows
            self._stand_ins = _outermost(ended[: place.n_ended])
            with evaluating(model):
                rest, flops_rest = self._try_out(place.rows, call)
        same = len(whole) == len(rest) and all(map(_identical, whole, rest))
        if not same or not whole:
            raise NoPrefixError("the blocks that learn use more of the frozen ones than one tensor")
        self.skipped_flops_per_sample = (flops_whole - flops_rest) / self._n_samples
        self.finding_flops = 2 * flops_whole + flops_rest

    def _explore(
        self, frozen: Sequence[nn.Module], learning: Sequence[nn.Module], call: Call, *, stop: bool = False
    ) -> tuple[list[_Place], list[tuple[nn.Module, Any]], list[Tensor], int]:
        """Run the network once, on request only to the first block that learns.

        Returns:
            Places to cut it, modules that ended before with their outputs, blank; the network's outputs, operations.
        """
        ends, starts = set(map(id, frozen)), set(map(id, learning))
        places: list[_Place] = []
        ended: list[tuple[nn.Module, Any]] = []
        seen: set[int] = set()
        found = False

        def started(module: nn.Module, args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
            nonlocal found
            if found:
                return
            found = id(module) in starts
            rows = first_tensor(args, keywords)
            if rows is not None and id(module) not in seen:  # a module that ran before is no mark to stop at
                places.append(_Place(module, rows.clone(), len(ended)))
            elif found:
                raise NoPrefixError("the first block that learns is given no floating-point tensor")
            seen.add(id(module))
            if found and stop:
                raise _Reached

        def finished(module: nn.Module, args: object, output: object) -> None:
            if not found:
                ended.append((module, map_tensors(output, _blank)))
                if id(module) in ends:
                    places.clear()

        outputs: list[Tensor] = []
        with ExitStack() as stack, counting_flops(device_of(self._model)) as counter:
            for module in self._model.modules():
                stack.callback(module.register_forward_pre_hook(started, with_kwargs=True).remove)
                stack.callback(module.register_forward_hook(finished).remove)
            try:
                outputs = self._outputs(call)
            except _Reached:
                pass
            except NoPrefixError:
                raise
            except Exception as error:  # whatever the user's forward raises where it is only tried out
                text = f"it does not run in evaluation mode ({type(error).__name__}: {error})"
                raise NoPrefixError(text) from error
        if not found:
            raise NoPrefixError("no block that learns runs in its forward pass")
        return places, ended, outputs, counter.get_total_flops()

    def _try_out(self, rows: Tensor, call: Call) -> tuple[list[Tensor], int]:
        try:
            with counting_flops(device_of(self._model)) as counter, self.serving(rows, self._n_samples):
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


def _last_alike(places: Sequence[_Place], in_training: Sequence[_Place]) -> _Place:
    """Give the last place up to which the network computes the same in training as in evaluation."""
    alike = None
    for place, other in zip(places, in_training, strict=False):
        if place.module is not other.module or not _identical(place.rows, other.rows):
            break
        alike = place
    if alike is None:
        cause = "dropout or normalisation between them; name it in their blocks"
        raise NoPrefixError(f"the frozen blocks compute something else in training than in evaluation ({cause})")
    return alike


def _outermost(ended: Sequence[tuple[nn.Module, Any]]) -> dict[nn.Module, list[Any]]:
    """Keep, of modules that ended before the cut, those inside no other such; their outputs in order of calls."""
    modules = {module for module, _ in ended}
    if any(parameter.requires_grad for module in modules for parameter in module.parameters()):
        raise NoPrefixError("something that learns runs before the first block that does")
    inside = {inner for module in modules for inner in module.modules() if inner is not module}
    stand_ins: dict[nn.Module, list[Any]] = {}
    for module, output in ended:
        if module not in inside:
            stand_ins.setdefault(module, []).append(output)
    return stand_ins


def _identical(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)


def _blank(tensor: Tensor) -> Tensor:
    """Give a tensor like this one that is NaN throughout (0 for integers) and takes no memory."""
    fill = float("nan") if tensor.is_floating_point() or tensor.is_complex() else 0
    return torch.full((), fill, dtype=tensor.dtype, device=tensor.device).expand(tensor.shape)


def first_tensor(args: Sequence[Any], keywords: Mapping[str, Any]) -> Tensor | None:
    """Give the first floating-point tensor that a module is called with."""
    values = (*args, *keywords.values())
    return next((value for value in values if isinstance(value, Tensor) and value.is_floating_point()), None)


def _with_first_tensor(args: Sequence[Any], keywords: Mapping[str, Any], rows: Tensor) -> Any:
    old = first_tensor(args, keywords)
    rows = rows if old is None else rows.to(old.device)
    return tuple(rows if v is old else v for v in args), {k: rows if v is old else v for k, v in keywords.items()}
