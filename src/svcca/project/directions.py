"""Directions of a layer of a model, in order of importance: `directions`."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from svcca.capture.batches import Forward
from svcca.capture.rules import Observe
from svcca.capture.sources import ModelSource, Source
from svcca.capture.targets import LogitsSource, Targets, one_layer, read_targets
from svcca.core.arrays import to_numpy
from svcca.core.directions import Directions, Form, Projection
from svcca.core.subspace import WHOLE, SVDStep
from svcca.errors import InputError, SvccaError, SvccaWarning, few_rows, message, unknown_option
from svcca.project.layer_moments import LayerMoments, measure_layers

BASELINES = {
    "pca": "principal directions",
    "random_directions": "random directions",
    "random_neurons": "random neurons",
    "largest_activation": "neurons of largest activation",
}
"""What needs no target, and what it is called."""

SINGLE_UNITS = ("random_neurons", "largest_activation")
"""Of these, directions that are units and not fitted to the rows."""

METHODS = {"cca": "CCA", "pls": "PLS"}

Against = str | nn.Module | Targets
"""What directions are chosen by: targets, another model for its layer of the same name, or a name in `BASELINES`."""


@dataclass(frozen=True, eq=False, repr=False)
class LayerDirections:
    """Directions of a layer of a model, the most important first, as many as it has units.

    Attributes:
        layer: Name of the layer.
        kind: The way they were found, in words: "CCA with the logits".
        observation: What a row was: "flatten" (a sample), "pixels" (a position of a map), "tokens" (a real token).
        shape: What the features are: shape of a sample's output for "flatten", otherwise (n_features,).
        directions: The numbers: weights, what they give back, correlations.
        measured: Moments of the layer they were found from; the baselines come from these.
    """

    layer: str
    kind: str
    observation: str
    shape: tuple[int, ...]
    directions: Directions
    measured: LayerMoments

    @property
    def n_features(self) -> int:
        """Width of the layer: units, channels, or features of a token."""
        return self.directions.n_features

    @property
    def n_samples(self) -> int:
        """Number of rows they were found over."""
        return self.measured.moments.n_samples

    @property
    def n_from_target(self) -> int:
        """How many the target gave; the rest are principal directions of what these leave of the layer."""
        return self.directions.n_from_target

    @property
    def rank(self) -> int:
        """Along how many directions the layer varies."""
        return self.directions.rank

    @property
    def correlations(self) -> npt.NDArray[np.float64]:
        """Canonical correlation of each direction that CCA gave, (n_from_target,); empty for other kinds."""
        return to_numpy(self.directions.correlations)

    @property
    def explained_variance_ratio(self) -> npt.NDArray[np.float64]:
        """Share of the layer's variance that each adds, (n_features,)."""
        return to_numpy(self.directions.explained_variance_ratio)

    def projection(self, k: int, form: Form = "data") -> Projection:
        """Return the projection on the first k of them; see `svcca.project` for the forms.

        Raises:
            InputError: If there are not as many.
            UnknownOptionError: For another form.
        """
        try:
            return self.directions.projection(k, form)
        except SvccaError as error:
            error.add_note(f"svcca: layer {self.layer!r}, {self.kind}")
            raise

    def importance(self, k: int) -> npt.NDArray[np.float64]:
        """Compute how much each unit matters to the first k directions: sum over i of rho_i |w_ij| s_j, (n_features,).

        w_ij is the weight of unit j in direction i, s_j the unit's standard deviation, so that units of any scale count
        alike; rho_i is the canonical correlation, 0 for what only completes the directions of a target, and 1 for
        directions that have none (PCA, PLS, random). The paper says "most important" without a formula.
        """
        weights = self.directions.encoder[:, :k].abs()
        rho = torch.ones(k, dtype=weights.dtype, device=weights.device)
        if len(self.directions.correlations):
            rho[:] = 0.0
            count = min(k, len(self.directions.correlations))
            rho[:count] = self.directions.correlations[:count]
        deviations = torch.diagonal(self.measured.moments.covariance).clamp_min(0).sqrt()
        return to_numpy((weights @ rho) * deviations)

    def baseline(self, kind: str, seed: int = 0) -> LayerDirections:
        """Return other directions of the same layer from the same moments; nothing is run again.

        Args:
            kind: "pca", "random_directions", "random_neurons" or "largest_activation".
            seed: The seed of random ones.

        Raises:
            UnknownOptionError: For another kind.
        """
        if kind not in BASELINES:
            raise unknown_option(f"baseline of {self.layer!r}", "kind", kind, BASELINES)
        return _baseline(self.measured, kind, seed)

    def __repr__(self) -> str:
        """Describe the directions in a line: what they are and where they come from."""
        rest = self.n_features - self.n_from_target
        source = ""
        if self.n_from_target:
            source = f", {self.n_from_target} from the target"
            source += f" and {rest} principal direction{'s' * (rest > 1)} of the residual" if rest else ""
        rows = f"{self.observation}, {self.n_samples:,} rows"
        return f"LayerDirections({self.layer!r}, {self.n_features} directions: {self.kind}{source}; {rows})"


