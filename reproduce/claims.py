"""Judge a claim: a statistic for each seed, its interval, and the threshold that decides."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

HOLDS, FAILS, OPEN = "holds", "does not hold", "not decided"
UNBOUNDED = (-math.inf, math.inf)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A claim and its verdict.

    Attributes:
        claim: What the paper says.
        statistic: A description of the statistic.
        values: The statistic for each seed; a single value where there is no randomness.
        threshold: The value that the statistic is compared with.
        above: Whether the claim holds at and above the threshold; otherwise it holds at and below.
        limits: The range of the statistic.
        exact: Whether a single value decides, because nothing is random.
    """

    claim: str
    statistic: str
    values: tuple[float, ...]
    threshold: float
    above: bool
    limits: tuple[float, float] = UNBOUNDED
    exact: bool = False

    @property
    def mean(self) -> float:
        """Return the mean over seeds."""
        return float(np.mean(self.values))

    @property
    def interval(self) -> tuple[float, float]:
        """Return the 95% interval of the mean over seeds (Student's t); unbounded for one seed that is not exact."""
        if self.exact:
            return min(self.values), max(self.values)
        half = half_width(self.values)
        return self.mean - half, self.mean + half

    @property
    def verdict(self) -> str:
        """Return "holds" or "does not hold" if the whole interval lies on one side, otherwise "not decided"."""
        low, high = self.interval if self.above else (-self.interval[1], -self.interval[0])
        threshold = self.threshold if self.above else -self.threshold
        if low >= threshold:
            return HOLDS
        return FAILS if high < threshold else OPEN

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON; an infinite bound becomes null."""
        plain = asdict(self) | {"mean": self.mean, "interval": self.interval, "verdict": self.verdict}
        return plain | {key: [_finite(bound) for bound in plain[key]] for key in ("interval", "limits")}


def judge(
    claim: str,
    statistic: str,
    values: Any,
    *,
    above: float | None = None,
    below: float | None = None,
    limits: tuple[float, float] = UNBOUNDED,
    exact: bool = False,
) -> Finding:
    """Compare the statistic of a claim with a threshold.

    Args:
        claim: The claim of the paper, in a sentence.
        statistic: A description of the statistic.
        values: One number for each seed, or a single number.
        above: The smallest value for which the claim holds. Pass either this or `below`.
        below: The largest value for which the claim holds.
        limits: The range of the statistic.
        exact: Whether nothing is random: all values must pass, and one is enough.

    Raises:
        ValueError: If a value is not finite or outside its limits, or unless exactly one threshold is given.
    """
    if (above is None) == (below is None):
        raise ValueError(f"judge {statistic!r}: expected one of above and below; got {above} and {below}")
    numbers = tuple(float(value) for value in np.atleast_1d(np.asarray(values, dtype=float)))
    slack = 1e-9  # rounding of a statistic whose limit is reached, such as a correlation of 1
    if not numbers or not all(limits[0] - slack <= number <= limits[1] + slack for number in numbers):
        raise ValueError(f"judge {statistic!r}: expected finite values in {limits}; got {numbers}")
    if not np.isfinite(numbers).all():
        raise ValueError(f"judge {statistic!r}: expected finite values; got {numbers}")
    threshold = above if above is not None else below
    assert threshold is not None
    return Finding(
        claim=claim,
        statistic=statistic,
        values=numbers,
        threshold=threshold,
        above=above is not None,
        limits=limits,
        exact=exact,
    )


def half_width(values: Any) -> float:
    """Return half of the 95% interval of a mean (Student's t); infinite for fewer than two values."""
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return math.inf
    return float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5)


def _finite(bound: float) -> float | None:
    return bound if math.isfinite(bound) else None
