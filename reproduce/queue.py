"""Run the trainings of a preset one after the other, those of most value per hour first.

Results in the cache are skipped, and an interrupted training resumes at its last saved epoch, so the queue can be
stopped and started at any time. Figures find the trained nets in the cache.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reproduce.cache import Cache
from reproduce.errors import ReproduceError, message
from reproduce.run import load, made
from reproduce.shared_nets import SHARED
from reproduce.study import PRESETS, Entry, Study

FIGURES = ("memorisation", "width")
"""Those with trainings of their own that the queue serves after the shared nets, where they have the preset."""
MOST = (50_000, 10_000)
"""Images that are read once for all: all of CIFAR-10."""
LOCK = "queue.lock"


def entries(preset: str, cache: Path, data: Path | None, say: Callable[[str], None]) -> list[Entry]:
    """Return the trainings of a preset in their order.

    Args:
        preset: One of `study.PRESETS`.
        cache: The folder of trained nets; created if it does not exist.
        data: The folder with CIFAR-10; the quick preset needs none.
        say: A function that prints a line if a result in the cache cannot be used.

    Raises:
        ReproduceError: If there is no such preset, or data cannot be read.
    """
    if preset not in PRESETS:
        raise ReproduceError(message("train", f"a preset, one of {', '.join(PRESETS)}", repr(preset), "Name one"))
    study = Study("train", preset, None, data, Cache(made(cache), say), lambda line: None)
    images = study.images(*MOST)
    found = list(SHARED[preset].queue(study, images))
    for module in map(load, FIGURES):
        if preset in module.SETTINGS:
            found += module.queue(study, module.SETTINGS[preset], images)
    return found


def train(queue: list[Entry], cache: Path, say: Callable[[str], None]) -> None:
    """Run the trainings that are not done, and report every training in one line.

    Raises:
        ReproduceError: If another process trains the queue of this cache.
    """
    with locked(cache):
        for number, entry in enumerate(queue, start=1):
            facts = entry.facts()
            was_there = facts is not None
            say(f"{number} of {len(queue)}: {described(entry, facts or entry.train())}" + " (was there)" * was_there)


def listed(entry: Entry) -> str:
    """Describe an entry in a line: done, partial or waiting."""
    facts = entry.facts()
    if facts is not None:
        return f"done     {described(entry, facts)}"
    return f"{'partial' if entry.partial.exists() else 'waiting':8} {entry.title}"


def described(entry: Entry, facts: dict[str, Any]) -> str:
    """Describe a trained net in a line: accuracy on test and training images, hours."""
    accuracies = f"accuracy {facts['accuracy']:.3f} ({facts['train_accuracy']:.3f} on training images)"
    return f"{entry.title}: {accuracies}, {facts['seconds'] / 3600:.2f} hours"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Prevent other processes from training the queue of this cache.

    The system releases the lock when the process ends, even if it is killed.
    """
    with (folder / LOCK).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            got = f"{folder}, which process {file.read().strip()} works on"
            remedy = "Wait until it is done, or stop it"
            raise ReproduceError(message("train", "a cache that no other queue fills", got, remedy)) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
