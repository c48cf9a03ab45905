"""The public names of the library with their signatures, one a line.

A name is public where the `__all__` of the package, of a room, of `svcca.errors` or of an integration lists it. A test
holds the lines against public_names.txt, so that a change to them is seen in review. After a change that is meant, this
rewrites the file:

    python -m tests.public_names
"""

import functools
import importlib
import inspect
import pkgutil
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

FILE = Path(__file__).with_suffix(".txt")


def rooms() -> dict[str, types.ModuleType]:
    """Import the package and every room, and return those with an `__all__` by name."""
    names = ["svcca"]
    for package in ("svcca", "svcca.integrations"):
        found = pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}.")
        names += [module.name for module in found if not module.name.rpartition(".")[2].startswith("_")]
    modules = {name: importlib.import_module(name) for name in names}
    return {name: module for name, module in modules.items() if hasattr(module, "__all__")}


def public() -> dict[str, object]:
    """Return every public name with its value, e.g. "svcca.core.Moments"."""
    return {f"{room}.{name}": getattr(module, name) for room, module in rooms().items() for name in module.__all__}


def home(name: str, names: Mapping[str, object]) -> str:
    """Return the one of a value's public names under which it is listed in full: that of the room it is written in."""
    value, last = names[name], name.rpartition(".")[2]
    same = [other for other in names if other.rpartition(".")[2] == last and names[other] is value]
    written_in = str(getattr(value, "__module__", ""))
    own = [other for other in same if other.count(".") > 1 and f"{written_in}.".startswith(other.rpartition(".")[0])]
    return min(own or same)


def listing() -> str:
    """Return the text of the file."""
    names = public()
    lines = []
    for name, value in names.items():
        full = home(name, names)
        lines += entry(name, value) if name == full else [f"{name} is {full}"]
    return "".join(f"{line}\n" for line in sorted(lines))


def entry(name: str, value: object) -> list[str]:
    """Return the lines of one name: a function or constant has one, a class has one more for each of its members."""
    if inspect.isclass(value):
        return [f"{name}{signature(value)}", *(f"{name}.{member(*found)}" for found in members(value))]
    if inspect.isroutine(value):
        return [f"{name}{signature(value)}"]
    if isinstance(value, Mapping):
        return [f"{name}: mapping of {', '.join(map(str, value))}"]
    alias = typing.get_origin(value) is not None or value is typing.Any
    return [f"{name} = {value}" if alias else f"{name}: {type(value).__name__}"]


def members(kind: type) -> Iterator[tuple[str, object]]:
    """Go through what a class, or a base of it in this library, defines under a public name, but for its fields."""
    fields = getattr(kind, "__dataclass_fields__", {})
    for name, value in inspect.getmembers_static(kind):
        owner = next(base for base in kind.__mro__ if name in vars(base))
        if not name.startswith("_") and owner.__module__.startswith("svcca.") and name not in fields:
            yield name, value


def member(name: str, value: object) -> str:
    """Return the line of one member."""
    function = function_of(value)
    if function is None:
        return f"{name}: {type(value).__name__}"
    if isinstance(value, (property, functools.cached_property)):
        return f"{name}: {_text(inspect.signature(function).return_annotation)}"
    return f"{name}{signature(function, bound=not isinstance(value, staticmethod))}"


def function_of(value: object) -> Callable[..., object] | None:
    """Return the function behind a member of a class; None for a plain attribute."""
    if isinstance(value, property):
        return value.fget
    if isinstance(value, functools.cached_property):
        return value.func
    if isinstance(value, (classmethod, staticmethod)):
        return value.__func__
    return value if inspect.isfunction(value) else None


class _Bare:
    """Text that stands in a signature without quotes."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def signature(value: Callable[..., object], *, bound: bool = False) -> str:
    """Return a signature as it is written, a bound one without its first parameter; an exception has none."""
    if inspect.isclass(value) and issubclass(value, BaseException):
        return ""
    found = inspect.signature(value)
    parameters = list(found.parameters.values())[bound:]
    shown = [p.replace(annotation=_bare(p.annotation), default=_bare_default(p.default)) for p in parameters]
    returned = inspect.Signature.empty if inspect.isclass(value) else _bare(found.return_annotation)
    return str(inspect.Signature(shown, return_annotation=returned))


def _bare(annotation: object) -> object:
    return annotation if annotation is inspect.Parameter.empty else _Bare(_text(annotation))


def _bare_default(default: object) -> object:
    address = r" at 0x[0-9a-f]+"
    return default if default is inspect.Parameter.empty else _Bare(re.sub(address, "", repr(default)))


def _text(annotation: object) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


if __name__ == "__main__":
    FILE.write_text(listing(), encoding="utf-8")
