"""A user's `evaluate(model)`: its number, checked, and the numbers of directions or units at which it is called."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from numbers import Integral

from torch import Tensor, nn

from svcca.capture.batches import device_of
from svcca.capture.hooks import evaluating, preserved_rng
from svcca.errors import InputError, message

Evaluate = Callable[[nn.Module], object]
"""Returns one number for a model, larger is better: accuracy on held-out data."""


def value_of(evaluate: Evaluate, model: nn.Module, where: str) -> float:
    """Call `evaluate` and check that it returned a finite number.

    Raises:
        InputError: If it did not.
    """
    given = evaluate(model)
    try:
        value = float(given.detach() if isinstance(given, Tensor) else given)  # type: ignore[arg-type]  # what has no float is refused below
    except (TypeError, ValueError, RuntimeError):
        value = math.nan
    if not math.isfinite(value):
        got = repr(given) if isinstance(given, (int, float, str, type(None))) else f"a {type(given).__name__}"
        remedy = "Return one finite number, such as the accuracy"
        raise InputError(message(where, "a finite number from evaluate(model)", got, "", remedy))
    return value


@contextmanager
def trial(model: nn.Module) -> Iterator[None]:
    """Switch a model to evaluation mode; modes and random state are restored afterwards."""
    with evaluating(model), preserved_rng([device_of(model)]):
        yield


def counts(given: Iterable[int] | None, most: int, where: str) -> tuple[int, ...]:
    """Check numbers of directions or units and return them in order, once each; by default about 3 an octave.

    Raises:
        InputError: For none, or one outside of 0 to `most`.
    """
    if given is None:
        steps = int(3 * math.log2(most)) + 1
        return tuple(sorted({*(min(most, round(2 ** (i / 3))) for i in range(steps)), most}))
    given = list(given)
    wrong = [k for k in given if isinstance(k, bool) or not isinstance(k, Integral) or not 0 <= k <= most]
    if wrong or not given:
        got = repr(wrong[0]) if wrong else "none"
        raise InputError(message(where, f"whole numbers from 0 to {most}, the layer's width", got))
    return tuple(sorted({int(k) for k in given}))


def measured(evaluate: Evaluate, model: nn.Module, where: str = "evaluate") -> float:
    """Call `evaluate` on a model in evaluation mode; modes and random state are restored afterwards.

    Raises:
        InputError: If it returned no finite number.
    """
    with trial(model):
        return value_of(evaluate, model, where)
