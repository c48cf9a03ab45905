"""A progress bar on long work: on a terminal, on standard error, and only where it is wanted."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

__all__ = ["track"]

Item = TypeVar("Item")


def track(items: Iterable[Item], description: str, show: bool | None = None) -> Iterator[Item]:
    """Yield the items one by one, with a progress bar on standard error.

    Args:
        items: The items; their number, where it is known, is the bar's total.
        description: What is being done.
        show: Whether to show the bar; None: only where standard error is a terminal.
    """
    if not (sys.stderr.isatty() if show is None else show):
        yield from items
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield from bar.track(items, total=_length(items), description=description)


def _length(items: Iterable[Item]) -> float | None:
    """Return the number of items, or None where it is not known."""
    try:
        return len(items) if isinstance(items, Sized) else None
    except TypeError:  # a DataLoader over an iterable dataset has a __len__ that raises
        return None
