import copy
import io
import math
import pickle

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from freeze.training import BLOCKS, OPTIMIZERS, batches, conv_net, data, differing, state_of, train
from svcca import FreezeTraining
from svcca.errors import InputError, LayerError, SvccaWarning
from svcca.freeze import AdaptiveFreezing

FIRST = {"0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"}


@pytest.fixture(params=list(OPTIMIZERS))
def setting(request):
    model = conv_net()
    return model, OPTIMIZERS[request.param](model.parameters())


def test_frozen_blocks_stay_the_same_to_the_last_bit_and_the_rest_learns(setting):
    model, optimizer = setting
    freezer = FreezeTraining(model, optimizer, schedule={"0": 4}, total_steps=20)
    train(model, optimizer, freezer, batches(4))
    assert freezer.frozen == ("0",)
    before = state_of(model)
    train(model, optimizer, freezer, batches(12))
    after = state_of(model)
    assert differing(before, after) == set(before) - FIRST
    assert all(parameter.grad is None for parameter in [*model[0].parameters(), *model[1].parameters()])
    assert all(parameter.grad is not None for parameter in model[4].parameters())


def test_the_optimisers_state_of_frozen_parameters_is_released_and_its_groups_stay(setting):
    model, optimizer = setting
    freezer = FreezeTraining(model, optimizer, schedule=[2, 4], total_steps=10)
    train(model, optimizer, freezer, batches(6))
    frozen = {id(p) for number in (0, 1, 4, 5) for p in model[number].parameters()}
    held = {id(parameter) for parameter in optimizer.state}
    assert held == {id(parameter) for parameter in model.parameters()} - frozen
    assert len(optimizer.param_groups[0]["params"]) == len(list(model.parameters()))


def test_the_backward_pass_ends_above_what_is_frozen():
    model = conv_net()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    freezer = FreezeTraining(model, optimizer, schedule=[1, 2], total_steps=4)
    train(model, optimizer, freezer, batches(2))
    seen = []
    model[9].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].requires_grad))
    model[11].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].requires_grad))
    train(model, optimizer, freezer, batches(1))
    assert seen == [False, True]


def test_frozen_blocks_run_in_evaluation_mode_whatever_the_model_is_told():
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.9)), nn.Linear(4, 2))
    freezer = FreezeTraining(
        model, torch.optim.SGD(model.parameters(), lr=0.1), ["0", "1"], schedule=[1], total_steps=3
    )
    freezer.step()
    model.train()
    x = torch.randn(8, 4)
    assert torch.equal(model(x), model[1](model[0][0](x)))
    assert model.training
    assert model[1].training


def test_accumulated_gradients_of_what_freezes_are_dropped_and_stay_none():
    model = conv_net()
    optimizer = OPTIMIZERS["adamw"](model.parameters())
    freezer = FreezeTraining(model, optimizer, schedule=[1], total_steps=3)
    images, labels = data()
    before = state_of(model)
    for number in range(4):
        cross_entropy(model(images), labels).backward()
        if number == 0:
            freezer.step()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=False)
    assert all(parameter.grad is None for parameter in model[0].parameters())
    assert {"0.weight", "1.weight"}.isdisjoint(differing(before, state_of(model)))
    assert "4.weight" in differing(before, state_of(model))


def test_parameter_groups_and_a_scheduler_go_on():
    model = conv_net()
    groups = [{"params": model[:4].parameters(), "lr": 0.1}, {"params": model[4:].parameters(), "lr": 0.01}]
    optimizer = torch.optim.SGD(groups, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.5)
    freezer = FreezeTraining(model, optimizer, schedule=[2], total_steps=6)
    for pair in batches(6):
        train(model, optimizer, freezer, [pair])
        scheduler.step()
    assert [group["lr"] for group in optimizer.param_groups] == [0.1 / 8, 0.01 / 8]


