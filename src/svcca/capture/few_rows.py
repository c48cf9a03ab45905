"""Layers that are measured on fewer rows than they have features: what a user is told of them."""

from __future__ import annotations

from collections.abc import Mapping

from svcca.errors import message

NAMED = 3
"""Layers that are named in one message."""


def few_rows(where: str, of: str, sizes: Mapping[str, tuple[int, int]]) -> list[str]:
    """Write one note for all layers with too few rows; none where there is no such layer.

    Args:
        where: The call.
        of: What is counted beside the rows: "inputs", "features".
        sizes: Rows and features by layer.

    >>> few_rows("compress", "inputs", {"fc": (50, 64)})[0].partition(". ")[0]
    "compress: expected as many rows as a layer has inputs, or more; got 50 for the 64 of 'fc'"
    """
    if not sizes:
        return []
    words = [f"{n_rows:,} for the {width:,} of {name!r}" for name, (n_rows, width) in sizes.items()]
    got = ", ".join(words[:NAMED])
    got += f" and {len(sizes) - NAMED} more layers" if len(sizes) > NAMED else ""
    cause = "Directions are fitted to these rows, and what they leave out may matter to others"
    expected = f"as many rows as a layer has {of}, or more"
    return [message(where, expected, got, cause, "Pass more data, several times as many rows")]
