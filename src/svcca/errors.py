"""Exception and warning types, and the one form in which a message is written."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "FileError",
    "InputError",
    "LayerError",
    "NonFiniteError",
    "RankError",
    "SampleError",
    "SolverError",
    "SvccaError",
    "SvccaWarning",
    "UnknownOptionError",
]


class SvccaError(Exception):
    """Base of every error that this package raises on purpose."""


class InputError(SvccaError, ValueError):
    """An array, an option or a batch is not what the definition needs."""


class NonFiniteError(InputError):
    """NaN or infinity in activations."""


class SampleError(InputError):
    """Too few samples, or rows that do not belong to the same samples."""


class RankError(InputError):
    """A layer without variance: nothing about it can be correlated."""


class UnknownOptionError(InputError):
    """A choice that does not exist; the message lists those that do."""


class LayerError(SvccaError, LookupError):
    """A layer that a model or a file does not have."""


class FileError(SvccaError, OSError):
    """A file that cannot be read as what it should hold, or an output that cannot be written."""


class SolverError(SvccaError, RuntimeError):
    """A factorisation that did not converge by any of its solvers."""


class SvccaWarning(UserWarning):
    """A result that holds but must be read with care; also recorded in the result."""


def message(where: str, expected: str, got: str, cause: str = "", remedy: str = "") -> str:
    """Write an error in the house's form: what must hold, what was found, why, and what to do.

    >>> message("svcca x", "2 dimensions", "3", remedy="Flatten it")
    'svcca x: expected 2 dimensions; got 3. Flatten it.'
    """
    sentences = [f"{where}: expected {expected}; got {got}", cause, remedy]
    return " ".join(sentence if sentence[-1] in ".?" else sentence + "." for sentence in sentences if sentence)


def closest(name: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """Give the known names nearest to a mistyped one, best first.

    >>> closest("layer1.conv", ["layer1.conv1", "fc", "layer1.conv2"])
    ['layer1.conv2', 'layer1.conv1']
    """
    return difflib.get_close_matches(name, list(known), n=limit, cutoff=0.5)


def unknown_option(where: str, what: str, got: object, known: Iterable[str]) -> UnknownOptionError:
    """Build the error for a choice that does not exist."""
    names = list(known)
    near = closest(str(got), names, limit=1)
    hint = f"Did you mean {near[0]!r}?" if near else ""
    return UnknownOptionError(message(where, f"{what} to be one of {', '.join(names)}", repr(got), hint))
