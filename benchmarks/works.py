"""All benchmarks, by name."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.dynamics import checkpoints, dynamics, dynamics_trained
from benchmarks.fourier import fourier, fourier_net
from benchmarks.pairs import all_measures, cka, pair, pair_float32, pwcca, wide_pair
from benchmarks.streaming import streaming, streaming_tenth
from benchmarks.work import Size, Work

WORKS: dict[str, Callable[[Size], Work]] = {
    build.__name__: build
    for build in (
        pair,
        pair_float32,
        pwcca,
        cka,
        all_measures,
        dynamics,
        dynamics_trained,
        checkpoints,
        streaming,
        streaming_tenth,
        wide_pair,
        fourier,
        fourier_net,
    )
}
