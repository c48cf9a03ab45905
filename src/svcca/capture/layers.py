"""Layers of a model by name or glob pattern, and the tensors inside what a module returns."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from svcca.errors import LayerError, closest, message

ROOT = "(model)"
"""Label of a model that is a single module, and so has no name of its own."""


def unwrap(model: nn.Module) -> nn.Module:
    """Unwrap DataParallel, DistributedDataParallel and torch.compile, whose names would lead every layer's."""
    while True:
        if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        elif isinstance(inner := model._modules.get("_orig_mod"), nn.Module):
            model = inner
        else:
            return model


def as_patterns(layers: str | Sequence[str] | None) -> list[str] | None:
    """Normalise the `layers` argument: one name or pattern, several, or None for every leaf."""
    return [layers] if isinstance(layers, str) else None if layers is None else list(layers)


def match_names(names: Sequence[str], patterns: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split into the names that patterns select, in their own order, and the patterns that select none.

    A pattern is a name or a glob; one that starts with "!" takes layers out again. Only exclusions: out of everything.

    >>> match_names(["conv1", "conv2", "fc"], ["conv*", "!conv2", "head"])
    (['conv1'], ['head'])
    """
    wanted = [pattern for pattern in patterns if not pattern.startswith("!")]
    unwanted = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    chosen = [name for name in names if not wanted or any(matches(name, pattern) for pattern in wanted)]
    kept = [name for name in chosen if not any(matches(name, pattern) for pattern in unwanted)]
    idle = [pattern for pattern in wanted + unwanted if not any(matches(name, pattern) for name in names)]
    return kept, idle


def matches(name: str, pattern: str) -> bool:
    """Return whether a pattern is the name, or a glob that fits it."""
    # The plain comparison first: names such as "lstm:h[0]" hold what a glob would read as a character class.
    return name == pattern or fnmatch.fnmatchcase(name, pattern)


def unmatched(where: str, patterns: Sequence[str], names: Sequence[str]) -> LayerError:
    """Build the error for names and patterns that select nothing."""
    shown = ", ".join(repr(pattern) for pattern in patterns)
    near = list(dict.fromkeys(name for pattern in patterns for name in closest(pattern, names)))
    known = near or list(names[:8])
    more = f" and {len(names) - len(known)} more" if not near and len(names) > len(known) else ""
    remedy = f"{'Closest' if near else 'There are'}: {', '.join(known)}{more}"
    return LayerError(message(where, "names or patterns of layers that are there", shown, remedy=remedy))


def is_leaf(module: nn.Module) -> bool:
    """Return whether a module holds no other module."""
    return next(module.children(), None) is None


def named_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return every module below the root by its name; the root itself only where it is a leaf."""
    if is_leaf(model):
        return {ROOT: model}
    return {name: module for name, module in model.named_modules(remove_duplicate=False) if name}


@dataclasses.dataclass(frozen=True)
class Selection:
    """The modules and tensors that a user asked for.

    Attributes:
        modules: The modules to hook, by name.
        paths: The tensors wanted of each module's output, by path; "" is the first.
        outright: The layers named without a wildcard, (name, path): these must give an output.
        idle_patterns: The patterns that selected nothing.
    """

    modules: dict[str, nn.Module]
    paths: dict[str, set[str]]
    outright: list[tuple[str, str]]
    idle_patterns: list[str]


def select_layers(model: nn.Module, layers: str | Sequence[str] | None, title: str) -> Selection:
    """Find the modules and tensors that names and patterns ask for; None asks for every leaf.

    Raises:
        LayerError: If nothing is selected.
    """
    patterns = as_patterns(layers)
    modules = named_layers(model)
    asked = [(p.partition(":")[0], p.partition(":")[2]) for p in patterns or []]
    wanted = [(name, path) for name, path in asked if not name.startswith("!")]
    known = list(modules) if wanted else [name for name, module in modules.items() if is_leaf(module)]
    names, idle = match_names(known, [name for name, _ in asked])
    if not names:
        raise unmatched(f"layers of {title}", patterns or [], list(modules))
    paths = {name: {path for pattern, path in wanted if matches(name, pattern)} or {""} for name in names}
    first_names = {id(modules[name]): name for name in reversed(names)}  # a module under two names is one layer
    return Selection(
        modules={name: modules[name] for name in names if first_names[id(modules[name])] == name},
        paths=paths,
        outright=[(name, path) for name, path in wanted if first_names.get(id(modules.get(name))) == name],
        idle_patterns=idle,
    )


def tensors_in(output: object) -> Iterator[tuple[str, Tensor]]:
    """Walk the floating-point tensors in a module's output with their paths, depth first.

    Tensors, tuples, lists, mappings and dataclasses are understood; a bare tensor has the path "".

    >>> import torch
    >>> [path for path, _ in tensors_in({"out": torch.ones(1), "state": (torch.ones(1), None)})]
    ['out', 'state.0']
    """
    if isinstance(output, Tensor):
        if output.is_floating_point() or output.is_complex():
            yield "", output
        return
    for key, part in _parts(output):
        for path, tensor in tensors_in(part):
            yield f"{key}.{path}" if path else str(key), tensor


def _parts(output: object) -> Iterator[tuple[object, object]]:
    if isinstance(output, Mapping):
        yield from output.items()
    elif isinstance(output, (tuple, list)):
        yield from enumerate(output)
    elif dataclasses.is_dataclass(output) and not isinstance(output, type):
        for entry in dataclasses.fields(output):
            yield entry.name, getattr(output, entry.name)


def map_tensors(output: object, change: Callable[[Tensor], Tensor]) -> Any:
    """Return a structure like a module's output with every tensor changed; anything but a container is kept.

    >>> import torch
    >>> map_tensors({"out": (torch.ones(1), None)}, lambda tensor: tensor + 1)
    {'out': (tensor([2.]), None)}
    """
    if isinstance(output, Tensor):
        return change(output)
    parts: dict[Any, Any] = {key: map_tensors(part, change) for key, part in _parts(output)}
    kind: Any = type(output)
    if dataclasses.is_dataclass(output) and not isinstance(output, type):  # Hugging Face's are mappings too
        return dataclasses.replace(output, **parts)
    if isinstance(output, Mapping):
        return kind(parts)
    if isinstance(output, (tuple, list)):
        return kind(*parts.values()) if hasattr(output, "_fields") else kind(parts.values())
    return output