def directions(
    model: nn.Module,
    data: object,
    layer: str,
    *,
    against: Against = "pca",
    method: str | None = None,
    other_layer: str | None = None,
    observe: Observe = "auto",
    retained_variance: float = 0.99,
    forward: Forward | None = None,
    seed: int = 0,
    progress: bool | None = None,
) -> LayerDirections:
    """Find the directions of a layer that matter most to something, in order.

    There are always as many as the layer has units. Where the target gives fewer, ten logits at most ten, the rest are
    principal directions of what those leave of the layer; `n_from_target` and the printed form say how many are which.

    Args:
        model: The model. It is run in evaluation mode without gradients and handed back as it was.
        data: Its inputs, as for `compare`.
        layer: Name of a layer; "name:path" is one tensor of several that it returns.
        against: What they are chosen by. Targets: "logits", the model's own; "labels", those of the batch; an array
            (n_samples, q) or (n_samples,) in the order of the data; a function of the batch; (other_model, "layer").
            Another model: its layer of the same name, as in two seeds of one net. Without a target: "pca" (default),
            principal directions; and the baselines "random_directions", "random_neurons", "largest_activation" (single
            units by mean absolute activation).
        method: How, where there is a target: "cca" (default), directions of largest correlation, or "pls", of largest
            covariance.
        other_layer: The layer of the other model, where it has another name.
        observe: What is a row and what a feature: "flatten" (whole outputs), "pixels" (a row a position, features are
            channels) or "tokens"; "pixels" and "tokens" project each position alike. "auto": vectors by flatten, maps
            of two or more spatial axes by pixels, (n_samples, n_tokens, n_features) by tokens. Padding in a batch's
            `attention_mask` does not count. Where rows are pixels or tokens, a target with one row a sample is repeated
            for each of its rows.
        retained_variance: Share of the layer's variance whose directions CCA may use, and of another network's. Logits
            and arrays are not cut: their small directions may be the ones that decide.
        forward: Your own way to run the models: forward(model, batch).
        seed: The seed of random baselines.
        progress: Whether to show a bar; None: on a terminal.

    Returns:
        The directions, with the layer and the rule they belong to.

    Raises:
        LayerError: For a layer that is not there, or runs several times in a forward pass.
        UnknownOptionError: For an unknown `against`, `method` or rule.
        InputError: For a rule that no projection can be put back by, a target over other positions, non-finite values,
            a constant layer, or arguments that do not go together.
        SampleError: For targets of another number of samples.

    Warns:
        SvccaWarning: For fewer rows than the layer has features, unless single units are asked for.

    Cost:
        One forward pass over the data (of both models), 2 n (p^2 + p q + q^2) operations for n rows of p features and a
        target of q, and a few decompositions of p x p. Memory: the moments, 8 (p^2 + p q + q^2) bytes.

    References:
        Raghu, Gilmer, Yosinski & Sohl-Dickstein (2017), sections 2.1 and 4.4.

    >>> net = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    >>> found = directions(net, torch.randn(200, 6), "0", against="logits")
    >>> found.kind, found.n_features, found.n_from_target, found.observation
    ('CCA with the logits', 8, 3, 'flatten')
    """
    step = SVDStep(retained_variance)
    source = ModelSource(model, layer, forward, type(model).__name__)
    target, kind = target_of(against, method, source, layer, other_layer, forward)
    measured, _ = measure_layers(source, data, target, observe, progress)
    if len(measured) != 1:
        raise one_layer("directions", [each.layer for each in measured])
    found = directions_of(measured[0], against, method, kind, step, seed)
    n_rows, width = found.n_samples, found.n_features
    if n_rows < width and not (isinstance(against, str) and against in SINGLE_UNITS):
        for note in few_rows("directions", "features", {found.layer: (n_rows, width)}):
            warnings.warn(note, SvccaWarning, stacklevel=2)
    return found


