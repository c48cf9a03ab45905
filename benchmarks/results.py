"""Report the results of a run, with the machine, as a table and as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from rich.table import Table


@dataclass(frozen=True)
class PeerTime:
    """Another library on the same two layers: its seconds and its number."""

    name: str
    seconds: float
    value: float


@dataclass(frozen=True)
class Result:
    """Results of one benchmark; times are in seconds, single ones are medians. The other fields are those of `Work`."""

    name: str
    what: str
    ours_seconds: float
    floor_seconds: float
    ratio: float
    bound: float | None
    literal_seconds: float
    literal_calls: float
    speedup: float
    least_speedup: float | None
    peak_bytes: int
    difference: float
    tolerance: float
    ours_all: tuple[float, ...]
    floor_all: tuple[float, ...]
    literal_all: tuple[float, ...]
    notes: tuple[str, ...]
    peers: tuple[PeerTime, ...] = ()

    @property
    def agrees(self) -> bool:
        """Return whether our numbers agree with the literal version's."""
        return self.difference <= self.tolerance


def machine() -> dict[str, object]:
    """Return the hardware, load and versions that the results hold for."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "svcca": metadata.version("svcca"),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def write(path: Path, results: Sequence[Result], size: str, where: dict[str, object]) -> None:
    """Write the results as JSON."""
    document = {"machine": where, "size": size, "results": [asdict(result) for result in results]}
    path.write_text(json.dumps(document, indent=2) + "\n")


def table(results: Sequence[Result]) -> Table:
    """Return the table of results: a missed bound is red, `~` marks a literal time that is scaled from a part."""
    columns = ("work", "size", "ours", "floor", "ratio", "literal", "speed-up", "peak memory", "difference")
    grid = Table(*columns, title="Medians of wall time; ratio: ours / floor, bound in brackets")
    for r in results:
        scaled = "~" if r.literal_calls != 1 else ""
        grid.add_row(
            r.name,
            r.what,
            duration(r.ours_seconds),
            duration(r.floor_seconds),
            _judged(f"{r.ratio:.2f}", r.bound, r.bound is None or r.ratio <= r.bound),
            scaled + duration(r.literal_seconds),
            _judged(f"{scaled}{r.speedup:.1f}", r.least_speedup, r.speedup >= (r.least_speedup or 0)),
            f"{r.peak_bytes / 2**20:,.0f} MiB",
            f"{r.difference:.1e}" if r.agrees else f"[bold red]{r.difference:.1e}[/]",
        )
    return grid


def _judged(text: str, bound: float | None, kept: bool) -> str:
    marked = text if bound is None else rf"{text} \[{bound:g}]"
    return marked if kept else f"[red]{marked}[/]"


def duration(value: float) -> str:
    """Format seconds in a suitable unit."""
    return f"{value * 1e3:.1f} ms" if value < 1 else f"{value:.2f} s"
