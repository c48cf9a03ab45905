"""Compress a network: each layer sees its inputs through the directions that matter, and becomes two smaller layers."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from svcca.capture.batches import Forward, kept_batches
from svcca.capture.evaluations import Evaluate, measured
from svcca.capture.layers import match_names, unmatched, unwrap
from svcca.capture.sources import Source
from svcca.capture.targets import Targets, read_targets
from svcca.compress.factors import Layer, as_layer, check_compressible, factorised, weight_by_group
from svcca.compress.layer_inputs import LayerInputs, OriginalLogits, group_moments, input_moments, inputs_of_other
from svcca.compress.placing import check_unshared, direct_feeds, layers_in_order, put
from svcca.compress.ranks import Ranks, Spectrum, asked_ranks, ranks_at, ranks_for_ratio
from svcca.core.directions import Directions
from svcca.core.subspace import WHOLE
from svcca.errors import InputError, SvccaWarning, few_rows, message

Against = str | nn.Module | Targets
"""What the directions of a layer's inputs are chosen by: a name in `AGAINST`, another model, or targets."""

AGAINST = ("outputs", "pls", "pca", "weights")
"""What the directions of a layer's inputs are chosen by, beside targets and another model."""

TRIALS = 8
"""Number of models that are tried for `max_loss`."""
LOWEST_TRIED, HIGHEST_TRIED = 1e-4, 10.0
"""The range of prices of weights that is searched; see `ranks_at`."""


def compress(
    model: nn.Module,
    data: object,
    *,
    layers: str | Sequence[str] | None = None,
    ratio: float | None = None,
    ranks: Ranks | None = None,
    max_loss: float | None = None,
    against: Against = "outputs",
    evaluate: Evaluate | None = None,
    finetune: Callable[[nn.Module], object] | None = None,
    forward: Forward | None = None,
    progress: bool | None = None,
) -> nn.Module:
    """Return a smaller network: chosen layers consume a projection of their inputs on k directions.

    W x becomes (W D)(E x) with a bias that carries the mean of what is left out. Layers are taken one after the other
    in order of execution, each measured on the network as it is compressed so far; where a linear layer feeds another
    one with nothing between, E is taken into it. The result is made of torch's own modules: it trains on, saves and
    exports as any other, and `svcca.load_compressed` reads its weights into a fresh network.

    Args:
        model: The network; left as it is.
        data: Inputs on which layers are measured: a loader, a tensor or a dict of tensors, as for `compare`. Several
            times more samples than a layer has inputs; convolutions and tokens have many rows a sample.
        layers: Names or glob patterns of linear layers and convolutions; default: all that can be compressed.
        ratio: Weights after over weights before, of all chosen layers together. Directions go where they give most of
            a layer's output variance for the weights they take; a layer that would not become smaller is left alone.
        ranks: Directions for each layer instead: a number, a share of its inputs (0.35), or a dict by layer.
        max_loss: Compress as far as `evaluate` falls by no more than this instead; eight models are tried.
        against: What directions are chosen by: "outputs" (default), the layer's own outputs, which change least then
            for so many directions; "logits", CCA of the layer's inputs with the network's output; another model, CCA
            with the inputs of the same layer in it (two seeds); other targets, as for `directions`: "labels", an array,
            a function of the batch, (other_model, "layer"); "pls", by covariance with the logits; "pca", the inputs
            alone; "weights", the SVD of the layer's weights, without data. Where a target gives fewer directions than
            are kept, the rest are principal directions of what it leaves.
        evaluate: evaluate(model) -> float, higher is better, for `max_loss`; called in evaluation mode.
        finetune: Trains a compressed network for a while, in place; called before it is evaluated or returned.
        forward: Your own way to run the model: forward(model, batch).
        progress: Whether to show a bar; None: on a terminal.

    Returns:
        A new network in the dtype, on the device and in the mode of `model`.

    Raises:
        LayerError: For a layer that is not there.
        InputError: For a layer that cannot be compressed (with the reason), options that do not go together or are out
            of range, an `evaluate` that gives no number, or anything about a batch.
        UnknownOptionError: For another `against`.

    Warns:
        SvccaWarning: For layers measured on fewer rows than they have inputs, and where no network keeps `max_loss`.

    Cost:
        For L layers: L or L + 1 forward passes over the data (one more for the logits, twice as many with another
        model), moments n p^2 and a decomposition p^3 of each layer; for `max_loss` eight times that, with as many
        evaluations. Up to 256 MiB of logits are kept.

    References:
        Raghu, Gilmer, Yosinski & Sohl-Dickstein (2017), section 4.4.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(20, 64), torch.nn.ReLU(), torch.nn.Linear(64, 64), torch.nn.Tanh())
    >>> compress(net, torch.randn(1000, 20), layers="2", ranks=16)[2]
    Sequential(
      (0): Linear(in_features=64, out_features=16, bias=False)
      (1): Linear(in_features=16, out_features=64, bias=True)
    )
    """
    asked = {"ratio": ratio, "ranks": ranks, "max_loss": max_loss}
    if sum(value is not None for value in asked.values()) != 1:
        got = ", ".join(name for name, value in asked.items() if value is not None) or "none of them"
        raise InputError(message("compress", "one of ratio, ranks and max_loss", got))
    if max_loss is not None and (evaluate is None or not max_loss >= 0):
        expected = "max_loss of at least 0, and evaluate= to measure it"
        raise InputError(message("compress", expected, f"max_loss={max_loss}, evaluate={evaluate}"))
    original = unwrap(model)
    batches = kept_batches(data, type(original).__name__)
    compressor = Compressor(original, batches, against, forward, progress, finetune)
    chosen = compressor.choose(layers)
    notes: list[str] = []
    if ranks is not None:
        smaller = compressor.compressed(asked_ranks(ranks, chosen))
    elif ratio is not None:
        smaller = compressor.compressed(ranks_for_ratio(compressor.spectra(chosen), ratio))
    else:
        assert evaluate is not None, "checked above"
        assert max_loss is not None, "one of the three is given"
        best = _within_loss(compressor, original, compressor.spectra(chosen), evaluate, max_loss)
        if best is None:
            notes.append(f"No layer was compressed: the least that was tried costs more than {max_loss:g}.")
        smaller = copy.deepcopy(original) if best is None else best
    for note in (*notes, *few_rows("compress", "inputs", compressor.too_few)):
        warnings.warn(note, SvccaWarning, stacklevel=2)
    return smaller


