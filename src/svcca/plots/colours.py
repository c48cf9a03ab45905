"""Colours that the figures and the pages share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.colors import Normalize

COLOUR_MAP = colormaps["viridis"]
"""Perceptually uniform, ordered by lightness: it survives a grey printer and the common colour blindnesses."""

ROUNDING = 1e-9
"""How far past 0 or 1 a value is still rounding, and does not widen the colour scale."""

DARK = COLOUR_MAP(0.25)
"""Of a bar."""


def colour_scale(values: npt.NDArray[np.float64], chance: npt.NDArray[np.float64]) -> Normalize:
    """Return the scale on which similarities are coloured.

    It runs from 0 to 1, so that figures can be compared, and is wider only where the numbers are. Negative numbers make
    it symmetric about 0.

    Args:
        values: Similarities, of any shape.
        chance: Their chance levels, which the colour bar marks.
    """
    numbers = np.concatenate([values.ravel(), chance.ravel()])
    low, high = float(np.nanmin(numbers)), float(np.nanmax(numbers))  # a chance level that is not known is NaN
    high = 1.0 if high <= 1 + ROUNDING else high
    if low >= -ROUNDING:
        return Normalize(0.0, high, clip=True)
    furthest = max(high, -low)
    return Normalize(-furthest, furthest, clip=True)


def shades(count: int, first: float = 0.0, last: float = 0.9) -> npt.NDArray[np.float64]:
    """Return colours for lines that have an order, (count, 4): dark to light, without the pale end of the map.

    Args:
        count: How many.
        first: Place of the first on the colour map, in [0, 1].
        last: Place of the last.
    """
    colours: npt.NDArray[np.float64] = COLOUR_MAP(np.linspace(first, last, count))
    return colours


def ink_on(rgb: npt.NDArray[np.float64]) -> str:
    """Return "black" or "white", whichever has the higher WCAG contrast on a colour given as sRGB in [0, 1]."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ np.array([0.2126, 0.7152, 0.0722]))
    # (1 + 0.05) / (L + 0.05) against (L + 0.05) / (0 + 0.05): the two meet at L = sqrt(0.0525) - 0.05.
    return "black" if luminance > 0.0525**0.5 - 0.05 else "white"
