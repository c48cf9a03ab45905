"""What layers are held against: logits, labels, arrays, functions of the batch, layers of another model. One grammar.

`svcca.directions(against=)`, `svcca.compress(against=)`, `svcca.class_sensitivity(targets=)` and
`svcca.compare(targets=)` read their targets here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from svcca.capture.batches import LABEL_KEYS, Batch, Forward
from svcca.capture.hooks import Keep
from svcca.capture.layers import tensors_in
from svcca.capture.observations import Observation, Pixels
from svcca.capture.sources import ArraySource, ModelSource, Source, kept
from svcca.core.arrays import ArrayLike, to_tensor
from svcca.errors import InputError, LayerError, message, unknown_option

Targets = str | ArrayLike | Mapping[str, ArrayLike] | Callable[[Any], ArrayLike] | tuple[nn.Module, str]
"""What a user passes as targets:

- "logits": the model's own, (n_samples, n_classes);
- "labels": those in the batch, (inputs, labels) or a dict with "labels". Floating-point labels, (n_samples,) or
  (n_samples, n_targets), are taken as they are. Integers are one-hot over as many classes as the model has logits, so
  that the number of classes is known from the first batch on and a class that never occurs has its column too;
- an array (n_samples,) or (n_samples, n_targets) over all samples in the order of the data, or a mapping from names to
  such arrays;
