import contextlib
import math
from itertools import pairwise

import pytest
import torch
from matplotlib import pyplot as plt
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from freeze.training import OPTIMIZERS, batches, conv_net, data, differing, state_of, train
from svcca import FreezeTraining
from svcca.freeze import AdaptiveFreezing, FreezeSummary, PhaseCost, cost

SIZES = (4, 8, 6, 2)
BATCH = 16


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 2))


def steps(model, freezer, optimizer, n):
    for _ in range(n):
        optimizer.zero_grad()
        model(torch.randn(BATCH, 4)).square().mean().backward()
        optimizer.step()
        freezer.step()


def flops(n_frozen):
    """By hand: each product of a layer takes 2 b m n; forward, the weights' gradient, the inputs' gradient."""
    products = [2 * BATCH * m * n for m, n in pairwise(SIZES)]
    return sum(products) + sum(products[n_frozen:]) + sum(products[n_frozen + 1 :])


def test_operations_are_those_counted_by_hand():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    freezer = FreezeTraining(model, optimizer, schedule=[3, 5], total_steps=8)
    steps(model, freezer, optimizer, 8)
    summary = freezer.summary()
    assert [(p.n_frozen, p.n_steps, p.flops_per_step) for p in summary.phases] == [
        (0, 3, flops(0)),
        (1, 2, flops(1)),
        (2, 3, flops(2)),
    ]
    assert summary.baseline_flops_per_step == flops(0)
    assert summary.flops_saved == 2 * (flops(0) - flops(1)) + 3 * (flops(0) - flops(2))
    assert summary.share_of_flops_saved == pytest.approx(summary.flops_saved / (8 * flops(0)))


def test_snapshots_are_counted_against_what_is_saved():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = AdaptiveFreezing(torch.randn(100, 4), every=2, start=0.9)
    freezer = FreezeTraining(model, optimizer, schedule=schedule, total_steps=10)
    steps(model, freezer, optimizer, 6)
    summary = freezer.summary()
    assert summary.overhead_flops >= 3 * 2 * 100 * (4 * 8 + 8 * 6)  # the pass itself, and the layers' moments
    assert summary.flops_saved == -summary.overhead_flops


def test_counting_leaves_the_network_as_it_was():
    model = conv_net()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    freezer = FreezeTraining(model, optimizer, schedule=[2, 4], total_steps=8)
    train(model, optimizer, freezer, batches(6))
    before = state_of(model)
    flags = [parameter.requires_grad for parameter in model.parameters()]
    gradients = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    generator = torch.get_rng_state()
    freezer.summary()
    assert not differing(before, state_of(model))
    assert [parameter.requires_grad for parameter in model.parameters()] == flags
    assert torch.equal(torch.get_rng_state(), generator)
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert (parameter.grad is None) == (gradient is None)
        assert gradient is None or torch.equal(parameter.grad, gradient)