def _within_loss(
    compressor: Compressor, original: nn.Module, spectra: Sequence[Spectrum], evaluate: Evaluate, max_loss: float
) -> nn.Module | None:
    """Search for the price of weights by bisection of its logarithm, since losses grow with it.

    Returns:
        The smallest network that loses no more than is accepted; None if there is none.
    """
    wanted = measured(evaluate, original) - max_loss
    low, high = math.log(LOWEST_TRIED), math.log(HIGHEST_TRIED)
    best, kept = None, dict[str, int]()
    for trial in range(TRIALS):
        middle = low if trial == 0 else (low + high) / 2
        ranks = ranks_at(spectra, math.exp(middle))
        candidate = compressor.compressed(ranks)
        if measured(evaluate, candidate) >= wanted:
            best, kept, low = candidate, ranks, middle
        elif trial == 0:
            break
        else:
            high = middle
    return best if kept else None


class Compressor:
    """Compresses copies of one network, with one set of data and one way to choose directions.

    Args:
        model: The network, without wrappers; left as it is.
        batches: The data that layers are measured on; read once for each layer, and once for the spectra of all. The
            first layer is measured on the network as it is both times: its directions are kept.
        against: What directions are chosen by.
        forward: The user's own way to run the model: forward(model, batch).
        progress: Whether to show bars.
        finetune: Trains a compressed network for a while.

    Attributes:
        too_few: Rows and inputs of the layers that were measured on fewer rows than they have inputs.

    Raises:
        UnknownOptionError: For another name as `against`.
        InputError: For anything that is no target.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Sequence[Any],
        against: Against,
        forward: Forward | None,
        progress: bool | None,
        finetune: Callable[[nn.Module], object] | None,
    ) -> None:
        self._model, self._batches, self._forward = model, batches, forward
        self._progress, self._finetune = progress, finetune
        self._by = against if isinstance(against, str) else "targets"
        self._other = unwrap(against) if isinstance(against, nn.Module) else None
        self._target: Source | None = None
        logits = OriginalLogits(model, forward)
        if self._by == "pls":
            self._target = logits
        elif self._by not in AGAINST and self._other is None:
            others = [*AGAINST, "another model"]
            self._target = read_targets(against, logits, forward, "compress against", others)
        self.too_few: dict[str, tuple[int, int]] = {}
        self._first: dict[str, list[Directions]] = {}
        self._order = layers_in_order(model, batches[0], forward)
        self._feeds = direct_feeds(model)

    def choose(self, layers: str | Sequence[str] | None) -> dict[str, Layer]:
        """Select layers by names and patterns, in order of execution; None selects all that can be compressed.

        Raises:
            LayerError: For a name or pattern that selects nothing.
            InputError: For a layer named or matched that cannot be compressed, or does not run.
        """
        modules = {name: module for name, module in self._model.named_modules() if name}
        if layers is None:
            able = {name: layer for name in self._order if (layer := _able(self._model, name)) is not None}
            if not able:
                expected = "a linear layer or convolution that can be compressed"
                raise InputError(message(f"compress {type(self._model).__name__}", expected, "none"))
            return able
        patterns = [layers] if isinstance(layers, str) else list(layers)
        candidates = [name for name, module in modules.items() if isinstance(module, (nn.Linear, nn.Conv2d))]
        outright = [pattern for pattern in patterns if pattern in modules and pattern not in candidates]
        names, idle = match_names([*candidates, *outright], patterns)
        if idle or not names:
            raise unmatched(f"layers of {type(self._model).__name__}", idle or patterns, candidates)
        for name in names:
            check_compressible(name, modules[name])
            check_unshared(self._model, name)
            if name not in self._order:
                cause = "It does not run in a forward pass, or another module uses its weights, as attention does"
                raise InputError(message(f"compress {name!r}", "a layer that runs", "one that does not", cause))
        return {name: as_layer(modules[name]) for name in self._order if name in names}

    def spectra(self, layers: Mapping[str, Layer]) -> list[Spectrum]:
        """Measure what each direction of each layer contributes, on the network as it is."""
        moments = {} if self._by == "weights" else self._moments(self._model, list(layers))
        spectra = []
        for name, layer in layers.items():
            directions = self._directions(name, layer, moments)
            spectra.append(Spectrum.of(name, layer, directions))
            if not self._first:
                self._first = {name: directions}
        return spectra

    def compressed(self, ranks: Mapping[str, int]) -> nn.Module:
        """Return a copy with so many directions for each of these layers, the others as they are."""
        model = copy.deepcopy(self._model)
        for number, name in enumerate(name for name in self._order if name in ranks):
            layer = as_layer(model.get_submodule(name))
            directions = self._first.get(name) if number == 0 else None
            if directions is None:
                moments = {} if self._by == "weights" else self._moments(model, [name])
                directions = self._directions(name, layer, moments)
            projections = [each.projection(ranks[name]) for each in directions]
            put(model, name, factorised(layer, projections), self._feeds.get(name))
        if self._finetune is not None and ranks:
            self._finetune(model)
        return model

    def _moments(self, model: nn.Module, names: Sequence[str]) -> dict[str, LayerInputs]:
        target = self._target if self._other is None else inputs_of_other(self._other, names, self._forward)
        return input_moments(model, names, self._batches, target, self._forward, self._progress)

    def _directions(self, name: str, layer: Layer, moments: Mapping[str, LayerInputs]) -> list[Directions]:
        """Find the directions of each group of a layer's inputs."""
        if self._by == "weights":
            return [_weight_directions(weight) for weight in weight_by_group(layer)]
        where = f"compress {name!r}, its inputs"
        groups = group_moments(moments[name], layer)
        inputs = [x for x, _ in groups]
        if inputs[0].n_samples < inputs[0].n_features:
            self.too_few[name] = (inputs[0].n_samples, inputs[0].n_features)
        if self._by == "pca":
            return [Directions.principal(x, where) for x in inputs]
        if self._by == "outputs":
            return [Directions.for_outputs(x, w, where) for x, w in zip(inputs, weight_by_group(layer), strict=True)]
        joints = [joint for _, joint in groups if joint is not None]
        if self._by == "pls":
            return [Directions.partial_least_squares(joint, where) for joint in joints]
        # Another net is cut as the layer is; a small direction of a target may be the one that decides.
        target_step = WHOLE if self._other is None else None
        return [Directions.canonical(joint, where=where, target_step=target_step) for joint in joints]


def _able(model: nn.Module, name: str) -> Layer | None:
    try:
        layer = check_compressible(name, model.get_submodule(name))
        check_unshared(model, name)
    except InputError:
        return None
    return layer


def _weight_directions(weight: Tensor) -> Directions:
    """Return the right singular vectors of the weights, which need no data; the mean is zero."""
    vectors = torch.linalg.svd(weight.cpu(), full_matrices=True)[2]
    n_inputs = vectors.shape[0]
    mean, none, alike = vectors.new_zeros(n_inputs), vectors.new_zeros(0), vectors.new_ones(n_inputs)
    kind = "singular vectors of the weights"
    return Directions(kind, mean, vectors.T, vectors, none, 0, n_inputs, alike, float(n_inputs))
