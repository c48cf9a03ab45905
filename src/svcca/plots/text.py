"""Labels and numbers as the figures and the pages write them."""

from __future__ import annotations

LONGEST_LABEL = 48  # characters
POINT = 1 / 72  # in inches
GLYPH = 0.65 * POINT  # width of a character per point of font size, on the wide side


def elide(label: str, longest: int = LONGEST_LABEL) -> str:
    """Shorten a label from its middle: both ends of a layer's name tell layers apart.

    >>> elide("encoder.layer.11.attention.output.dense", 20)
    'encoder.la…put.dense'
    """
    if len(label) <= longest:
        return label
    head = longest // 2
    return f"{label[:head]}…{label[len(label) - (longest - head - 1) :]}"


def number(value: float, digits: int) -> str:
    """Format a number to fixed digits, without the "-0.00" of a rounding error."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def interval(low: float, high: float, digits: int = 2) -> str:
    """Format a range, or a single number where both ends print alike."""
    ends = number(low, digits), number(high, digits)
    return ends[0] if ends[0] == ends[1] else "–".join(ends)