def target_of(
    against: Against,
    method: str | None,
    source: ModelSource,
    layer: str | None,
    other_layer: str | None,
    forward: Forward | None,
) -> tuple[Source | None, str]:
    """Read what directions are chosen by: the target, None where there is none, and their name.

    Raises:
        UnknownOptionError: For a name that does not exist.
        InputError: For arguments that do not go together.
    """
    if method is not None and method not in METHODS:
        raise unknown_option("directions", "method", method, METHODS)
    if other_layer is not None and not isinstance(against, nn.Module):
        got = f"against={against!r}" if isinstance(against, str) else "an array"
        raise InputError(message("directions, other_layer", "another model to find it in", got))
    if isinstance(against, str) and against in BASELINES:
        if method is not None:
            got = f"method={method!r} with against={against!r}"
            remedy = "Pass against='logits', another model or an array"
            raise InputError(message("directions, method", "a target for it", got, "", remedy))
        return None, BASELINES[against]
    name = METHODS[method or "cca"]
    if isinstance(against, nn.Module):
        theirs = other_layer or layer
        assert theirs is not None, "one layer is asked for where there is another model"
        against = (against, theirs)
    target = read_targets(
        against, LogitsSource(source, "against"), forward, "directions against", [*BASELINES, "another model"]
    )
    if isinstance(against, str):
        return target, f"{name} with the {against}"
    if isinstance(against, tuple):
        return target, f"{name} with " + (f"{against[1]} of another net" if against[1] != layer else "another net")
    return target, f"{name} with targets"


def directions_of(
    measured: LayerMoments, against: Against, method: str | None, kind: str, step: SVDStep, seed: int
) -> LayerDirections:
    """Find directions from the moments of a layer and of its target."""
    if measured.joint is None:
        assert isinstance(against, str)
        return _baseline(measured, against, seed)
    try:
        if method == "pls":
            found = Directions.partial_least_squares(measured.joint)
        else:
            target_step = step if isinstance(against, (nn.Module, tuple)) else WHOLE
            found = Directions.canonical(measured.joint, step, target_step=target_step)
    except SvccaError as error:
        error.add_note(f"svcca: x is layer {measured.layer!r}, y its target")
        raise
    return LayerDirections(measured.layer, kind, measured.observation, measured.shape, found, measured)


def _baseline(measured: LayerMoments, kind: str, seed: int) -> LayerDirections:
    name = BASELINES[kind]
    generator = torch.Generator().manual_seed(seed)
    try:
        found = _without_target(measured, kind, name, generator)
    except SvccaError as error:
        error.add_note(f"svcca: x is layer {measured.layer!r}")
        raise
    return LayerDirections(measured.layer, name, measured.observation, measured.shape, found, measured)


def _without_target(measured: LayerMoments, kind: str, name: str, generator: torch.Generator) -> Directions:
    moments = measured.moments
    if kind == "pca":
        return Directions.principal(moments)
    if kind == "random_directions":
        return Directions.random(moments, generator)
    order: Tensor = torch.randperm(moments.n_features, generator=generator)
    if kind == "largest_activation":
        order = measured.activation.argsort(descending=True, stable=True)
    return Directions.neurons(moments, order, name)
