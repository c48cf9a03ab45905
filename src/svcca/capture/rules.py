"""Which rule observes which layer: the one asked for, or the one that the shapes of the outputs allow."""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType

from svcca.capture import observations
from svcca.capture.layers import matches, unmatched
from svcca.capture.observations import Flatten, Observation, Pixels, Tokens
from svcca.errors import InputError, LayerError, message, unknown_option

SAMPLES_A_FEATURE = 5
"""Samples for each feature from which `flatten` is within reach."""


def discovered(package: ModuleType) -> dict[str, Observation]:
    """Return every rule in the modules of a package with its default options, by name."""
    rules: dict[str, Observation] = {}
    for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        module = importlib.import_module(found.name)
        for value in vars(module).values():
            own = isinstance(value, type) and issubclass(value, Observation) and value.__module__ == found.name
            if own and value.name:
                assert value.name not in rules, f"two rules of the name {value.name!r}"
                rules[value.name] = value()
    return rules


RULES: Mapping[str, Observation] = discovered(observations)
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
        InputError: For a rule on some layers only that is for all, as `fourier` is, or targets that are no vectors.
    """
    layers = networks[:-1] if targets else networks
    _check_observe(observe, layers)
    per_sample = targets or any(_needs_one_row_a_sample(observe, shapes) for shapes in layers)
    rules = [
        {name: asked_for(observe, name) or _auto(shape, per_sample) for name, shape in shapes.items()}
        for shapes in layers
    ]
    _check_for_all([rule for network in rules for rule in network.values()])
    alike: dict[type[Observation], list[Sequence[int]]] = {}
    for network, shapes in zip(rules, layers, strict=True):
        for name, rule in network.items():
            alike.setdefault(type(rule), []).append(shapes[name])
    chosen = [{name: rule.settled(alike[type(rule)]) for name, rule in network.items()} for network in rules]
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


def _check_for_all(rules: Sequence[Observation]) -> None:
    """Raise InputError where a rule that is for all layers is that of some."""
    rule = next((rule for rule in rules if rule.for_all_layers), None)
    if rule is not None and any(other != rule for other in rules):
        name = rule.name or type(rule).__name__.lower()
        remedy = f"Pass observe={name!r} or one {type(rule).__name__}(...) for all; vectors take part as they are"
        raise InputError(message("observe", f"{name!r} for every layer or for none", "several rules", "", remedy))


def _rules_of_targets(observe: Observe, targets: Shapes) -> dict[str, Observation]:
    for name, shape in targets.items():
        if len(shape) != 2:
            expected = "shape (n_samples, n_targets)"
            raise InputError(message(f"targets {name!r}", expected, f"shape {tuple(shape)}"))
    rule = common_rule(observe)
    return dict.fromkeys(targets, rule if rule.for_all_layers else RULES["flatten"])


def pooled_by_default(observe: Observe, shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the maps that "auto" observes by `pool`, by layer."""
    return {name: tuple(shape) for name, shape in shapes.items() if len(shape) > 3 and asked_for(observe, name) is None}


def advice_on_maps(shapes: Sequence[tuple[int, ...]], n_samples: int) -> str:
    """Write what `pool` leaves out of maps, and which rules these sizes and this many samples allow instead.

    Args:
        shapes: The shapes of the maps, samples first.
        n_samples: The number of samples.
    """
    sizes = sorted({shape[2:] for shape in shapes})
    widest = max(math.prod(shape[1:]) for shape in shapes)
    advice = "; ".join(text for rule in RULES.values() if (text := rule.advice(sizes)))
    reach = "in reach" if n_samples >= SAMPLES_A_FEATURE * widest else "out of reach"
    return (
        "Maps were observed by 'pool', which lets any two layers be compared: the mean of each channel over all "
        f"positions. To compare whole maps: {advice}; 'flatten' is {reach}, with {n_samples:,} samples for up to "
        f"{widest:,} features."
    )


def common_rule(observe: Observe) -> Observation:
    """Return the rule that is asked what concerns a comparison as a whole.

    It is the one given for all layers. Where there are several, or it is left to "auto", it is one that is for all
    layers or, without such a one, `flatten`, which answers as the base class does.
    """
    given = list(observe.values()) if isinstance(observe, Mapping) else [observe]
    rules = [RULES.get(rule) if isinstance(rule, str) else rule for rule in given]
    found = [rule for rule in rules if isinstance(rule, Observation)]
    if not isinstance(observe, Mapping) and found:
        return found[0]
    return next((rule for rule in found if rule.for_all_layers), RULES["flatten"])


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
    remedy = f"Write {rule.__name__}()" if isinstance(rule, type) and issubclass(rule, Observation) else None
    raise unknown_option("observe", "a rule", rule, ["auto", *RULES], remedy)
