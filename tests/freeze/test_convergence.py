from itertools import pairwise

import pytest
import torch
from torch import nn

import svcca
from freeze.training import OPTIMIZERS, batches, conv_net, data, differing, state_of, train
from svcca import FreezeTraining
from svcca.errors import InputError, SvccaWarning, UnknownOptionError
from svcca.freeze import AdaptiveFreezing, convergence

PROBE = data(200, seed=7)[0]


def mlp():
    torch.manual_seed(0)
    hidden = [nn.Sequential(nn.Linear(4, 6), nn.Tanh()), nn.Sequential(nn.Linear(6, 6), nn.Tanh())]
    return nn.Sequential(*hidden, nn.Linear(6, 2))


def freezer_of(model, **options):
    schedule = AdaptiveFreezing(torch.randn(300, 4, generator=torch.Generator().manual_seed(1)), **options)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return FreezeTraining(model, optimizer, ["0", "1", "2"], schedule, total_steps=20)


def scramble(layer):
    with torch.no_grad():
        layer.weight.copy_(torch.randn_like(layer.weight))


def test_a_block_freezes_once_it_has_stayed_alike():
    model = mlp()
    freezer = freezer_of(model, every=2, patience=2, start=2)
    for step in range(1, 13):
        if step <= 6:
            scramble(model[0][0])
        freezer.step()
    # Snapshots at 4 and 6 differ from the one before; those at 8 and 10 do not.
    assert [(event.block, event.step) for event in freezer.events] == [("0", 10), ("1", 10)]
    reason = "svcca with the snapshot before at least 0.98: 1.000 at step 8, 1.000 at step 10"
    assert freezer.events[0].reason == reason


def test_a_block_waits_for_those_below_it(monkeypatch):
    below = iter([0.5, 0.99, 0.97, 0.98, 0.985, 1.0])
    monkeypatch.setattr(convergence, "twins", lambda *_: {"0": next(below), "1": 1.0})
    freezer = freezer_of(mlp(), every=1, patience=2, start=0)
    times = {name: freezer.n_steps for _ in range(6) for name in freezer.step()}
    # Snapshot 1 has none before; from 2 on 0.5, 0.99, 0.97, 0.98, 0.985: the first two of at least 0.98 end at 6.
    assert times == {"0": 6, "1": 6}


def test_similarity_is_that_of_the_blocks_outputs_over_the_probe_set():
    model = mlp()
    probe = torch.randn(300, 4)
    schedule = AdaptiveFreezing(probe, every=1, start=0, threshold=0.999)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    freezer = FreezeTraining(model, optimizer, ["0", "1", "2"], schedule, total_steps=9)
    outputs = []
    for _ in range(3):
        scramble(model[0][0])
        outputs.append(model[:2](probe).detach())
        freezer.step()
    expected = [svcca.svcca(b, a).similarity for a, b in pairwise(outputs)]
    assert max(expected) < 0.99
    assert [value for _, value in freezer._plan.history["1"]] == pytest.approx(expected, abs=1e-6)


def test_patience_and_start_hold_it_back():
    for options, expected in (
        ({"patience": 1, "every": 2, "start": 0}, 4),
        ({"patience": 4, "every": 2, "start": 0}, 10),
        ({"patience": 1, "every": 2, "start": 0.5}, 10),
        ({"patience": 2, "every": 0.15, "start": 0.1}, 9),
    ):
        freezer = freezer_of(mlp(), **options)
        for _ in range(20):
            freezer.step()
        assert [(event.block, event.step) for event in freezer.events] == [("0", expected), ("1", expected)]


def test_the_last_block_learns_to_the_end_unless_something_above_it_does():
    freezer = freezer_of(mlp(), every=1, start=0)
    for _ in range(10):
        freezer.step()
    assert freezer.frozen == ("0", "1")
    model = mlp()
    schedule = AdaptiveFreezing(torch.randn(300, 4), every=1, start=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    freezer = FreezeTraining(model, optimizer, ["0", "1"], schedule, total_steps=20)
    for _ in range(10):
        freezer.step()
    assert freezer.frozen == ("0", "1")


def test_looking_leaves_network_gradients_and_random_state_alone():
    model = conv_net()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    schedule = AdaptiveFreezing(PROBE, every=2, start=0.9)
    freezer = FreezeTraining(model, optimizer, schedule=schedule, total_steps=20)
    train(model, optimizer, freezer, batches(3))
    model.train()
    model[8].eval()
    before, modes = state_of(model), [module.training for module in model.modules()]
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    generator = torch.get_rng_state()
    freezer.step()
    assert len(freezer._plan.history["0"]) == 1
    assert not differing(before, state_of(model))
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), gradients, strict=True))
    assert torch.equal(torch.get_rng_state(), generator)


def test_training_with_snapshots_that_never_freeze_equals_training_without():
    states = []
    for watched in (False, True):
        model = conv_net()
        optimizer = OPTIMIZERS["adam"](model.parameters())
        schedule = AdaptiveFreezing(PROBE, every=2, threshold=0.999999) if watched else [19]
        freezer = FreezeTraining(model, optimizer, schedule=schedule, total_steps=20)
        train(model, optimizer, freezer, batches(15))
        states.append(state_of(model))
    assert not differing(*states)


def test_a_block_that_is_constant_for_a_while_is_waited_for():
    model = mlp()
    freezer = freezer_of(model, every=1, start=0)
    weight = model[0][0].weight.detach().clone()
    freezer.step()
    freezer.step()
    model[0][0].weight.data.zero_()
    with pytest.warns(SvccaWarning, match="Freezing waits for another snapshot: .*at step 3"):
        freezer.step()
    model[0][0].weight.data.copy_(weight)
    for _ in range(3):
        freezer.step()
    assert [(event.block, event.step) for event in freezer.events] == [("0", 6), ("1", 6)]


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"threshold": 1.0}, InputError, "above 0 and below 1; got 1.0. No two snapshots are more alike than 1"),
        ({"threshold": 0.0}, InputError, "above 0 and below 1; got 0.0. Every snapshot reaches it"),
        ({"patience": 0}, InputError, "a patience of at least 1; got 0"),
        ({"measure": "svca"}, UnknownOptionError, "svcca"),
        ({"every": 10}, InputError, "before the end; got the earliest time at step 30 of 20"),
        ({"start": 20}, InputError, "before the end; got the earliest time at step 20 of 20"),
        ({"every": 1.5}, InputError, "AdaptiveFreezing every: expected a step"),
        ({"start": -1}, InputError, "AdaptiveFreezing start: expected a step"),
        ({"observe": "fourier", "measure": "cca_top"}, UnknownOptionError, "observe='fourier'"),
    ],
)
def test_settings_that_cannot_be_are_refused(options, error, text):
    with pytest.raises(error, match=text):
        freezer_of(mlp(), **options)


def test_an_empty_probe_set_is_refused():
    model = mlp()
    with pytest.raises(InputError, match="data for the probe set: expected at least 2 samples; got 0 samples"):
        FreezeTraining(
            model, torch.optim.SGD(model.parameters(), lr=0.1), schedule=AdaptiveFreezing([]), total_steps=20
        )
