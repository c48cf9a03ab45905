"""Blocks of a network, in order from the input: the parts that Freeze Training freezes one after the other."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn

from svcca.capture.layers import is_leaf, match_names, unmatched
from svcca.errors import InputError, SvccaWarning, message

BlockSpec = str | Sequence[str]
"""A block as a user names it: a name or glob pattern of modules or parameters, or several of them."""


@dataclass(frozen=True)
class Block:
    """Part of a network that is frozen as a whole.

    Attributes:
        name: Name of the block: the first of its modules or parameters.
        modules: Names of its outermost modules, in order.
        parameters: Names of all its parameters.
        n_parameters: Number of values in them.
    """

    name: str
    modules: tuple[str, ...]
    parameters: tuple[str, ...]
    n_parameters: int


def find_blocks(model: nn.Module) -> tuple[Block, ...]:
    """Find the blocks of a network: its layers or residual blocks, in the order in which they are registered.

    Sequences and lists of modules are opened, and so is a module that holds a stack of blocks of one class (an
    encoder); any other module stays whole. A normalisation layer joins the block before it, a parameter outside of
    every module (a class token) the first block beside it. A parameter that blocks share belongs to the first of them.

    Args:
        model: Network to search.

    Returns:
        Blocks from the input on.

    Raises:
        InputError: If the network has no parameters.
    """
    prefix, inner = _inner_network(model)
    owners: dict[int, str] = {}
    blocks = []
    for names in _units(inner, prefix):
        block = _block(model, names)
        own = []
        for name in block.parameters:
            owner = owners.setdefault(id(model.get_parameter(name)), block.name)
            if owner == block.name:
                own.append(name)
            else:
                text = f"Parameter {name!r} is shared with block {owner!r}: it stops learning when that block freezes."
                warnings.warn(text, SvccaWarning, stacklevel=3)
        if own:
            blocks.append(Block(block.name, block.modules, tuple(own), _count(model, own)))
    if not blocks:
        raise InputError(message(f"blocks of {type(model).__name__}", "a network with parameters", "none"))
    return tuple(blocks)


def named_blocks(model: nn.Module, blocks: Sequence[BlockSpec]) -> tuple[Block, ...]:
    """Return the blocks that a user named, in the user's order.

    Raises:
        LayerError: If a name or pattern fits nothing.
        InputError: If there is no name, a block has no parameters, or two blocks overlap.
    """
    where = f"blocks of {type(model).__name__}"
    if isinstance(blocks, str) or not blocks:
        expected = "a sequence of names, from the input on"
        raise InputError(message(where, expected, repr(blocks), "", "Leave blocks out to have them found"))
    modules = [name for name, _ in model.named_modules() if name]
    known = modules + [name for name, _ in model.named_parameters()]
    found = []
    for spec in blocks:
        patterns = [spec] if isinstance(spec, str) else list(spec)
        names, idle = match_names(known, patterns)
        if idle or not names:
            raise unmatched(where, idle or patterns, known)
        block = _block(model, [name for name in names if not any(name.startswith(f"{outer}.") for outer in names)])
        if not block.parameters:
            remedy = "Leave it out: only what holds parameters can be frozen"
            raise InputError(message(where, "parameters in every block", f"none in {block.name!r}", "", remedy))
        found.append(block)
    _refuse_overlap(model, found, where)
    return tuple(found)


def roots_of(model: nn.Module, block: Block) -> list[nn.Module]:
    """Return the outermost modules of a block."""
    return [model.get_submodule(name) for name in block.modules]


def _refuse_overlap(model: nn.Module, blocks: Sequence[Block], where: str) -> None:
    owners: dict[int, tuple[int, str]] = {}
    for number, block in enumerate(blocks):
        for name in block.parameters:
            first, owner = owners.setdefault(id(model.get_parameter(name)), (number, block.name))
            if first != number:
                got = f"{name!r} in {owner!r} and in {block.name!r}"
                cause = "The blocks overlap, or share a parameter"
                raise InputError(message(where, "every parameter in one block", got, cause, "Put them in one block"))


def _block(model: nn.Module, names: Sequence[str]) -> Block:
    modules = dict(model.named_modules())
    inside = tuple(name for name in names if name in modules)
    parameters = tuple(
        name
        for name, _ in model.named_parameters(remove_duplicate=False)
        if name in names or any(name.startswith(f"{module}.") for module in inside)
    )
    called = [path for name in inside for path in _called(name, modules[name])]
    return Block(names[0], tuple(called), parameters, _count(model, parameters))


def _count(model: nn.Module, parameters: Sequence[str]) -> int:
    return sum(model.get_parameter(name).numel() for name in parameters)


def _called(name: str, module: nn.Module) -> Iterator[str]:
    """Yield the names of modules that are called: those in a list of modules, not the list."""
    if isinstance(module, nn.ModuleList):
        for child, inner in module.named_children():
            yield from _called(f"{name}.{child}", inner)
    else:
        yield name


def network_of(module: nn.Module) -> nn.Module:
    """Return the network inside modules that only wrap it: the one child that holds all parameters."""
    return _inner_network(module)[1]


def _inner_network(model: nn.Module) -> tuple[str, nn.Module]:
    prefix, inner = "", model
    while (only := _only_child(inner)) is not None:
        prefix, inner = f"{prefix}{only[0]}.", only[1]
    return prefix, inner


def _only_child(module: nn.Module) -> tuple[str, nn.Module] | None:
    children = [(name, child) for name, child in module.named_children() if _has_parameters(child)]
    alone = len(children) == 1 and not dict(module.named_parameters(recurse=False))
    return children[0] if alone and not is_leaf(children[0][1]) else None


def _units(module: nn.Module, prefix: str) -> list[list[str]]:
    """Group the names of modules, and of parameters outside of them, that freeze together."""
    units: list[list[str]] = []
    for name, child in module.named_children():
        if not _has_parameters(child):
            continue
        if units and _is_normalisation(child):
            units[-1].append(prefix + name)
        else:
            units += _units(child, f"{prefix}{name}.") if _opens(child) else [[prefix + name]]
    loose = [prefix + name for name, _ in module.named_parameters(recurse=False)]
    if loose:
        units[:1] = [[*(units[0] if units else ()), *loose]]
    return units


def _opens(module: nn.Module) -> bool:
    return _only_holds(module) or any(_is_stack(inner) for inner in module.modules())


def _only_holds(module: nn.Module) -> bool:
    """Return whether a module is a list or plain sequence of others; a sequence with its own forward is a block."""
    return isinstance(module, nn.ModuleList) or type(module).forward is nn.Sequential.forward


def _is_stack(module: nn.Module) -> bool:
    """Return whether a module is a sequence or list of blocks of one class.

    A block holds modules that hold modules. The two convolutions of a residual block, each with its normalisation, are
    of one class too, but belong together.
    """
    children = list(module.children())
    if not _only_holds(module) or len(children) < 2 or len({type(child) for child in children}) != 1:
        return False
    deep = any(not is_leaf(inner) for child in children for inner in child.children())
    return deep and not _only_holds(children[0])


def _has_parameters(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None


def _is_normalisation(module: nn.Module) -> bool:
    return is_leaf(module) and "norm" in type(module).__name__.lower()