def test_several_optimizers_are_all_released():
    model = conv_net()
    optimizers = [
        torch.optim.SGD(model[:4].parameters(), lr=0.1, momentum=0.9),
        torch.optim.Adam(model[4:].parameters()),
    ]
    freezer = FreezeTraining(model, optimizers, schedule=[2, 4], total_steps=6)
    for images, labels in batches(4):
        cross_entropy(model(images), labels).backward()
        for optimizer in optimizers:
            optimizer.step()
        freezer.step()
    assert not optimizers[0].state
    assert {id(p) for p in optimizers[1].state} == {id(p) for n in (9, 11) for p in model[n].parameters()}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision_with_a_scaler_goes_on(dtype):
    model = conv_net()
    optimizer = OPTIMIZERS["adam"](model.parameters())
    scaler = torch.amp.GradScaler("cpu", enabled=dtype == torch.float16)
    freezer = FreezeTraining(model, optimizer, schedule=[2], total_steps=6)
    states = []
    for images, labels in batches(6):
        with torch.autocast("cpu", dtype=dtype):
            loss = cross_entropy(model(images), labels)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        freezer.step()
        states.append(state_of(model))
    assert differing(states[1], states[-1]) == set(states[0]) - FIRST


def test_a_compiled_model_learns_on_and_its_frozen_block_stays():
    model = conv_net()
    compiled = torch.compile(model, backend="aot_eager")
    optimizer = OPTIMIZERS["sgd"](compiled.parameters())
    freezer = FreezeTraining(compiled, optimizer, schedule=[2], total_steps=4)
    train(compiled, optimizer, freezer, batches(2))
    before = state_of(model)
    train(compiled, optimizer, freezer, batches(2))
    assert differing(before, state_of(model)) == set(before) - FIRST
    assert freezer.frozen == ("0",)


def test_linear_freezes_block_i_of_n_at_fraction_i_of_n_and_the_last_never():
    model = conv_net()
    freezer = FreezeTraining(model, torch.optim.SGD(model.parameters(), lr=0.1), total_steps=10)
    times = {name: freezer.n_steps for _ in range(12) for name in freezer.step()}
    assert times == {"0": 2, "4": 5, "9": 8}
    assert [event.reason for event in freezer.events] == ["linear schedule"] * 3


@pytest.mark.parametrize(
    ("schedule", "times"),
    [
        ([3, 0.5], {"0": 3, "4": 10}),
        ({"0": 0.25, "4": 5, "9": 19}, {"0": 5, "4": 5, "9": 19}),
        ([1], {"0": 1}),
        ([0.0, 2], {"0": 1, "4": 2}),
        ({"4": 7, "0": 6, "9": 20}, {"0": 6, "4": 7}),
    ],
)
def test_given_times_are_steps_or_fractions(schedule, times):
    model = conv_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    freezer = FreezeTraining(model, optimizer, schedule=schedule, total_steps=20)
    assert {name: freezer.n_steps for _ in range(20) for name in freezer.step()} == times


@pytest.mark.parametrize(
    ("schedule", "error", "text"),
    [
        ([20, 30], InputError, "at least one block to freeze before the end; got times 20, 30 of 20 steps"),
        ([1.0], InputError, "It never freezes anything"),
        ([1, 2, 3, 4], InputError, "something that learns to the end; got all 4 blocks frozen at step 4 of 20"),
        ([5, 4], InputError, "times in order from the input on; got 0 at 5, 4 at 4"),
        ([1, 2, 3, 4, 5], InputError, "at most 4 times, one a block; got 5"),
        ({"4": 3}, InputError, "blocks in order from the input, none left out; got '4' without '0'"),
        ({"conv": 3}, LayerError, "names of blocks; got 'conv'. There are: 0, 4, 9, 11"),
        ([1.5], InputError, r"a step \(int\) or a fraction of all steps \(float from 0 to 1\); got 1.5"),
        ([-1], InputError, "got -1"),
        ([True], InputError, "got True"),
        (["1"], InputError, "got '1'"),
        ("liner", InputError, "Did you mean 'linear'"),
        (3, InputError, "to be one of linear, a list or dict of times, AdaptiveFreezing; got 3"),
    ],
)
def test_schedules_that_cannot_be_are_refused(schedule, error, text):
    model = conv_net()
    with pytest.raises(error, match=text):
        FreezeTraining(model, torch.optim.SGD(model.parameters(), lr=0.1), schedule=schedule, total_steps=20)


def test_everything_in_blocks_may_freeze_where_something_else_learns():
    model = conv_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    freezer = FreezeTraining(model, optimizer, ["0", "4"], [1, 2], total_steps=20)
    freezer.step()
    freezer.step()
    assert freezer.frozen == ("0", "4")