- a function of the batch as the loader gave it: f(batch) -> array (n_samples_of_the_batch, ...);
- (model, "layer"): a layer of another model, run on the same batches.
"""

NAMES = ("logits", "labels")
"""Targets that have a name of their own."""

TITLE = "targets"
"""Name of targets in results and messages, and of one that has no other."""

ARRAY = ", an array (n_samples, n_targets)"


def read_targets(
    targets: Targets, logits: Source | None, forward: Forward | None, argument: str, others: Sequence[str] = ()
) -> Source:
    """Turn what a user passed as targets into a source that is read beside a network.

    Args:
        targets: The targets; see `Targets`.
        logits: The logits of the network that they are held against; None where the network is arrays.
        forward: The user's own way to run models.
        argument: The call and its argument, for messages: "compare targets".
        others: Other options of the argument, for the message about an unknown one.

    Raises:
        UnknownOptionError: For a name that does not exist.
        InputError: For anything that is no target.
    """
    call, _, keyword = argument.partition(" ")
    remedy = f"For class labels pass {keyword}='labels', or one-hot columns as floats"
    if isinstance(targets, str) and targets not in NAMES:
        known = [*others, *NAMES, "an array", "a function of the batch", "(model, layer)"]
        raise unknown_option(call, keyword, targets, known)
    if isinstance(targets, nn.Module):
        raise InputError(message(argument, "a layer of another model", "the model", "", "Pass (model, 'layer')"))
    if isinstance(targets, tuple) and len(targets) == 2 and isinstance(targets[0], nn.Module):
        return OtherLayer(targets[0], targets[1], forward, argument)
    if isinstance(targets, str) or (callable(targets) and not hasattr(targets, "__array__")):
        if logits is None:
            got = f"{targets!r}" if isinstance(targets, str) else "a function of the batch"
            raise InputError(message(argument, "arrays as targets of arrays", got, "There is no model to run"))
        if not isinstance(targets, str):
            return FunctionSource(targets, remedy)
        return logits if targets == "logits" else LabelsSource(logits, f"Pass {keyword}={ARRAY}")
    arrays = targets if isinstance(targets, Mapping) else {TITLE: targets}
    named = {name: f"{argument} {name!r}" if arrays is targets else argument for name in arrays}
    _check_names(list(arrays), argument)
    return ArraySource({str(name): _vectors(arrays[name], where, remedy) for name, where in named.items()}, None, TITLE)


def _check_names(names: Sequence[object], argument: str) -> None:
    """Raise InputError for names that are equal as text: one of their columns would be lost."""
    texts = [str(name) for name in names]
    alike = [repr(name) for name, text in zip(names, texts, strict=True) if texts.count(text) > 1]
    if alike:
        raise InputError(message(argument, "names that differ as text", " and ".join(alike[:2])))


def _vectors(array: ArrayLike, where: str, remedy: str) -> Tensor:
    """Read an array of targets as (n_samples, n_targets)."""
    tensor = to_tensor(array, where, remedy)
    if tensor.ndim not in (1, 2) or tensor.is_complex():
        got = f"shape {tuple(tensor.shape)}, {str(tensor.dtype).removeprefix('torch.')}"
        raise InputError(message(where, "a real array (n_samples,) or (n_samples, n_targets)", got))
    return tensor[:, None] if tensor.ndim == 1 else tensor


class LogitsSource(Source):
    """A model's own logits; its forward passes then run to their end.

    Args:
        model: The model that is run.
        keyword: The argument that takes other targets, for messages.
    """

    title = TITLE

    def __init__(self, model: ModelSource, keyword: str) -> None:
        self._model, self._remedy = model, f"Pass {keyword}={ARRAY}"
        self.device = model.device

    def __enter__(self) -> Source:
        self._model.recorder.to_the_end = True
        return self

    def tensors(self, batch: Batch, keep: Keep | None = None) -> dict[str, Tensor]:
        """Read the logits off what the model returned for this batch."""
        where = f"{self._model.title}, {batch.where}"
        return kept({"logits": logits_in(self._model.recorder.output, batch.size, where, self._remedy)}, keep)


class LabelsSource(Source):
    """The labels in each batch.

    Args:
        logits: The model's logits, whose width in the first batch is the number of classes.
        remedy: What to do instead, for messages.
    """

    title = TITLE

    def __init__(self, logits: Source, remedy: str) -> None:
        self._logits, self._remedy = logits, remedy
        self._n_classes = 0

    def tensors(self, batch: Batch, keep: Keep | None = None) -> dict[str, Tensor]:
        """Return the labels of this batch, integers one-hot."""
        labels, where = labels_in(batch.data), f"labels, {batch.where}"
        if labels is None:
            expected = "a batch (inputs, labels) or a dict with 'labels'"
            raise InputError(message(where, expected, type(batch.data).__name__, "", self._remedy))
        labels = _of_samples(labels, batch.size, where)
        if labels.is_floating_point():
            return kept({"labels": labels[:, None] if labels.ndim == 1 else labels}, keep)
        if labels.ndim != 1:
            expected = "integer labels (n_samples,)"
            raise InputError(message(where, expected, f"shape {tuple(labels.shape)}", "", self._remedy))
        if not self._n_classes:  # the first batch, whose forward pass always runs to its end
            self._n_classes = next(iter(self._logits.tensors(batch).values())).shape[-1]
        wrong = labels[(labels < 0) | (labels >= self._n_classes)]
        if len(wrong):
            expected = f"labels from 0 to {self._n_classes - 1}, one for each of the model's logits"
            raise InputError(message(where, expected, str(int(wrong[0])), "", self._remedy))
        return kept({"labels": nn.functional.one_hot(labels.long(), self._n_classes).float()}, keep)


class FunctionSource(Source):
    """A user's function of the batch.

    Args:
        function: The function.
        remedy: What to do about integers, for messages.
    """

    title = TITLE

    def __init__(self, function: Callable[[Any], ArrayLike], remedy: str) -> None:
        self._function, self._remedy = function, remedy

    def tensors(self, batch: Batch, keep: Keep | None = None) -> dict[str, Tensor]:
        """Call the function on the batch as the loader gave it."""
        where = f"targets, {batch.where}"
        block = _of_samples(to_tensor(self._function(batch.data), where, self._remedy), batch.size, where)
        return kept({TITLE: block[:, None] if block.ndim == 1 else block}, keep)


class OtherLayer(ModelSource):
    """A layer of another model, run on the same batches."""

    def __init__(self, model: nn.Module, layer: str, forward: Forward | None, argument: str) -> None:
        super().__init__(model, layer, forward, f"the other {type(model).__name__}")
        self._argument = argument
        self.idle_patterns = None  # names of layers are asked of the networks alone

    def tensors(self, batch: Batch, keep: Keep | None = None) -> dict[str, Tensor]:
        """Run the other model and return the layer's output."""
        outputs = super().tensors(batch, keep)
        if len(outputs) != 1:
            raise one_layer(self._argument, list(outputs))
        return outputs


def one_layer(where: str, found: Sequence[str]) -> LayerError:
    """Build the error for a name that selects several layers."""
    shown = ", ".join(map(repr, found[:4])) + (" ..." if len(found) > 4 else "")
    cause = "A module that runs several times in a forward pass" if all("#" in name for name in found) else ""
    return LayerError(message(where, "one layer", shown, cause, "Name one that runs once"))


