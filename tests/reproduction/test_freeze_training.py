"""Freeze Training: arms are held against the baseline of their own seed, and train the same net on the same batches."""

import pytest
import torch
from reproduce.claims import FAILS, HOLDS
from reproduce.data.images import digits
from reproduce.figures import freeze_training
from reproduce.figures.freeze_training import ARMS, BASELINE, SHORT, FreezeTraining
from reproduce.nets import Net
from reproduce.training import Training

SETTINGS = FreezeTraining(
    nets=(), training=Training(epochs=2), arms=(), n_train=256, n_probe=40, n_test=100, n_curve=50
)


def record(seconds, accuracy, flops_saved=0.0, epochs=4):
    accuracies = [0.1] * (epochs - 1) + [accuracy]
    return {"seconds": seconds, "accuracies": accuracies, "flops_saved": flops_saved, "frozen": {}}


def found(linear, saved=0.4):
    return {
        BASELINE: [record(10.0, 0.60), record(20.0, 0.70), record(10.0, 0.65)],
        "linear": linear(saved),
        SHORT: [record(5.0, 0.5, epochs=2)] * 3,
    }


def as_good(saved):
    return [record(7.0, 0.600, saved), record(12.0, 0.701, saved), record(8.0, 0.651, saved)]


def worse(saved):
    return [record(12.0, 0.580, saved), record(24.5, 0.681, saved), record(12.0, 0.630, saved)]


def test_what_saves_and_loses_nothing_holds():
    verdicts = [finding.verdict for finding in freeze_training.judged(found(as_good), "conv")]
    assert verdicts == [HOLDS, HOLDS, HOLDS]


def test_what_saves_nothing_and_loses_two_points_does_not():
    verdicts = [finding.verdict for finding in freeze_training.judged(found(worse, saved=0.2), "conv")]
    assert verdicts == [FAILS, FAILS, FAILS]


def test_arms_are_compared_with_the_baseline_of_their_own_seed():
    both = found(as_good)
    assert freeze_training.time_saved(both["linear"], both[BASELINE]) == pytest.approx([0.3, 0.4, 0.2])
    assert freeze_training.lost_or_won(both["linear"], both[BASELINE]) == pytest.approx([0.0, 0.1, 0.1])


def test_fewer_epochs_save_their_operations():
    both = found(as_good)
    assert freeze_training.operations_saved(both[SHORT], both[BASELINE]) == pytest.approx([0.5] * 3)
    assert freeze_training.operations_saved(both["linear"], both[BASELINE]) == pytest.approx([0.4] * 3)


def trained(arm, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = Net(width=4).build((1, 8, 8), 10)
    images = digits(296, 100)
    return freeze_training.train(net, images, SETTINGS, SETTINGS.training, ARMS.get(arm), seed), net


def test_an_arm_freezes_and_the_baseline_does_not():
    baseline, _ = trained(BASELINE)
    linear, _ = trained("linear")
    assert baseline["flops_saved"] == 0.0
    assert not baseline["frozen"]
    assert linear["flops_saved"] > 0.25
    assert list(linear["frozen"].values()) == sorted(linear["frozen"].values())
    assert len(baseline["accuracies"]) == len(linear["accuracies"]) == 2


def test_arms_train_the_same_net_on_the_same_batches_until_something_freezes(monkeypatch):
    never = {"schedule": [10**6]}
    monkeypatch.setattr(freeze_training.svcca, "FreezeTraining", lambda net, optimizer, **options: Idle())
    monkeypatch.setitem(ARMS, "linear", lambda probe, n_blocks: never)
    (_, net), (_, arm) = trained(BASELINE), trained("linear")
    assert all(torch.equal(one, other) for one, other in zip(net.parameters(), arm.parameters(), strict=True))


class Idle:
    """Freezes nothing."""

    share_of_flops_saved, events = 0.0, ()

    def step(self):
        return ()

    def summary(self):
        return self


def test_the_figure_has_a_line_an_arm():
    both = found(as_good)
    lines = [line.get_label() for line in freeze_training.draw(both).axes[0].lines]
    assert lines == [BASELINE, "linear", SHORT]
