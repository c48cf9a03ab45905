"""Every measure by its name, and the look-up that takes a name or a measure."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from types import MappingProxyType

from svcca.errors import InputError, message, unknown_option
from svcca.measures.measure import Measure

_WITH_PARAMETERS = {
    "pwcca_x": "PWCCA(side='x')",
    "pwcca_y": "PWCCA(side='y')",
    "pwcca_mean": "PWCCA(side='mean')",
    "pwcca_squared": "PWCCA(squared=True)",
    "svcca_weighted_x": "WeightedSVCCA(side='x')",
    "svcca_weighted_y": "WeightedSVCCA(side='y')",
    "svcca_weighted_mean": "WeightedSVCCA(side='mean')",
}
"""Names that measures with parameters once had, and what to write for them."""


def get_measure(measure: str | Measure) -> Measure:
    """Return a measure by its name, or the measure itself.

    Raises:
        UnknownOptionError: If there is none of that name; the message lists those there are.
        InputError: If it is neither a name nor a measure.
    """
    if isinstance(measure, Measure):
        return measure
    if isinstance(measure, type) and issubclass(measure, Measure):
        name = measure.__name__
        raise InputError(message("measure", "a name or a Measure", f"the class {name}", "", f"Write {name}()"))
    if not isinstance(measure, str):
        raise InputError(message("measure", "a name or a Measure", repr(measure)))
    if measure not in MEASURES:
        written = _WITH_PARAMETERS.get(measure)
        remedy = f"Write svcca.measures.{written}" if written else None
        raise unknown_option("measure", "measure", measure, MEASURES, remedy)
    return MEASURES[measure]


def by_frequency(measure: str | Measure) -> Measure:
    """Return a measure of maps observed by frequency.

    Raises:
        UnknownOptionError: If there is none of that name, or it is not defined there.
        InputError: If it is neither a name nor a measure.
    """
    found = get_measure(measure)
    if not found.by_frequency:
        defined = [name for name, other in MEASURES.items() if other.by_frequency]
        raise unknown_option("observe='fourier'", "measure", found.label, defined)
    return found


def get_measures(measure: str | Measure | Iterable[str | Measure], *, frequency: bool = False) -> list[Measure]:
    """Return the measures that an argument `measure=` names: one, or several.

    Args:
        measure: A name, a measure, or several of these.
        frequency: Whether they are of maps observed by frequency.

    Raises:
        UnknownOptionError: As `get_measure` and `by_frequency`.
        InputError: If there is none, or the same one twice.
    """
    if isinstance(measure, (str, Measure)) or not isinstance(measure, Iterable):
        measure = [measure]
    found = [by_frequency(one) if frequency else get_measure(one) for one in measure]
    if not found:
        raise InputError(message("measure", "at least one measure", "none"))
    labels = [one.label for one in found]
    for label in labels:
        if labels.count(label) > 1:
            remedy = "Leave one out, or give your own measure a name of its own"
            raise InputError(message("measure", "each measure once", f"{label!r} twice", "", remedy))
    return found


def _measures_of_this_room() -> Iterator[Measure]:
    """Yield every measure that a file of this folder defines: a new one is a new file, and nothing else."""
    room = __name__.rpartition(".")[0]
    for file in pkgutil.iter_modules(import_module(room).__path__, f"{room}."):
        module = import_module(file.name)
        for value in vars(module).values():
            is_measure = inspect.isclass(value) and issubclass(value, Measure) and not inspect.isabstract(value)
            if is_measure and value.__module__ == file.name:
                yield value()


# Last, since files of this folder take the look-ups above from here.
MEASURES: Mapping[str, Measure] = MappingProxyType({measure.name: measure for measure in _measures_of_this_room()})
"""Every measure by the name that `measure=` takes, with its default parameters."""
