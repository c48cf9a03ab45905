"""The base class of every measure, ours and yours."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import Field, fields, is_dataclass
from typing import Any, ClassVar

from svcca.core.coherence import Factorisation, LayerPair


class Measure(ABC):
    """A measure of similarity between two layers; derive from it to add your own.

    A subclass states a `name`, a one-sentence `definition` and a `value`. Everything else has a default. A measure with
    parameters is a frozen dataclass whose fields are the parameters, each with a default.

    Attributes:
        svd_step: Whether both layers are first cut to the directions that hold the retained variance.
        from_correlations: Whether it is a mean of canonical correlations, some of which are 1 where samples are few.
        needs_rows: Whether it needs the rows of both layers in memory, and not their moments alone.
        needs_vectors: Whether it needs the singular vectors of the coherence matrix, and not its singular values alone.
        factorisation: Factorisation of the pair that the value rests on, whose notes it carries: that behind
            `correlations` and `projection_weights` ("correlations", default), that behind `cross_singular_values`
            ("cross"), or "none".
        by_frequency: Whether it is defined for maps observed by "fourier".

    >>> class SmallestCorrelation(Measure):
    ...     name = "smallest_correlation"
    ...     definition = "the smallest canonical correlation"
    ...
    ...     def value(self, pair):
    ...         return float(pair.correlations[-1])
    >>> SmallestCorrelation().label
    'smallest_correlation'
    """

    svd_step: ClassVar[bool] = False
    from_correlations: ClassVar[bool] = False
    needs_rows: ClassVar[bool] = False
    needs_vectors: ClassVar[bool] = False
    factorisation: ClassVar[Factorisation] = "correlations"
    by_frequency: ClassVar[bool] = True

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the measure; write `name = "..."` in the class."""

    @property
    @abstractmethod
    def definition(self) -> str:
        """The definition in one sentence, for a reader of a report; write `definition = "..."` in the class."""

    @property
    def symmetric(self) -> bool:
        """Whether swapping the layers leaves the value unchanged; write `symmetric = False` if it does not."""
        return True

    @abstractmethod
    def value(self, pair: LayerPair) -> float:
        """Return the similarity of a pair of layers, a finite number; after the SVD step where `svd_step` holds.

        A pair has `correlations`, `cross_norm`, `cross_singular_values` and, of each layer `x` and `y`,
        `singular_values`, `total_variance`, `n_features` and `rank`.
        """

    def chance(self, pair: LayerPair) -> float:
        """Return the value to expect from unrelated layers of these spectra; NaN (default) where it is not known.

        Results then show no chance level and warn of none. `permutation_test` estimates one from the rows.
        """
        return math.nan

    @property
    def label(self) -> str:
        """Name of the measure in results, with the parameters that differ from their defaults: "pwcca(side='x')"."""
        parameters: tuple[Field[Any], ...] = fields(self) if is_dataclass(self) else ()
        given = [(entry.name, getattr(self, entry.name), entry.default) for entry in parameters]
        changed = ", ".join(f"{name}={value!r}" for name, value, default in given if not _same(value, default))
        return f"{self.name}({changed})" if changed else self.name


def _same(value: object, default: object) -> bool:
    """Whether a parameter is its default; arrays, whose comparison is an array, are where they are the same object."""
    if value is default:
        return True
    try:
        return bool(value == default)
    except (ValueError, TypeError, RuntimeError):
        return False
