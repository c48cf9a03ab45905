"""Several measures of one comparison: a mapping from each measure's label to its result."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, Generic, TypeVar

from svcca.compare.class_dynamics_result import ClassDynamics
from svcca.compare.class_result import ClassSensitivity
from svcca.compare.dynamics_result import LearningDynamics
from svcca.compare.result import SimilarityMatrix
from svcca.errors import FileError, InputError, UnknownOptionError, message, unknown_option
from svcca.io.documents import Document
from svcca.measures.measure import Measure

FORMAT = "svcca.by_measure"
FORMAT_VERSION = 1
AnyResult = SimilarityMatrix | LearningDynamics | ClassSensitivity | ClassDynamics
RESULTS: tuple[type[AnyResult], ...] = (SimilarityMatrix, LearningDynamics, ClassSensitivity, ClassDynamics)
"""What can be held, by measure."""

Result = TypeVar("Result", SimilarityMatrix, LearningDynamics, ClassSensitivity, ClassDynamics)


class UnknownLabelError(UnknownOptionError, KeyError):
    """A measure that was not evaluated; also a KeyError, as a mapping's `get` and `in` expect."""

    __str__ = Exception.__str__  # KeyError's shows the message in quotes


class ByMeasure(Document, Mapping[str, Result], Generic[Result]):
    """Results of several measures from the same decompositions, by the label of each; read-only.

    Args:
        results: The results, in the order in which the measures were asked for.

    Raises:
        InputError: For no result, results of different classes, or two of the same label.

    >>> import numpy as np, svcca
    >>> x = np.random.default_rng(0).normal(size=(500, 4))
    >>> found = svcca.compare({"fc": x}, {"fc": 2 * x}, measure=["svcca", svcca.measures.PWCCA(side="x")])
    >>> found
    <ByMeasure of SimilarityMatrix: svcca, pwcca(side='x')>
    >>> round(float(found["pwcca(side='x')"].values[0, 0]), 6)
    1.0
    """

    _FORMAT: ClassVar[str] = FORMAT
    _VERSION: ClassVar[int] = FORMAT_VERSION

    def __init__(self, results: Iterable[Result]) -> None:
        self._results: dict[str, Result] = {}
        for result in results:
            if result.measure in self._results:
                raise InputError(message("ByMeasure", "a result for each label", f"two for {result.measure!r}"))
            self._results[result.measure] = result
        kinds = sorted({type(result).__name__ for result in self._results.values()})
        if len(kinds) != 1:
            raise InputError(message("ByMeasure", "results of one class", ", ".join(kinds) or "none"))

    def __getitem__(self, label: str) -> Result:
        """Return the result of the measure with this label.

        Raises:
            UnknownLabelError: If it was not evaluated; those that were are listed.
        """
        if label not in self._results:
            raise UnknownLabelError(str(unknown_option("ByMeasure", "measure", label, self._results)))
        return self._results[label]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the labels, in the order in which the measures were asked for."""
        return iter(self._results)

    def __len__(self) -> int:
        """Return the number of measures."""
        return len(self._results)

    def __repr__(self) -> str:
        """Return the labels; the results themselves are long."""
        first = next(iter(self._results.values()))
        return f"<ByMeasure of {type(first).__name__}: {', '.join(self)}>"

    def _plain(self) -> dict[str, Any]:
        return {"results": [result.to_dict() for result in self.values()]}

    @classmethod
    def _from_plain(cls, plain: dict[str, Any], where: str) -> ByMeasure[Result]:
        return cls(_result_of(document, where) for document in plain["results"])  # type: ignore[misc]  # of one class: checked


def _result_of(document: Any, where: str) -> AnyResult:
    """Read one of the results, by the format it says it has."""
    found = document.get("format") if isinstance(document, dict) else None
    for kind in RESULTS:
        if found == kind._FORMAT:
            return kind.from_dict(document, where)
    expected = " or ".join(kind._FORMAT for kind in RESULTS)
    raise FileError(message(where, f"results of format {expected}", repr(found)))


def one_or_by_measure(measure: object, results: Iterable[Result]) -> Result | ByMeasure[Result]:
    """Return the one result of `measure=` that names one measure, or all by their labels."""
    if isinstance(measure, (str, Measure)):
        (result,) = results
        return result
    return ByMeasure(results)
