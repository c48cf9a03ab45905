"""What a figure is given: settings, data, trained nets, and the cache behind them; and what it gives back."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from reproduce.cache import Cache, plain
from reproduce.claims import Finding
from reproduce.data import images as image_data
from reproduce.data import text as text_data
from reproduce.data.images import Images
from reproduce.data.text import Text
from reproduce.nets import Net
from reproduce.training import Run, State, Training, fit, forked_rng, translated, translations
from svcca import SvccaWarning
from svcca.progress import track

PRESETS = ("quick", "cpu", "cpu2", "full")
EVALUATED = 500
"""Images a batch when accuracy is measured."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of a figure for one preset; each figure adds its own. Plain values only: they are kept in the record."""

    seeds: int = 3


@dataclass(frozen=True)
class Outcome:
    """What a figure gives: figures by a short name, "" for the only one, and the claims, judged."""

    figures: dict[str, Figure]
    findings: list[Finding]


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained net: its weights by step, and how to build it."""

    states: dict[int, State]
    build: Callable[[], nn.Module]
    facts: dict[str, Any]

    @property
    def steps(self) -> list[int]:
        """Steps at which weights were kept; the last is the end of training."""
        return sorted(self.states)

    @property
    def accuracy(self) -> float:
        """Return the share of the test images that the trained net classifies correctly."""
        return float(self.facts["accuracy"])

    def net(self, step: int | None = None) -> Any:
        """Build the net as it was after a step, or as it is at the end, in evaluation mode."""
        net = self.build()
        net.load_state_dict(self.states[self.steps[-1] if step is None else step])
        return net.eval()


@dataclass(frozen=True, eq=False)
class Entry:
    """A training in the queue of a preset.

    Attributes:
        title: Net, seed, and what else tells it from others.
        facts: Reads what the cache has of it: accuracy and seconds among others; None while it is not done.
        partial: Where the state of an unfinished run is kept.
        train: Trains it, or takes it from the cache; gives its facts.
    """

    title: str
    facts: Callable[[], dict[str, Any] | None]
    partial: Path
    train: Callable[[], dict[str, Any]]


@dataclass(eq=False)
class Study:
    """One run of one figure.

    Attributes:
        name: The figure's.
        preset: "quick" (bundled data), "cpu", "cpu2" (nets that the queue trains) or "full".
        settings: The figure's own, for this preset.
        data: Folder with CIFAR-10 and WikiText-2.
        cache: The cache of trained nets and of analyses, shared by all figures.
        say: Prints a line of progress.
        device: Where nets are trained and data lie.
    """

    name: str
    preset: str
    settings: Any
    data: Path | None
    cache: Cache
    say: Callable[[str], None]
    device: torch.device = field(default_factory=lambda: torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    seconds_before: float = 0.0
    """What the results that came from the cache took when they were made."""
    warnings: list[str] = field(default_factory=list)
    """What svcca warned of, each text once."""

    @property
    def seeds(self) -> range:
        """The seeds that this run is to use."""
        return range(self.settings.seeds)

    def images(self, n_train: int, n_test: int) -> Images:
        """Return labelled images: digits for the quick preset, CIFAR-10 otherwise."""
        if self.preset == "quick":
            return image_data.digits(n_train, n_test)
        return image_data.cifar10(self.data, n_train, n_test).to(self.device)

    def text(self, n_words: int, n_train: int, n_valid: int) -> Text:
        """Return a text: made up for the quick preset, WikiText-2 otherwise."""
        if self.preset == "quick":
            return text_data.made_up(n_words, n_train, n_valid)
        return text_data.wikitext2(self.data, n_words, n_train, n_valid)

    def train_net(self, spec: Net, training: Training, images: Images, seed: int) -> Trained:
        """Train an image net, or take it from the cache; the seed gives its first weights and the order of images.

        Labels are those of `images`: for nets that memorise, pass images whose labels were permuted.
        """

        def build() -> nn.Module:
            return spec.build(images.shape, len(images.classes)).to(self.device)

        def batches(generator: torch.Generator) -> list[tuple[Tensor, Tensor]]:
            order = torch.randperm(len(images.train), generator=generator)
            shifts = translations(len(order), training.translate, generator)
            # A last batch of one image would have no variance for batch normalisation.
            return [(part, shifts[:, part]) for part in order.split(training.batch) if len(part) > 1]

        def loss(net: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
            part = batch[0].to(images.train.device)
            inputs = translated(images.train[part], batch[1], training.translate, training.layout)
            return classification_loss(net, (inputs, images.train_labels[part]))

        def facts(net: nn.Module) -> dict[str, Any]:
            n = len(images.test)
            on_train = accuracy(net, images.train[:n], images.train_labels[:n])
            return {"accuracy": accuracy(net, images.test, images.test_labels), "train_accuracy": on_train}

        name, config = net_key(spec, training, images, seed)
        return self.train(name, config, build, batches, loss, training, seed, facts)

    def net_entry(self, spec: Net, training: Training, images: Images, seed: int, note: str = "") -> Entry:
        """Return the entry of the queue for what `train_net` trains; the note is added to its title."""
        name, config = net_key(spec, training, images, seed)
        return Entry(
            f"{name}, seed {seed}{note}",
            lambda: self.cache.facts(name, config),
            self.cache.path(name, config, ".partial"),
            lambda: self.train_net(spec, training, images, seed).facts,
        )

    def train(
        self,
        name: str,
        config: dict[str, Any],
        build: Callable[[], nn.Module],
        batches: Callable[[torch.Generator], Sequence[Any]],
        loss: Callable[[nn.Module, Any], Tensor],
        training: Training,
        seed: int,
        facts: Callable[[nn.Module], dict[str, Any]],
    ) -> Trained:
        """Train any net, or take it from the cache.

        Args:
            name: What its file and the progress bar are called.
            config: Everything that decides the result: net, training, data, seed.
            build: Gives the net with fresh weights from torch's global generator, which is seeded before.
            batches: Gives the batches of an epoch from a generator.
            loss: The loss of the net on a batch.
            training: How.
            seed: The seed of the weights and the order.
            facts: Plain numbers about the trained net (in evaluation mode), kept with it.
        """

        def make() -> tuple[dict[str, Tensor], dict[str, Any]]:
            with forked_rng():
                torch.manual_seed(seed)
                net = build()
            title = f"{name}, seed {seed}"
            partial = self.cache.path(name, config, ".partial")
            run = fit(net, batches, loss, training, seed, partial=partial, track=track, title=title)
            about = {"seconds": run.seconds, "losses": run.losses} | facts(net.eval())
            self.say(f"{title}: " + ", ".join(f"{k} {v:.3f}" for k, v in about.items() if isinstance(v, float)))
            return _flat(run), about

        tensors, about, was_there = self.cache.tensors(name, config, make)
        self.seconds_before += about["seconds"] * was_there
        return Trained(_by_step(tensors), build, about)

    def analysis(self, part: str, config: dict[str, Any], make: Callable[[], Any], *, of: str | None = None) -> Any:
        """Return the plain data of an analysis, new or from an earlier run, as JSON holds it (tuples are lists).

        Args:
            part: The name of the analysis within this figure, and of its file.
            config: Everything that decides the result: settings, seed, data.
            make: Computes it. Nets that it needs are trained or taken from the cache before: the time that they took
                would count in each analysis.
            of: The figure whose analysis it is, where another one shares it.
        """

        def timed() -> dict[str, Any]:
            start, before = perf_counter(), self.seconds_before
            with heard() as said:
                values = make()
            return {
                "values": values,
                "seconds": perf_counter() - start + self.seconds_before - before,
                "warnings": said,
            }

        stored, was_there = self.cache.values(f"{of or self.name}-{part}", config, timed)
        self.seconds_before += stored["seconds"] * was_there
        self.warnings += [text for text in stored["warnings"] if text not in self.warnings]
        return stored["values"]

    def config(self, **others: Any) -> dict[str, Any]:
        """Return what decides an analysis, as plain data: the settings without the number of seeds, and additions."""
        return {key: value for key, value in plain(self.settings).items() if key != "seeds"} | others


def net_key(spec: Net, training: Training, images: Images, seed: int) -> tuple[str, dict[str, Any]]:
    """Return what an image net is called in the cache, and everything that decides its weights."""
    config = {"net": plain(spec), "training": plain(training), "data": images.config, "seed": seed}
    return f"{spec.kind}-{spec.width}", config


@contextmanager
def heard() -> Iterator[list[str]]:
    """Collect what svcca warns of, each text once, instead of printing it; other warnings go on."""
    said: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SvccaWarning)
        yield said
    for warning in caught:
        if not issubclass(warning.category, SvccaWarning):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        elif str(warning.message) not in said:
            said.append(str(warning.message))


def classification_loss(net: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Return the cross-entropy of a batch of images and labels, in float32 whatever the net computes in."""
    return cross_entropy(net(batch[0]).float(), batch[1])


def accuracy(net: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the share of images that are classified correctly."""
    with torch.no_grad():
        right = [
            (net(x).argmax(1) == y).sum() for x, y in zip(images.split(EVALUATED), labels.split(EVALUATED), strict=True)
        ]
    return float(torch.stack(right).sum()) / len(images)


def with_labels(images: Images, labels: Tensor, name: str) -> Images:
    """Return the same images with other training labels."""
    return replace(images, train_labels=labels, name=f"{images.name} {name}")


def _flat(run: Run) -> dict[str, Tensor]:
    return {f"{step}|{key}": value for step, state in run.states.items() for key, value in state.items()}


def _by_step(tensors: dict[str, Tensor]) -> dict[int, State]:
    states: dict[int, State] = {}
    for key, value in tensors.items():
        step, name = key.split("|", 1)
        states.setdefault(int(step), {})[name] = value
    return states
