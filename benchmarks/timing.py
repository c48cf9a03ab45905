"""Time a piece of work together with its floor, and then the literal version."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import TypeVar

from benchmarks.memory import peak_growth
from benchmarks.results import PeerTime, Result
from benchmarks.work import Size, Work

ENOUGH_SECONDS = 60.0
"""Once ours and the floor together, or the literal version, have taken this long they are not repeated."""
T = TypeVar("T")


def seconds(run: Callable[[], T]) -> tuple[float, T]:
    """Return the wall time of a call, and what it returned."""
    start = time.perf_counter()
    value = run()
    return time.perf_counter() - start, value


def measure(
    name: str, build: Callable[[Size], Work], size: Size, repeats: int, peers: Mapping[str, Callable[..., float]]
) -> Result:
    """Run one benchmark; the ratio is the median over repeats of ours / floor, timed back to back."""
    memory = peak_growth(name, size)  # before this process holds anything
    work = build(size)
    if work.warm_up:
        work.ours()
        work.floor()
    ours, floor, values = [], [], {}
    while len(floor) < repeats and sum(ours) + sum(floor) < ENOUGH_SECONDS:
        # Taking turns at going first, so that neither always finds the caches the other left.
        for mine in (True, False) if len(floor) % 2 == 0 else (False, True):
            if mine:
                elapsed, values = seconds(work.ours)
                ours.append(elapsed)
            else:
                floor.append(seconds(work.floor)[0])
    literal, difference = _literal(work, repeats, dict(values))
    literal_time, our_time = median(literal) * work.literal_calls, median(ours)
    return Result(
        name=name,
        what=work.what,
        ours_seconds=our_time,
        floor_seconds=median(floor),
        ratio=median(a / b for a, b in zip(ours, floor, strict=True)),
        bound=work.bound,
        literal_seconds=literal_time,
        literal_calls=work.literal_calls,
        speedup=literal_time / our_time,
        least_speedup=work.least_speedup,
        peak_bytes=memory,
        difference=difference,
        tolerance=work.tolerance,
        ours_all=tuple(ours),
        floor_all=tuple(floor),
        literal_all=tuple(literal),
        notes=work.notes,
        peers=tuple(_peer(peer, run, work) for peer, run in peers.items() if work.pair is not None),
    )


def _literal(work: Work, repeats: int, values: dict[str, float]) -> tuple[list[float], float]:
    times: list[float] = []
    difference = 0.0
    while len(times) < repeats and sum(times) < ENOUGH_SECONDS:
        elapsed, expected = seconds(lambda: work.literal(len(times)))
        times.append(elapsed)
        difference = max(difference, *(abs(values[key] - value) for key, value in expected.items()))
    return times, difference


def _peer(name: str, run: Callable[..., float], work: Work) -> PeerTime:
    assert work.pair is not None, "checked by the caller"
    x, y = (layer.numpy() for layer in work.pair)
    elapsed, value = seconds(lambda: run(x, y))
    return PeerTime(name, elapsed, value)