def test_one_block_that_is_all_is_refused():
    model = nn.Sequential(nn.Linear(2, 2))
    for schedule in ("linear", AdaptiveFreezing(torch.randn(8, 2))):
        with pytest.raises(InputError, match="at least one block to freeze before the end"):
            FreezeTraining(model, torch.optim.SGD(model.parameters(), lr=0.1), schedule=schedule, total_steps=20)


@pytest.mark.parametrize("total", [0, -3, 2.5, True])
def test_the_number_of_steps_is_a_positive_integer(total):
    model = conv_net()
    with pytest.raises(InputError, match="FreezeTraining total_steps: expected a positive integer"):
        FreezeTraining(model, torch.optim.SGD(model.parameters(), lr=0.1), total_steps=total)


def test_optimisers_that_do_not_fit_are_refused():
    model = conv_net()
    for optimizer, text in (
        (
            torch.optim.SGD(conv_net().parameters(), lr=0.1),
            "groups that hold the blocks' parameters; got without 0.weight",
        ),
        (torch.optim.SGD(model[4:].parameters(), lr=0.1), "got without 0.weight, 0.bias, 1.weight, 1.bias"),
        (torch.optim.LBFGS(model.parameters()), "leaves alone what has no gradient; got LBFGS"),
        ([object()], "expected a torch.optim.Optimizer; got object"),
    ):
        with pytest.raises(InputError, match=text):
            FreezeTraining(model, optimizer, total_steps=20)


def test_what_its_owner_froze_needs_no_optimiser_and_stays_frozen():
    model = conv_net()
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    freezer = FreezeTraining(model, optimizer, schedule=[1], total_steps=3)
    freezer.step()
    freezer.unfreeze()
    assert not model[0].weight.requires_grad
    assert model[1].weight.requires_grad


def test_unfreeze_gives_the_network_back():
    model = conv_net()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    hooks = sum(len(m._forward_pre_hooks) + len(m._forward_hooks) for m in model.modules())
    freezer = FreezeTraining(model, optimizer, schedule=[1, 2], total_steps=6)
    train(model, optimizer, freezer, batches(4))
    freezer.unfreeze()
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(module.training for module in model.modules())
    assert sum(len(m._forward_pre_hooks) + len(m._forward_hooks) for m in model.modules()) == hooks
    before = state_of(model)
    train(model, optimizer, freezer, batches(2))
    assert differing(before, state_of(model)) == set(before)
    assert freezer.frozen == ("0", "4")  # what happened stays on record


def test_unfreeze_before_the_first_pass_leaves_no_hook():
    model = conv_net()
    freezer = FreezeTraining(model, torch.optim.SGD(model.parameters(), lr=0.1), total_steps=6)
    freezer.unfreeze()
    assert not any(len(m._forward_pre_hooks) + len(m._forward_hooks) for m in model.modules())


