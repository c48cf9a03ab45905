"""Run conv nets from their second pooling on: the output of the layers below is computed once and projected often.

Each net is taken with the net of the next seed. Directions come from training images, accuracy from test images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import svcca
from reproduce.cache import plain
from reproduce.data.images import Images
from reproduce.shared_nets import SharedNets
from reproduce.study import EVALUATED, Settings, Study, Trained
from svcca.project import LayerDirections

FIRST = "flat"
"""The units of pool2 as a vector, with which a head begins."""
TWO_SEEDS, LOGITS, PLS = "CCA with another net", "CCA with the logits", "PLS with the logits"
PRINCIPAL, LARGEST = "principal directions", "neurons of largest activation"


@dataclass(frozen=True, kw_only=True)
class HeadSettings(Settings):
    """Which nets; on how many training images directions are found, and on how many test images nets are evaluated."""

    nets: SharedNets
    n_seen: int
    n_evaluated: int


@dataclass(frozen=True, eq=False)
class Heads:
    """The upper layers of two nets.

    Attributes:
        net: The upper layers of the net under study, from the units of pool2 on.
        other: The same layers of the net of another seed.
        seen: The inputs of both heads for training images, in batches of (its own, the other's).
        inputs: The inputs of `net` for test images.
        labels: The labels of the test images.
        n_below: The number of parameters of the layers below.
    """

    net: nn.Sequential
    other: nn.Sequential
    seen: list[tuple[Tensor, Tensor]]
    inputs: Tensor
    labels: Tensor
    n_below: int

    @classmethod
    def of(cls, one: Trained, other: Trained, images: Images, n_seen: int, n_test: int) -> Heads:
        """Cut two trained nets, and run what lies below on the first images of both splits."""
        (body, head), (their_body, their_head) = (cut(trained.net()) for trained in (one, other))
        parts = images.train[:n_seen].split(EVALUATED)
        with torch.no_grad():
            seen = [(body(part), their_body(part)) for part in parts]
            inputs = torch.cat([body(part) for part in images.test[:n_test].split(EVALUATED)])
        n_below = sum(parameter.numel() for parameter in body.parameters())
        return cls(head, their_head, seen, inputs, images.test_labels[:n_test], n_below)

    def forward(self, net: nn.Module, batch: tuple[Tensor, Tensor]) -> Any:
        """Run either head on its own part of a batch of `seen`."""
        return net(batch[1] if net is self.other else batch[0])

    def directions(self, layer: str, kind: str) -> LayerDirections:
        """Find directions of a layer by CCA with the other net, or by CCA or PLS with the logits."""
        against = self.other if kind == TWO_SEEDS else "logits"
        method = "pls" if kind == PLS else "cca"
        return svcca.directions(
            self.net, self.seen, layer, against=against, method=method, forward=self.forward, progress=False
        )

    def accuracy(self, net: nn.Module) -> float:
        """Return the share of the test images that a head classifies correctly."""
        with torch.no_grad():
            return float((net(self.inputs).argmax(1) == self.labels).double().mean())

    def accuracy_from(self, layer: str) -> Callable[[nn.Module], float]:
        """Return an evaluation that runs a head from this layer on; the layers below do not change and run once."""
        place = place_of(self.net, layer)
        with torch.no_grad():
            inputs = self.net[:place](self.inputs)

        def measured(net: nn.Module) -> float:
            assert isinstance(net, nn.Sequential)
            with torch.no_grad():
                return float((net[place:](inputs).argmax(1) == self.labels).double().mean())

        return measured


def pairs(study: Study) -> Iterator[tuple[dict[str, Any], Callable[[], Heads]]]:
    """Return for each seed what decides its results, and a function that makes the heads of its net and the next."""
    settings: HeadSettings = study.settings
    images = settings.nets.images(study)
    nets = [settings.nets.train_conv(study, images, seed) for seed in range(settings.seeds + 1)]
    n_seen, n_test = settings.n_seen, settings.n_evaluated
    for seed in study.seeds:
        config = {"nets": plain(settings.nets), "data": images.config, "n_seen": n_seen, "n_evaluated": n_test}
        yield config | {"seed": seed}, cache(partial(Heads.of, nets[seed], nets[seed + 1], images, n_seen, n_test))


def place_of(net: nn.Sequential, layer: str) -> int:
    """Return the index of a layer in a sequence."""
    return [name for name, _ in net.named_children()].index(layer)


def cut(net: nn.Sequential) -> tuple[nn.Sequential, nn.Sequential]:
    """Cut a conv net between its last pooling and its fully connected layers."""
    place = place_of(net, FIRST)
    return net[:place], net[place:]


def counts(width: int, per_octave: int) -> list[int]:
    """Return numbers of directions up to the width, so many per doubling, including a tenth of the width."""
    rising = 2 ** np.arange(0, np.log2(width), 1 / per_octave)
    return sorted({*np.rint(rising).astype(int).tolist(), tenth(width), width})


def tenth(width: int) -> int:
    """Return a tenth of a layer's width: the upper end of the 5 to 10% that the paper keeps."""
    return round(width / 10)


def projected(
    study: Study, config: dict[str, Any], heads: Callable[[], Heads], layer: str, per_octave: int
) -> dict[str, Any]:
    """Return the accuracy with a layer projected onto k directions, over k, for each kind; two figures share it.

    Args:
        study: The study of either figure.
        config: The nets, images and seed.
        heads: A function that returns the heads of that seed; called if this has not been computed before.
        layer: The layer that is projected.
        per_octave: The number of k per doubling.

    Returns:
        "width", "ks" (n_ks,), "unprojected" accuracy, "curves" by kind (n_ks,), "needed": by kind the k from which on
        accuracy stays within one point.
    """
    config = config | {"layer": layer, "per_octave": per_octave}
    return dict(study.analysis("curve", config, partial(_curve, heads, layer, per_octave), of="projection"))


def _curve(heads: Callable[[], Heads], layer: str, per_octave: int) -> dict[str, Any]:
    both = heads()
    kinds = {kind: both.directions(layer, kind) for kind in (TWO_SEEDS, LOGITS, PLS)}
    width = kinds[LOGITS].n_features
    ks = counts(width, per_octave)
    curve = svcca.projection_curve(both.net, layer, kinds, ks, both.accuracy_from(layer), progress=False)
    return {
        "width": width,
        "ks": ks,
        "unprojected": curve.unprojected,
        "curves": dict(zip(curve.kinds, curve.values.tolist(), strict=True)),
        "needed": curve.neurons_needed(0.01),
    }
