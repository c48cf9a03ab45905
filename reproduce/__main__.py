"""The command: python -m reproduce list | all | train | NAME ..."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from reproduce.errors import ReproduceError, message
from reproduce.records import Record
from reproduce.run import load, names, run, title
from svcca import SvccaError

Preset = Annotated[
    str,
    typer.Option(
        help="quick: bundled data, seconds each. cpu: narrow nets, at most 20 minutes each. "
        "cpu2: wider nets, trained before by the queue. full: for a GPU."
    ),
]


def main(
    figures: Annotated[
        list[str], typer.Argument(metavar="list | all | train | NAME ...", help="The figures; train: their nets.")
    ],
    data: Annotated[
        Path | None, typer.Option(envvar="SVCCA_DATA", help="Folder with CIFAR-10 and WikiText-2; quick needs none.")
    ] = None,
    preset: Preset = "quick",
    seeds: Annotated[int | None, typer.Option(min=1, help="Instead of the preset's.")] = None,
    out: Annotated[Path, typer.Option(help="Records and pictures; trained nets in cache/ below it.")] = Path(
        "reproduced"
    ),
    cache: Annotated[Path | None, typer.Option(help="Trained nets, if they lie elsewhere.")] = None,
    list_queue: Annotated[bool, typer.Option("--list", help="With train: list the trainings, train nothing.")] = False,
) -> None:
    """Reproduce figures of Raghu et al. (2017) and Morcos et al. (2018), and judge their claims.

    Nets and analyses that already exist in this folder with these settings are reused, so an interrupted run resumes
    where it stopped.
    """
    console = Console(soft_wrap=not os.isatty(1))
    if figures == ["list"]:
        console.print(_listing())
        return
    nets = cache or out / "cache"
    try:
        if figures == ["train"]:
            _train(preset, nets, data, list_queue, console)
            return
        if list_queue:
            raise ReproduceError(message("--list", "the command train", " ".join(figures), "List figures by: list"))
        chosen = names() if figures == ["all"] else figures
        for name in chosen:
            load(name)
    except ReproduceError as error:
        raise SystemExit(f"error: {error}") from error
    failed = []
    for name in chosen:
        console.rule(f"{name}: {title(name)}", align="left")
        try:
            record = run(
                name,
                preset,
                out,
                data=data,
                seeds=seeds,
                cache=nets,
                say=lambda line: console.print(f"  {line}", style="dim"),
            )
        except (ReproduceError, SvccaError, ValueError) as error:  # of data, of a net that diverged, of its statistic
            failed.append(name)
            console.print(f"error: {error}", style="red", markup=False)
            continue
        console.print(_verdicts(record))
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")
    console.print(f"Wrote {len(chosen)} records and their pictures to {out}")


def _train(preset: str, cache: Path, data: Path | None, list_only: bool, console: Console) -> None:
    from reproduce import queue  # its lock is there on POSIX systems alone

    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False)

    found = queue.entries(preset, cache, data, say)
    if list_only:
        for entry in found:
            say(queue.listed(entry))
    else:
        queue.train(found, cache, say)


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