def logits_in(output: object, n_samples: int, where: str, remedy: str, *, per_token: bool = False) -> Tensor:
    """Find the logits, (n_samples, n_classes), in what a model returns.

    They are what the output calls `logits`, the output itself, or its only floating-point tensor of that shape: a loss
    beside it is passed over. They are given in memory of their own.

    Args:
        output: What the model returned.
        n_samples: Number of samples of the batch.
        where: Network and batch, for the message.
        remedy: What to do instead, for the message.
        per_token: Whether (n_samples, n_tokens, n_classes) will do too.

    Raises:
        InputError: If there are none of that shape, or several of which none is called `logits`.
    """
    found = getattr(output, "logits", output)
    found = found.get("logits", found) if isinstance(found, Mapping) else found
    fitting = {
        path: tensor
        for path, tensor in tensors_in(found)
        if (tensor.ndim == 2 or (per_token and tensor.ndim == 3)) and len(tensor) == n_samples
    }
    if len(fitting) > 1:
        fitting = {path: tensor for path, tensor in fitting.items() if path.split(".")[-1] == "logits"} or fitting
    if len(fitting) == 1:
        return fitting.popitem()[1].detach().clone()
    if fitting:
        expected = "one output (n_samples, n_classes), or one that is called 'logits'"
        shown = ", ".join(f"{path!r} {tuple(tensor.shape)}" for path, tensor in fitting.items())
        raise InputError(message(where, expected, shown, "", f"{remedy}, or forward= that returns the logits alone"))
    got = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
    raise InputError(message(where, "an output (n_samples, n_classes)", got, "", remedy))


def labels_in(batch: object) -> Tensor | None:
    """Find the labels of a batch: the second of a tuple, or what a dict calls labels."""
    if isinstance(batch, (tuple, list)) and len(batch) > 1 and isinstance(batch[1], Tensor):
        return batch[1]
    inputs = batch[0] if isinstance(batch, (tuple, list)) and batch else batch
    if isinstance(inputs, Mapping):
        return next((inputs[key] for key in LABEL_KEYS if isinstance(inputs.get(key), Tensor)), None)
    return None


def rows_beside(
    target: Tensor, shape: Sequence[int], rule: Observation, mask: Tensor | None, n_samples: int, where: str
) -> Tensor:
    """Return the rows of a target that stand beside the rows of a layer.

    A target with a row a sample is repeated for each of the sample's rows; one with positions of its own must have
    those of the layer.

    Args:
        target: The target, (n_samples, n_targets) or over the same positions as the layer.
        shape: Shape of the layer's tensor in this batch.
        rule: The layer's rule.
        mask: Mask of real tokens, where the batch has one.
        n_samples: Number of samples of the batch.
        where: Layer and batch, for messages.

    Raises:
        InputError: If their samples or positions do not go together.
    """
    if rule.per_sample:
        return _of_samples(target, n_samples, where).reshape(n_samples, -1)
    n_rows = math.prod(shape[:-1])
    if target.ndim == 2 and len(target) == n_samples and shape[0] % n_samples == 0:
        fits = True
        if isinstance(rule, Pixels):
            target = target.repeat_interleave(shape[0] // n_samples, dim=0)
            target = target.reshape(*target.shape, *[1] * (len(shape) - 2)).expand(*target.shape, *shape[2:])
        else:
            target = target[:, None].expand(-1, n_rows // n_samples, -1)
    elif isinstance(rule, Pixels):
        fits = target.ndim == len(shape) and (len(target), *target.shape[2:]) == (shape[0], *shape[2:])
    else:  # of tokens, one of the two may be (n_samples * n_tokens, n_features)
        alike = tuple(target.shape[:-1]) == tuple(shape[:-1])
        fits = alike or (2 in (target.ndim, len(shape)) and math.prod(target.shape[:-1]) == n_rows)
    if not fits:
        got = f"{tuple(target.shape)} beside {tuple(shape)}"
        remedy = "Pass a target with one row a sample, or one over the layer's own positions"
        raise InputError(message(where, "a target over the same positions as the layer", got, "", remedy))
    return rule.rows(target, mask, where)


def _of_samples(target: Tensor, n_samples: int, where: str) -> Tensor:
    if target.ndim == 0 or len(target) != n_samples:
        got = f"shape {tuple(target.shape)}"
        raise InputError(message(where, f"targets of the batch's {n_samples} samples along the first axis", got))
    return target
