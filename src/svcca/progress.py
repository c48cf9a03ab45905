"""A progress bar on long work: on a terminal, on standard error, and only where it is wanted."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

Item = TypeVar("Item")


def track(items: Iterable[Item], description: str, show: bool | None) -> Iterator[Item]:
    """Iterate with a progress bar.

    Args:
        items: What to go through; its length, where it has one, gives the total.
        description: What is being done.
        show: True or False; None shows the bar only where standard error is a terminal.
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
    try:
        return len(items) if isinstance(items, Sized) else None
    except TypeError:  # a DataLoader over an iterable dataset has a __len__ that raises
        return None
