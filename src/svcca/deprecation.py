"""Old names that go on working for a while, each with a FutureWarning that names the new one."""

from __future__ import annotations

import functools
import pkgutil
import warnings
from collections.abc import Callable, Mapping
from typing import ParamSpec, TypeVar

from svcca.errors import InputError, message

P = ParamSpec("P")
R = TypeVar("R")


def renamed_function(old: str, function: Callable[P, R], removal: str) -> Callable[P, R]:
    """Return a function under its old name, `old`; `removal` is the version that removes it."""

    @functools.wraps(function)
    def renamed(*args: P.args, **kwargs: P.kwargs) -> R:
        _warn(f"{old}()", f"{function.__name__}()", removal)
        return function(*args, **kwargs)

    return renamed


def renamed_argument(old: str, new: str, removal: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator of a function that still takes a keyword argument by its old name."""

    def decorator(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def renamed(*args: P.args, **kwargs: P.kwargs) -> R:
            if old in kwargs and new in kwargs:
                raise InputError(message(function.__name__, f"one of {new} and {old}, its old name", "both"))
            if old in kwargs:
                _warn(f"{function.__name__}({old}=...)", f"{new}=...", removal)
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return renamed

    return decorator


def renamed_attributes(module: str, names: Mapping[str, str], removal: str) -> Callable[[str], object]:
    """Return a `__getattr__` for a module, from a mapping of its old names to "module:name"."""

    def __getattr__(old: str) -> object:  # noqa: N807 (it becomes the module's own)
        if old not in names:
            raise AttributeError(f"module {module!r} has no attribute {old!r}")
        _warn(f"{module}.{old}", names[old].replace(":", "."), removal)
        return pkgutil.resolve_name(names[old])

    return __getattr__


def _warn(old: str, new: str, removal: str) -> None:
    warnings.warn(f"{old} is now {new}; svcca {removal} removes the old name.", FutureWarning, stacklevel=3)
