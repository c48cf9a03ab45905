"""Run a figure: find its module, give it a study, keep its record and pictures."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any

from reproduce import figures
from reproduce.cache import Cache
from reproduce.errors import ReproduceError, message
from reproduce.records import Record
from reproduce.study import PRESETS, Study, heard


def names() -> list[str]:
    """Return the names of all figures, in the order of the papers' items."""
    found = [module.name for module in pkgutil.iter_modules(figures.__path__)]
    return sorted(found, key=lambda name: load(name).ITEMS)


def load(name: str) -> Any:
    """Import the module of a figure.

    Raises:
        ReproduceError: If there is no figure of this name; the message lists the closest names.
    """
    known = [module.name for module in pkgutil.iter_modules(figures.__path__)]
    if name not in known:
        close = ", ".join(get_close_matches(name, known, cutoff=0.4)) or ", ".join(known)
        raise ReproduceError(
            message(
                "reproduce",
                f"the name of a figure, such as {close}",
                repr(name),
                "List them with: python -m reproduce list",
            )
        )
    return import_module(f"reproduce.figures.{name}")


def title(name: str) -> str:
    """Return the first line of a figure's docstring."""
    return str(load(name).__doc__).splitlines()[0].rstrip(".")


def run(
    name: str,
    preset: str,
    out: Path,
    *,
    data: Path | None = None,
    seeds: int | None = None,
    cache: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Record:
    """Train, analyse, draw and judge one figure.

    Args:
        name: The figure's.
        preset: "quick", "cpu", "cpu2" or "full".
        out: Folder for the record and the pictures; made if it is not there.
        data: Folder with CIFAR-10 and WikiText-2; the quick preset needs none.
        seeds: Instead of the preset's.
        cache: Folder of trained nets and analyses; by default one in `out`.
        say: Prints a line of progress.

    Raises:
        ReproduceError: If there is no such figure or preset, the figure lacks it, or data cannot be read.
    """
    module = load(name)
    if preset not in PRESETS:
        raise ReproduceError(message("reproduce", f"a preset, one of {', '.join(PRESETS)}", repr(preset), "Name one"))
    if preset not in module.SETTINGS:
        expected = f"a preset that this figure has, one of {', '.join(module.SETTINGS)}"
        raise ReproduceError(message(name, expected, repr(preset), "Name one of them"))
    settings = module.SETTINGS[preset]
    if seeds is not None:
        settings = replace(settings, seeds=seeds)
    stored = Cache(made(cache or made(out) / "cache"), say)
    study = Study(name, preset, settings, data, stored, say)
    start = perf_counter()
    with heard() as said:
        outcome = module.run(study)
    study.warnings += [text for text in said if text not in study.warnings]
    record = Record.of(study, title(name), module.ITEMS, outcome, perf_counter() - start + study.seconds_before)
    record.save(made(out), outcome.figures)
    return record


def made(folder: Path) -> Path:
    """Make a folder if it is not there.

    Raises:
        ReproduceError: If it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        where, remedy = "reproduce", "Name another folder with --out"
        raise ReproduceError(message(where, "a folder to write to", f"{folder}: {error.strerror}", remedy)) from error
    return folder
