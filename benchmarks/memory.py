"""Measure the peak memory of one piece of work in its own process: `python -m benchmarks.memory NAME SIZE`."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

from svcca.errors import SvccaWarning


def peak_growth(name: str, size: str) -> int:
    """Return the bytes by which peak resident memory exceeds that of the inputs, in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.memory", name, size]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"benchmarks.memory {name} {size} failed:\n{done.stderr}")
    return int(done.stdout.split()[-1])


def _growth(run: Callable[[], object]) -> int:
    try:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: set the peak back to what is resident now
        before = _status("VmRSS")
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        run()
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) * unit
    run()
    # Not getrusage: its peak is inherited from the process that started this one.
    return _status("VmHWM") - before


def _status(field: str) -> int:
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None, f"{field} is in every /proc/self/status"
    return int(found[1]) * 1024


if __name__ == "__main__":
    from benchmarks.works import WORKS

    warnings.simplefilter("ignore", SvccaWarning)
    print(_growth(WORKS[sys.argv[1]](sys.argv[2]).ours))
