"""`python -m benchmarks [NAME ...] [--size quick|full] [--repeats N] [--json FILE] [--peer NAME=PATH]`."""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

from rich.console import Console

from benchmarks import results
from benchmarks.peers import ADAPTERS, peer
from benchmarks.timing import measure
from benchmarks.works import WORKS
from svcca.errors import SvccaWarning


def main() -> int:
    """Run the benchmarks, print the table, and fail if a number differs from the literal version's."""
    options = _parser().parse_args()
    unknown = [name for name in options.names if name not in WORKS]
    if unknown:
        sys.exit(f"benchmarks: expected names among {', '.join(WORKS)}; got {', '.join(unknown)}.")
    # Wide layers over few samples: the library says rightly that the number is near chance. Here only its time counts.
    warnings.simplefilter("ignore", SvccaWarning)
    peers = {name: peer(name, path) for name, _, path in (text.partition("=") for text in options.peer)}
    where = results.machine()
    found = []
    progress = Console(stderr=True, highlight=False)
    with progress.status("") as status:
        for name in options.names or WORKS:
            status.update(name)
            result = measure(name, WORKS[name], options.size, options.repeats, peers)
            progress.print(f"{name}: {results.duration(result.ours_seconds)}, {result.ratio:.2f} times the floor")
            found.append(result)
    _show(found, where)
    if options.json:
        results.write(options.json, found, options.size, where)
    return 0 if all(result.agrees for result in found) else 1


def _show(found: list[results.Result], where: dict[str, object]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 180)
    console.print(results.table(found))
    for result in found:
        for other in result.peers:
            ratio = other.seconds / result.ours_seconds
            took = f"{results.duration(other.seconds)}, {ratio:.1f} times ours; its number is {other.value:.6f}"
            console.print(f"{result.name}, {other.name}: {took}")
        for note in result.notes:
            console.print(f"{result.name}: {note}")
    console.print(", ".join(f"{key} {value}" for key, value in where.items()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Time fixed work beside its floor.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(WORKS)}; default: all")
    parser.add_argument("--size", choices=["quick", "full"], default="full")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results to FILE")
    parser.add_argument(
        "--peer", action="append", default=[], metavar="NAME=PATH", help=f"also time one of {', '.join(ADAPTERS)}"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
