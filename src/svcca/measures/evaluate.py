"""A measure on a pair of layers: SVD step, value, chance level, doubts. Every public function comes through here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, SupportsFloat

import numpy as np
import torch
from torch import Tensor

from svcca.core.arrays import ArrayLike
from svcca.core.coherence import LayerPair
from svcca.core.solvers import coherence_of
from svcca.core.subspace import WHOLE, SVDStep
from svcca.errors import Doubt, InputError, NonFiniteError, message
from svcca.measures.chance import CHANCE_WARNING
from svcca.measures.levels import n_correlations, n_forced
from svcca.measures.measure import Measure
from svcca.measures.similarity import Similarity


def evaluate(measure: Measure, pair: LayerPair, step: SVDStep, where: str = "x and y") -> Similarity:
    """Evaluate one measure on one pair of layers; see `evaluate_all`."""
    (result,) = evaluate_all([measure], pair, step, where)
    return result


def evaluate_all(
    measures: Sequence[Measure],
    pair: LayerPair,
    step: SVDStep,
    where: str = "x and y",
    *,
    y_step: SVDStep | None = None,
) -> list[Similarity]:
    """Evaluate several measures on one pair of layers; they share its decompositions.

    Args:
        measures: The measures.
        pair: The pair, not cut yet, or cut by the same step.
        step: The SVD step of the measures that have one.
        where: What the pair is called in warnings and errors.
        y_step: The SVD step of the second layer; None: that of the first.

    Returns:
        Value, chance level, ranks and doubts, in the order of the measures.

    Raises:
        NonFiniteError: If a value is NaN or infinite, or a chance level infinite.
        InputError: If a value is no real number, or a measure wrote to the pair.
    """
    # Singular values come with the vectors: where one measure needs these, no other need factorise for values alone.
    if any(measure.needs_vectors and not measure.svd_step for measure in measures):
        pair = pair.with_vectors()
    cut = pair.truncate(step, y_step) if any(measure.svd_step for measure in measures) else pair
    if any(measure.needs_vectors and measure.svd_step for measure in measures):
        cut = cut.with_vectors()
    results = []
    for measure in measures:
        part = cut if measure.svd_step else pair
        value, level = (number(measure, of, part, where) for of in (measure.value, measure.chance))
        if not math.isfinite(value) or math.isinf(level):
            got = f"{value}, with a chance level of {level}"
            raise NonFiniteError(message(f"{measure.label} of {where}", "a finite value", got))
        found = tuple(doubts(measure, part, level, where))
        results.append(Similarity(measure.label, value, level, part.x.rank, part.y.rank, part.n_samples, found))
    return results


def number(measure: Measure, of: Callable[[LayerPair], float], pair: LayerPair, where: str) -> float:
    """Return the value of a measure, or its chance level, and see that the measure leaves the pair as it is.

    Args:
        measure: The measure.
        of: Its `value` or its `chance`.
        pair: The pair, cut already where the measure has an SVD step.
        where: What the pair is called in errors.

    Raises:
        InputError: If it is no real number, or the measure wrote to what others read.
    """
    place = f"{measure.label} of {where}"
    # Ours are known to leave the pair as it is.
    before = [] if type(measure).__module__.startswith("svcca.") else [_state(each) for each in _tensors(pair)]
    try:
        found = of(pair)
    except Exception as error:
        error.add_note(f"svcca: raised by measure {place}")
        raise
    if any(_written_to(*state) for state in before):
        cause = "It wrote to them in place, and other measures read them too"
        remedy = "Work on a copy: pair.x.singular_values.clone()"
        raise InputError(message(place, "the tensors of the pair left as they are", "others", cause, remedy))
    return _real(found, place if of == measure.value else f"chance level of {place}")


def _tensors(pair: LayerPair) -> Iterator[Tensor]:
    """Go through the tensors that a pair and its layers hold, factorisations taken before included."""
    for holder in (pair, pair.x, pair.y):
        for held in vars(holder).values():
            yield from (each for each in (held if isinstance(held, tuple) else (held,)) if isinstance(each, Tensor))


def _state(tensor: Tensor) -> tuple[Tensor, int, Tensor | None]:
    """Return a tensor, its version and, of vectors, a copy: writing to a NumPy view counts as no version."""
    return tensor, _version(tensor), tensor.clone() if tensor.ndim == 1 else None


def _written_to(tensor: Tensor, version: int, copy: Tensor | None) -> bool:
    return _version(tensor) != version or (copy is not None and not torch.equal(tensor, copy))


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version  # inference mode counts no versions


def _real(found: Any, where: str) -> float:
    """Read what a measure returned: a number, or an array or tensor that holds one.

    Raises:
        InputError: If it is no real number.
    """
    if type(found) is float:  # what ours return, once for every pair
        return found
    one = found
    if isinstance(found, (Tensor, np.ndarray, np.generic)):
        one = found.item() if math.prod(found.shape) == 1 else None
    if not isinstance(one, SupportsFloat):
        shaped = hasattr(found, "shape") and hasattr(found, "dtype")
        got = f"shape {tuple(found.shape)}, {str(found.dtype).removeprefix('torch.')}" if shaped else repr(found)
        raise InputError(message(where, "a real number", got))
    return float(one)


def evaluate_arrays(measure: Measure, x: ArrayLike, y: ArrayLike, step: SVDStep = WHOLE) -> Similarity:
    """Evaluate one measure on two arrays (n_samples, p) and (n_samples, q) of the same samples."""
    pair = coherence_of(x, y, step=step if measure.svd_step else WHOLE, rows_needed=measure.needs_rows)
    return evaluate(measure, pair, step)


def doubts(measure: Measure, pair: LayerPair, level: float, where: str) -> list[Doubt]:
    """Return why a value may mean little: a fallback, correlations forced to 1, a high chance level."""
    blocks, n = pair.blocks, pair.n_samples
    x_rank, y_rank = max((block.ranks for block in blocks), key=sum)
    place = " at one spatial frequency" if len(blocks) > 1 else ""
    advice = "Use more samples (5 to 10 for each direction), or keep fewer directions."
    found = [Doubt("computation", f"{where}: {note}.") for note in pair.notes_on(measure.factorisation)]
    forced = n_forced(pair) if measure.from_correlations else 0
    if forced:
        text = (
            f"{where}: {forced} of {n_correlations(pair)} canonical correlations are 1 whatever the layers hold, "
            f"because {n} samples cannot tell {x_rank} + {y_rank} directions apart{place}. {advice}"
        )
        found.append(Doubt("forced", text))
    elif level > CHANCE_WARNING:
        text = (
            f"{where}: unrelated layers would already give {level:.2f} with {n} samples and {x_rank} and {y_rank} "
            f"directions{place and f', the most{place}'}. {advice}"
        )
        found.append(Doubt("chance", text))
    return found