class Attending(nn.Module):
    """Attention with two heads between two linear layers."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(8, 24), nn.Linear(8, 8)

    def forward(self, x):
        q, k, v = self.first(x).unflatten(-1, (6, 4)).transpose(1, 2).chunk(3, dim=1)
        return self.last(nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


def test_attention_is_counted_forward_and_backward():
    model, x = Attending(), torch.randn(3, 5, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    freezer = FreezeTraining(model, optimizer, schedule=[2], total_steps=4)
    for _ in range(4):
        model(x).square().mean().backward()
        freezer.step()
    first, last, attention = 2 * 15 * 8 * 24, 2 * 15 * 8 * 8, 2 * (2 * 3 * 2 * 5 * 5 * 4)
    whole, frozen = freezer.summary().phases
    assert whole.flops_per_step == 2 * first + 3 * last + 3 * attention  # backward, each product takes two
    assert frozen.flops_per_step == first + 2 * last + attention


def test_snapshots_count_attention():
    schedule = AdaptiveFreezing(torch.randn(100, 5, 8), every=2, start=0.9, observe="tokens")
    overhead = []
    for context in (contextlib.nullcontext(), sdpa_kernel(SDPBackend.MATH)):
        model = Attending()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        freezer = FreezeTraining(model, optimizer, schedule=schedule, total_steps=10)
        with context:
            for _ in range(4):
                model(torch.randn(3, 5, 8)).square().mean().backward()
                freezer.step()
        overhead.append(freezer.summary().overhead_flops)
    assert overhead[0] == overhead[1]


def test_what_its_owner_froze_is_not_counted_as_learning():
    model = mlp()
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    freezer = FreezeTraining(model, optimizer, schedule=[1], total_steps=4)
    steps(model, freezer, optimizer, 3)
    assert freezer.summary().baseline_flops_per_step == flops(1)


def test_time_is_the_median_of_a_phase_and_pauses_do_not_count(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(cost, "perf_counter", lambda: now[0])
    model = mlp()
    freezer = FreezeTraining(model, torch.optim.SGD(model.parameters(), lr=0.1), schedule=[5], total_steps=10)
    for number in range(10):
        now[0] += 3.0 if number < 5 else 1.0
        now[0] += 100.0 * (number == 2)  # an evaluation between two steps
        freezer.step()
    summary = freezer.summary()
    assert [phase.seconds_per_step for phase in summary.phases] == [3.0, 1.0]
    assert summary.seconds_saved == 10.0
    assert summary.share_of_seconds_saved == pytest.approx(1 / 3)


def test_a_run_that_was_never_timed_without_freezing_says_so():
    model = mlp()
    freezer = FreezeTraining(model, torch.optim.SGD(model.parameters(), lr=0.1), schedule=[1], total_steps=10)
    state = freezer.state_dict()
    freezer.load_state_dict({**state, "events": [["0", 1, "given time"]]})
    freezer.step()
    assert math.isnan(freezer.summary().seconds_saved)
    assert "time saved: not measured" in str(freezer.summary())
    assert "operations saved: not measured" in str(freezer.summary())  # the model was never called


def example():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    freezer = FreezeTraining(model, optimizer, schedule=[3], total_steps=8)
    steps(model, freezer, optimizer, 8)
    return freezer.summary()


def test_the_table_gives_a_row_a_block():
    frame = example().to_frame()
    assert frame.index.tolist() == ["0", "2", "4"]
    assert frame["parameters"].tolist() == [40, 54, 14]
    assert frame["frozen_after"].isna().tolist() == [False, True, True]
    assert frame.loc["0", "frozen_after"] == 3
    assert frame.loc["0", "reason"] == "given time"


def test_the_phases_are_a_table_too():
    frame = example().phases_to_frame()
    assert frame["n_steps"].tolist() == [3, 5]
    assert list(frame.columns) == ["n_frozen", "n_steps", "seconds_per_step", "flops_per_step"]


def test_it_prints_what_froze_when_and_why_and_what_it_saved():
    text = str(example())
    assert text.startswith("Sequential, 8 of 8 steps\n")
    assert "frozen after step 3: given time" in text
    assert "2            54 parameters  learns" in text
    assert f"({example().share_of_flops_saved:.1%})" in text


def test_the_plot_draws_how_long_each_block_learned():
    summary = example()
    figure, ax = summary.plot()
    learned, frozen = ax.containers
    assert [bar.get_width() for bar in learned] == [3, 8, 8]
    assert [bar.get_width() for bar in frozen] == [5, 0, 0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["0", "2", "4"]
    assert ax.yaxis_inverted()
    assert f"{summary.share_of_flops_saved:.0%} of operations saved" in ax.get_title(loc="left")
    plt.close(figure)


def test_the_plot_takes_axes_and_a_run_that_is_not_over():
    model = mlp()
    freezer = FreezeTraining(model, torch.optim.SGD(model.parameters(), lr=0.1), schedule=[3], total_steps=8)
    figure, ax = plt.subplots()
    assert freezer.summary().plot(ax)[1] is ax
    assert ax.get_xlim() == (0, 8)
    assert ax.get_title(loc="left") == "Sequential"
    plt.close(figure)


def test_steps_of_a_phase_that_was_not_timed_save_nothing():
    phases = (PhaseCost(0, 4, 2.0, 8.0), PhaseCost(1, 1, math.nan, 4.0), PhaseCost(2, 5, 1.0, 2.0))
    summary = FreezeSummary((), (), phases, 8.0, 1.0, 0.5, 10, 10)
    assert summary.seconds_saved == 5 * 1.0 - 0.5
    assert summary.flops_saved == 1 * 4.0 + 5 * 6.0 - 1.0


def test_a_network_whose_backward_pass_needs_training_mode_is_not_counted():
    class Stubborn(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x):
            if not self.training:
                raise RuntimeError("cudnn RNN backward can only be called in training mode")
            return self.b(self.a(x))

    model = Stubborn()
    freezer = FreezeTraining(model, torch.optim.SGD(model.parameters(), lr=0.1), schedule=[1], total_steps=8)
    model(data()[0][:, 0, :2, 0])
    freezer.step()
    assert math.isnan(freezer.summary().flops_saved)
