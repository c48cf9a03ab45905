"""Exception and warning types, and the one form in which a message is written."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

__all__ = [
    "Doubt",
    "DoubtKind",
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


DoubtKind = Literal["forced", "chance", "computation", "left_out", "translation", "dependence", "observation"]
"""Why a result must be read with care:

- forced: some correlations are 1 whatever the layers hold, for want of samples.
- chance: unrelated layers would already reach a high value.
- computation: a solver fell back on another one, or something was approximated.
- left_out: layers that take no part.
- translation: maps are far from what the Fourier rule assumes.
- dependence: the rows are not independent samples.
- observation: an observation rule was chosen by default that keeps less than another would.
"""


@dataclass(frozen=True)
class Doubt:
    """A reason to read a result with care, recorded in its `warnings`.

    Attributes:
        kind: Which reason; programs decide by it.
        text: The reason in plain words, for a reader.

    Raises:
        UnknownOptionError: For a kind that does not exist.
    """

    kind: DoubtKind
    text: str

    def __post_init__(self) -> None:
        """Check the kind: it may come from a file."""
        if self.kind not in get_args(DoubtKind):
            raise unknown_option("Doubt", "kind", self.kind, get_args(DoubtKind))

    def __str__(self) -> str:
        """Return the text."""
        return self.text


def message(where: str, expected: str, got: str, cause: str = "", remedy: str = "") -> str:
    """Write an error in the house's form: what must hold, what was found, why, and what to do.

    >>> message("svcca x", "2 dimensions", "3", remedy="Flatten it")
    'svcca x: expected 2 dimensions; got 3. Flatten it.'
    """
    sentences = [f"{where}: expected {expected}; got {got}", cause, remedy]
    return " ".join(sentence if sentence[-1] in ".?" else sentence + "." for sentence in sentences if sentence)


def closest(name: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """Return the known names nearest to a mistyped one, best first.

    >>> closest("layer1.conv", ["layer1.conv1", "fc", "layer1.conv2"])
    ['layer1.conv2', 'layer1.conv1']
    """
    return difflib.get_close_matches(name, list(known), n=limit, cutoff=0.5)


def unknown_option(
    where: str, what: str, got: object, known: Iterable[str], remedy: str | None = None
) -> UnknownOptionError:
    """Build the error for a choice that does not exist; by default it offers the closest name."""
    names = list(known)
    near = closest(str(got), names, limit=1)
    hint = remedy or (f"Did you mean {near[0]!r}?" if near else "")
    return UnknownOptionError(message(where, f"{what} to be one of {', '.join(names)}", repr(got), hint))


def few_rows(where: str, of: str, sizes: Mapping[str, tuple[int, int]]) -> list[str]:
    """Write one warning about all layers with fewer rows than they are wide; none where there is no such layer.

    Args:
        where: The call.
        of: What is counted beside the rows: "inputs", "features".
        sizes: Number of rows and width of each layer, by name.

    >>> few_rows("compress", "inputs", {"fc": (50, 64)})[0].partition(". ")[0]
    "compress: expected as many rows as a layer has inputs, or more; got 50 for the 64 of 'fc'"
    """
    if not sizes:
        return []
    words = [f"{n_rows:,} for the {width:,} of {name!r}" for name, (n_rows, width) in sizes.items()]
    got = ", ".join(words[:3]) + (f" and {len(sizes) - 3} more layers" if len(sizes) > 3 else "")
    cause = "Directions are fitted to these rows, and what they leave out may matter to others"
    expected = f"as many rows as a layer has {of}, or more"
    return [message(where, expected, got, cause, "Pass more data, several times as many rows")]
