"""Every measure by its name, and the look-up that takes a name or a measure."""

from __future__ import annotations

import ast
import inspect
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from importlib import import_module
from types import MappingProxyType

from svcca.errors import InputError, UnknownOptionError, message, unknown_option
from svcca.measures.measure import Measure

_WITH_PARAMETERS = {
    "pwcca_x": "pwcca(side='x')",
    "pwcca_y": "pwcca(side='y')",
    "pwcca_mean": "pwcca(side='mean')",
    "pwcca_squared": "pwcca(squared=True)",
    "svcca_weighted_x": "svcca_weighted(side='x')",
    "svcca_weighted_y": "svcca_weighted(side='y')",
    "svcca_weighted_mean": "svcca_weighted(side='mean')",
}
"""Names that measures with parameters once had, and their labels now."""


def get_measure(measure: str | Measure) -> Measure:
    """Return a measure by its name or its label, such as "pwcca(side='x')", or the measure itself.

    Raises:
        UnknownOptionError: If there is none of that name, or it has no such parameter; those that exist
            are listed.
        InputError: If it is neither a name nor a measure, or a parameter is no literal.
    """
    if isinstance(measure, Measure):
        return measure
    if isinstance(measure, type) and issubclass(measure, Measure):
        name = measure.__name__
        raise InputError(message("measure", "a name or a Measure", f"the class {name}", "", f"Write {name}()"))
    if not isinstance(measure, str):
        raise InputError(message("measure", "a name or a Measure", repr(measure)))
    name, bracket, _ = measure.strip().partition("(")
    if name not in MEASURES:
        raise unknown_option("measure", "measure", name, MEASURES, _now_written(name))
    return _with_parameters(MEASURES[name], measure.strip()) if bracket else MEASURES[name]


def _now_written(name: str) -> str | None:
    """Write what a name with a side in it has become, as a label and as a measure; None for any other."""
    label = _WITH_PARAMETERS.get(name)
    if label is None:
        return None
    known, _, parameters = label.partition("(")
    return f'Write "{label}" or svcca.measures.{type(MEASURES[known]).__name__}({parameters}'


def _with_parameters(measure: Measure, label: str) -> Measure:
    """Read a label as results show it, e.g. "cca_top(k=5)": literals by keyword; nothing is evaluated.

    Raises:
        UnknownOptionError: If the measure has no such parameter.
        InputError: If the label cannot be read, or a parameter is not what the measure takes.
    """
    given = _keywords(label)
    if given is None:
        remedy = "Write parameters by name and strings in quotes, as in \"pwcca(side='x')\""
        raise InputError(message("measure", "a name, or a label with literal parameters", repr(label), "", remedy))
    known: list[str] = [entry.name for entry in fields(measure)] if is_dataclass(measure) else []
    for parameter in given:
        if not known:
            raise UnknownOptionError(message(measure.name, "no parameters", repr(parameter)))
        if parameter not in known:
            raise unknown_option(measure.name, "the parameter", parameter, known)
    try:
        return type(measure)(**given)
    except TypeError as error:  # of a value that the measure's own check did not foresee, e.g. a list
        raise InputError(message("measure", "parameters that the measure takes", repr(label))) from error


def _keywords(label: str) -> dict[str, object] | None:
    """Return the literals in a call `name(keyword=literal, ...)`; None where it is not one."""
    try:
        call = ast.parse(label, mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
            return None
        if any(each.arg is None for each in call.keywords):
            return None
        return {str(each.arg): ast.literal_eval(each.value) for each in call.keywords}
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return None


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
