"""Which rule observes which layer: the one asked for, or the one that the shapes of the outputs allow."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from svcca.capture.layers import matches, unmatched
from svcca.capture.observations import (
    Flatten,
    Fourier,
    Interpolate,
    LastToken,
    MeanToken,
    Observation,
    Pixels,
    Pool,
    Tokens,
)
from svcca.core.resample import largest
from svcca.errors import InputError, LayerError, message, unknown_option
from svcca.fourier.frequencies import match_frequencies

SAMPLES_A_FEATURE = 5
"""Samples for each feature from which `flatten` is within reach."""

RULES: dict[str, Observation] = {
    "flatten": Flatten(),
    "pixels": Pixels(),
    "pool": Pool(),
    "tokens": Tokens(),
    "last_token": LastToken(),
    "mean_token": MeanToken(),
    "interpolate": Interpolate(),
    "fourier": Fourier(),
}
"""Every rule that `observe` takes by name, beside "auto"."""

Observe = str | Observation | Mapping[str, str | Observation]
"""A rule by name, a rule, or a mapping from layer name or pattern to either."""

PROJECTABLE: dict[type[Observation], str] = {Flatten: "flatten", Pixels: "pixels", Tokens: "tokens"}
"""Rules by which a projection of the rows can be put back in their place."""

Shapes = Mapping[str, Sequence[int]]
"""Shape of the first tensor of each layer of a network, by label."""
Rules = Mapping[str, Observation]
"""Rule of each layer of a network, by label; layers without a rule are left out."""
Choose = Callable[[Sequence[Shapes]], Sequence[Rules]]
"""Fixes the rules of all networks together, from the shapes in the first batch."""


def choose_rules(
    observe: Observe, networks: Sequence[Shapes], *, targets: bool = False
) -> list[dict[str, Observation]]:
    """Choose each layer's rule from the shape of its first output.

    `auto` goes by rank: (n, features) as it is; (n, tokens, features) by `tokens`, or by `mean_token` where another
    layer can only give one row a sample; (n, channels, *positions) by `pool`.

    Args:
        observe: The rule, or rules by layer, that the user asked for.
        networks: For each network, the shape of each layer's first output, samples first.
        targets: Whether the last of them holds targets, which are vectors whatever the rule for layers is.

    Raises:
        UnknownOptionError: For a rule that does not exist.
        LayerError: For a pattern of `observe` that fits no layer.
        InputError: For `fourier` on some layers only, or targets that are no vectors.
    """
    layers = networks[:-1] if targets else networks
    _check_observe(observe, layers)
    per_sample = targets or any(_needs_one_row_a_sample(observe, shapes) for shapes in layers)
    rules = [
        {name: asked_for(observe, name) or _auto(shape, per_sample) for name, shape in shapes.items()}
        for shapes in layers
    ]
    every = [rule for network in rules for rule in network.values()]
    if len({rule if isinstance(rule, Fourier) else None for rule in every}) > 1:
        remedy = "Pass observe='fourier' or one Fourier(...) for all; vectors take part as they are"
        raise InputError(message("observe", "'fourier' for every layer or for none", "several rules", "", remedy))
    largest_maps = _largest_maps(rules, layers)
    chosen = [{name: _sized(rule, largest_maps) for name, rule in network_rules.items()} for network_rules in rules]
    return [*chosen, _rules_of_targets(observe, networks[-1])] if targets else chosen


def choose_projectable(
    observe: Observe, networks: Sequence[Shapes], *, named_outright: Callable[[str], bool]
) -> list[dict[str, Observation]]:
    """Choose rules by which a projection can be put back: vectors by flatten, tokens by tokens, maps by pixels.

    Layers that run several times in a forward pass, or are not (n_samples, features, ...), are left out unless the user
    named them.

    Args:
        observe: The rule, or rules by layer, that the user asked for.
        networks: The shapes of one network.
        named_outright: Whether a layer was named by the user.

    Raises:
        UnknownOptionError: For a rule that does not exist.
        LayerError: For a named layer that runs several times, or a pattern of `observe` that fits no layer.
        InputError: For another rule.
    """
    (shapes,) = networks
    _check_observe(observe, networks)
    rules = {}
    for name, shape in shapes.items():
        if named_outright(name):
            check_runs_once(name, "directions")
        elif "#" in name or len(shape) < 2:
            continue
        rule = asked_for(observe, name)
        if rule is None:
            rule = RULES["flatten" if len(shape) <= 2 else "tokens" if len(shape) == 3 else "pixels"]
        if type(rule) not in PROJECTABLE:
            expected = "observe as 'flatten', 'pixels' or 'tokens', by which a projection can be put back"
            raise InputError(message(f"directions of {name!r}", expected, type(rule).__name__))
        rules[name] = rule
    return [rules]


def check_runs_once(name: str, where: str) -> None:
    """Raise LayerError for a layer that is one of several calls of its module in a forward pass."""
    if "#" in name:
        cause = "The module is called more than once, and its calls could not be told apart"
        raise LayerError(message(where, "a layer that runs once in a forward pass", repr(name), cause))


def _check_observe(observe: Observe, networks: Sequence[Shapes]) -> None:
    """Raise LayerError for a pattern of `observe` that fits no layer."""
    names = list(dict.fromkeys(name for shapes in networks for name in shapes))
    patterns = list(observe) if isinstance(observe, Mapping) else []
    idle = [pattern for pattern in patterns if not any(matches(name, pattern) for name in names)]
    if idle:
        raise unmatched("observe", idle, names)


def _rules_of_targets(observe: Observe, targets: Shapes) -> dict[str, Observation]:
    for name, shape in targets.items():
        if len(shape) != 2:
            expected = "shape (n_samples, n_targets)"
            raise InputError(message(f"targets {name!r}", expected, f"shape {tuple(shape)}"))
    return dict.fromkeys(targets, fourier_rule(observe) or RULES["flatten"])


def pooled_by_default(observe: Observe, shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the maps that "auto" observes by `pool`, by layer."""
    return {name: tuple(shape) for name, shape in shapes.items() if len(shape) > 3 and asked_for(observe, name) is None}


