"""The conv nets and residual nets that several figures look at: trained once for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from reproduce.data.images import Images
from reproduce.nets import Net
from reproduce.study import Entry, Study, Trained
from reproduce.training import FAST, Training


@dataclass(frozen=True, kw_only=True)
class SharedNets:
    """Both kinds of net and how they are trained; weights are kept at 20 places on the way."""

    n_train: int
    n_test: int
    conv: Net
    conv_training: Training
    residual: Net
    residual_training: Training

    def images(self, study: Study) -> Images:
        """Read the images for training and testing."""
        return study.images(self.n_train, self.n_test)

    def train_conv(self, study: Study, images: Images, seed: int) -> Trained:
        """Train the conv net with a seed, or take it from the cache."""
        return study.train_net(self.conv, self.conv_training, images, seed)

    def train_residual(self, study: Study, images: Images, seed: int) -> Trained:
        """Train the residual net with a seed, or take it from the cache."""
        return study.train_net(self.residual, self.residual_training, images, seed)

    def queue(self, study: Study, images: Images) -> Iterator[Entry]:
        """Go through the preset's seeds, both kinds of net in turn, so that pairs of either come early."""
        part = images.first(self.n_train, self.n_test)
        for seed in range(SEEDS[study.preset]):
            yield study.net_entry(self.conv, self.conv_training, part, seed)
            yield study.net_entry(self.residual, self.residual_training, part, seed)


SEEDS = {"quick": 2, "cpu": 3, "cpu2": 8, "full": 5}
"""How many of each kind the queue trains; a figure that needs more trains them itself."""

SHARED = {
    "quick": SharedNets(
        n_train=1200,
        n_test=597,
        conv=Net(width=8),
        conv_training=Training(epochs=8, batch=32, snapshots=20),
        residual=Net(kind="residual", width=6, blocks=1),
        residual_training=Training(epochs=8, batch=32, snapshots=20),
    ),
    "cpu": SharedNets(
        n_train=20_000,
        n_test=10_000,
        conv=Net(width=16),
        conv_training=Training(epochs=10, translate=2, snapshots=20),
        residual=Net(kind="residual", width=8, blocks=2),
        residual_training=Training(epochs=8, translate=2, learning_rate=3e-3, snapshots=20),
    ),
    "cpu2": SharedNets(
        n_train=50_000,
        n_test=10_000,
        conv=Net(width=32),
        conv_training=Training(epochs=30, translate=4, decay_at=(0.6, 0.85), snapshots=20, **FAST),
        residual=Net(kind="residual", width=16, blocks=3),
        residual_training=Training(epochs=30, translate=4, decay_at=(0.6, 0.85), snapshots=20, **FAST),
    ),
    "full": SharedNets(
        n_train=50_000,
        n_test=10_000,
        conv=Net(width=64),
        conv_training=Training(epochs=100, translate=4, snapshots=20),
        residual=Net(kind="residual", width=16, blocks=5),
        residual_training=Training(epochs=100, translate=4, snapshots=20),
    ),
}