def test_a_copy_of_the_network_and_one_that_was_saved_keep_the_frozen_mode_and_no_ties():
    model = conv_net()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    freezer = FreezeTraining(model, optimizer, schedule=[1], total_steps=6)
    twins = [copy.deepcopy(model)]  # before the first forward pass, and after
    train(model, optimizer, freezer, batches(4))
    twins += [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    for twin in twins[1:]:
        twin.train()
        twin(data()[0])
        assert not twin[1].training
        assert torch.equal(twin[1].running_mean, model[1].running_mean)


def test_a_pass_of_a_copy_is_not_counted_as_one_of_the_network():
    model = conv_net()
    freezer = FreezeTraining(model, OPTIMIZERS["sgd"](model.parameters()), total_steps=6)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        (hook,) = twin._forward_pre_hooks.values()
        assert not any(value is not None for value in vars(hook).values())  # no tie to this training
        twin(data()[0])
    model.eval()(data()[0])
    assert math.isnan(freezer.summary().baseline_flops_per_step)
    model.train()(data()[0])
    assert freezer.summary().baseline_flops_per_step > 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_frozen_blocks_stay():
    model = conv_net().cuda()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    freezer = FreezeTraining(model, optimizer, schedule=[3], total_steps=24)
    train(model, optimizer, freezer, ((images.cuda(), labels.cuda()) for images, labels in batches(6)))
    before = state_of(model)
    train(model, optimizer, freezer, ((images.cuda(), labels.cuda()) for images, labels in batches(9)))
    assert not FIRST & differing(before, state_of(model))
    assert freezer.summary().share_of_flops_saved > 0


def resumed(schedule, optimizer_name, cut, total):
    """Train to `cut`, save everything, and go on in new objects."""
    model = conv_net()
    optimizer = OPTIMIZERS[optimizer_name](model.parameters())
    freezer = FreezeTraining(model, optimizer, schedule=schedule, total_steps=total)
    pairs = list(batches(total))
    train(model, optimizer, freezer, pairs[:cut], seed=5)
    file = io.BytesIO()
    torch.save([model.state_dict(), optimizer.state_dict(), freezer.state_dict()], file)
    file.seek(0)
    states = torch.load(file, weights_only=True)
    model = conv_net(seed=9)
    optimizer = OPTIMIZERS[optimizer_name](model.parameters())
    freezer = FreezeTraining(model, optimizer, schedule=schedule, total_steps=total)
    for thing, state in zip((model, optimizer, freezer), states, strict=True):
        thing.load_state_dict(state)
    train(model, optimizer, freezer, pairs[cut:], seed=6)
    return model, freezer


def uninterrupted(schedule, optimizer_name, cut, total):
    model = conv_net()
    optimizer = OPTIMIZERS[optimizer_name](model.parameters())
    freezer = FreezeTraining(model, optimizer, schedule=schedule, total_steps=total)
    pairs = list(batches(total))
    train(model, optimizer, freezer, pairs[:cut], seed=5)
    train(model, optimizer, freezer, pairs[cut:], seed=6)
    return model, freezer


@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
@pytest.mark.parametrize("schedule", ["linear", "adaptive"])
@pytest.mark.parametrize("cut", [3, 13, 19])
def test_a_resumed_run_equals_one_without_interruption(schedule, optimizer, cut):
    if schedule == "adaptive":
        schedule = AdaptiveFreezing(data(200, seed=7)[0], threshold=0.5, patience=2, every=2, start=2)
    whole, freezer = uninterrupted(schedule, optimizer, cut, 24)
    parts, freezer_of_parts = resumed(schedule, optimizer, cut, 24)
    assert not differing(state_of(whole), state_of(parts))
    assert freezer.events == freezer_of_parts.events
    assert len(freezer.events) >= 2
    assert freezer_of_parts.n_steps == 24


def test_a_resumed_run_counts_the_steps_of_both_parts():
    _, freezer = resumed("linear", "sgd", 13, 24)
    phases = freezer.summary().phases
    assert sum(phase.n_steps for phase in phases) == 24
    assert [phase.n_steps for phase in phases] == [6, 6, 6, 6]


def test_states_that_do_not_fit_are_refused():
    model = conv_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    freezer = FreezeTraining(model, optimizer, schedule=[1], total_steps=4)
    early = freezer.state_dict()
    other = FreezeTraining(model, optimizer, ["0", "4"], schedule=[1], total_steps=4).state_dict()
    for state, text in (
        ({"state": {}}, "a state of format svcca.freeze_training.2; got 'another state dict'"),
        (other, "the state of blocks 0, 4, 9, 11; got 0, 4, of a run with other blocks"),
    ):
        with pytest.raises(InputError, match=text):
            freezer.load_state_dict(state)
    freezer.step()
    with pytest.raises(InputError, match="a state as of now or later; got one that comes before block '0' froze"):
        freezer.load_state_dict(early)


def test_it_shows_its_blocks():
    model = conv_net()
    freezer = FreezeTraining(model, torch.optim.SGD(model.parameters(), lr=0.1), schedule=[1], total_steps=4)
    freezer.step()
    assert [block.name for block in freezer.blocks] == list(BLOCKS)
    assert "  0: 84 parameters, frozen after step 1\n  4: 234 parameters\n" in repr(freezer)


def test_shared_parameters_are_warned_of_where_blocks_are_found():
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3), nn.Linear(3, 1))
    model[2].weight = model[0].weight
    with pytest.warns(SvccaWarning, match="'2.weight' is shared with block '0'"):
        FreezeTraining(model, torch.optim.SGD(model.parameters(), lr=0.1), total_steps=4)
