"""The command: python -m reproduce list | all | NAME ..."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from reproduce.errors import ReproduceError
from reproduce.records import Record
from reproduce.run import load, names, run, title
from svcca import SvccaError

Preset = Annotated[
    str,
    typer.Option(help="quick: bundled data, seconds each. cpu: narrow nets, at most 20 minutes each. full: for a GPU."),
]


def main(
    figures: Annotated[list[str], typer.Argument(metavar="list | all | NAME ...", help="The figures to reproduce.")],
    data: Annotated[
        Path | None, typer.Option(envvar="SVCCA_DATA", help="Folder with CIFAR-10 and WikiText-2; quick needs none.")
    ] = None,
    preset: Preset = "quick",
    seeds: Annotated[int | None, typer.Option(min=1, help="Instead of the preset's.")] = None,
    out: Annotated[Path, typer.Option(help="Records and pictures; trained nets in cache/ below it.")] = Path(
        "reproduced"
    ),
) -> None:
    """Reproduce figures of Raghu et al. (2017) and Morcos et al. (2018), and judge their claims.

    Nets and analyses that already exist in this folder with these settings are reused, so an interrupted run resumes
    where it stopped.
    """
    console = Console(soft_wrap=not os.isatty(1))
    if figures == ["list"]:
        console.print(_listing())
        return
    failed = []
    try:
        chosen = names() if figures == ["all"] else figures
        for name in chosen:
            load(name)
    except ReproduceError as error:
        raise SystemExit(f"error: {error}") from error
    for name in chosen:
        console.rule(f"{name}: {title(name)}", align="left")
        try:
            record = run(
                name, preset, out, data=data, seeds=seeds, say=lambda line: console.print(f"  {line}", style="dim")
            )
        except (ReproduceError, SvccaError, ValueError) as error:  # of data, of a net that diverged, of its statistic
            failed.append(name)
            console.print(f"error: {error}", style="red", markup=False)
            continue
        console.print(_verdicts(record))
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")
    console.print(f"Wrote {len(chosen)} records and their pictures to {out}")


def _listing() -> Table:
    table = Table("name", "items", "what")
    for name in names():
        table.add_row(name, ", ".join(map(str, load(name).ITEMS)), title(name))
    return table


def _verdicts(record: Record) -> Table:
    table = Table("claim", "value", "wanted", "verdict", caption=f"{record.plain['seconds']:.0f} s")
    for claim in record.plain["claims"]:
        low, high = claim["interval"]
        spread = "" if claim["exact"] else f" [{low:.3g}, {high:.3g}]" if low is not None else " (one seed)"
        wanted = f"{'≥' if claim['above'] else '≤'} {claim['threshold']:g}"
        table.add_row(claim["claim"], f"{claim['mean']:.4g}{spread}", wanted, claim["verdict"])
    return table


if __name__ == "__main__":
    typer.run(main)