def advice_on_maps(shapes: Sequence[tuple[int, ...]], n_samples: int) -> str:
    """Write what `pool` leaves out of maps, and which rules these sizes and this many samples allow instead.

    Args:
        shapes: The shapes of the maps, samples first.
        n_samples: The number of samples.
    """
    sizes = {shape[2:] for shape in shapes}
    widest = max(math.prod(shape[1:]) for shape in shapes)
    text = (
        "Maps were observed by 'pool', which lets any two layers be compared: the mean of each channel over all "
        "positions. To compare whole maps: 'fourier' for convolutional layers"
    )
    if any(_do_not_match(a, b) for a, b in combinations(sorted(sizes), 2)):
        text += ", with Fourier(resize=...) since their sizes do not divide each other"
    text += "; 'pixels', since they have one size" if len(sizes) == 1 else "; 'interpolate', since their sizes differ"
    enough = n_samples >= SAMPLES_A_FEATURE * widest
    reach = "in reach" if enough else "out of reach"
    return f"{text}; 'flatten' is {reach}, with {n_samples:,} samples for up to {widest:,} features."


def _do_not_match(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Tell whether two maps have no frequencies in common by themselves."""
    try:
        match_frequencies(a, b, None, "")
    except InputError:
        return True
    return False


def fourier_rule(observe: Observe) -> Fourier | None:
    """Return the Fourier rule where it is the one asked for, else None."""
    rule = RULES.get(observe) if isinstance(observe, str) else observe
    return rule if isinstance(rule, Fourier) else None


def _largest_maps(rules: Sequence[Rules], networks: Sequence[Shapes]) -> tuple[int, ...]:
    """Return the size that `interpolate` resizes to: the largest along each axis."""
    shapes = [
        shapes[name][2:]
        for network_rules, shapes in zip(rules, networks, strict=True)
        for name, rule in network_rules.items()
        if isinstance(rule, Interpolate) and len(shapes[name]) > 2
    ]
    same_rank = [sizes for sizes in shapes if len(sizes) == len(shapes[0])]
    return largest(same_rank) if same_rank else ()


def _sized(rule: Observation, sizes: tuple[int, ...]) -> Observation:
    return replace(rule, sizes=sizes) if isinstance(rule, Interpolate) and rule.sizes is None else rule


def _needs_one_row_a_sample(observe: Observe, shapes: Shapes) -> bool:
    """Whether some layer, by its rule or by its shape, gives one row a sample."""
    return any(
        rule.per_sample if (rule := asked_for(observe, name)) else len(shape) != 3 for name, shape in shapes.items()
    )


def _auto(shape: Sequence[int], all_per_sample: bool) -> Observation:
    if len(shape) <= 2:
        return RULES["flatten"]
    if len(shape) == 3:
        return RULES["mean_token" if all_per_sample else "tokens"]
    return RULES["pool"]


def asked_for(observe: Observe, name: str) -> Observation | None:
    """Look up the rule asked for a layer; None where it is left to "auto"."""
    rule: object = observe
    if isinstance(observe, Mapping):
        rule = next((rule for pattern, rule in observe.items() if matches(name, pattern)), "auto")
    if rule == "auto":
        return None
    if isinstance(rule, str) and rule in RULES:
        return RULES[rule]
    if isinstance(rule, Observation) and not isinstance(rule, type):
        return rule
    raise unknown_option("observe", "a rule", rule, ["auto", *RULES])
