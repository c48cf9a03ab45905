import copy
import pickle
import warnings

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from freeze.training import OPTIMIZERS, batches, conv_net, data, differing, state_of, train
from svcca import FreezeTraining
from svcca.errors import InputError, SvccaWarning
from svcca.freeze import prefix_cache
from svcca.freeze.prefix_cache import CachedPrefix, sample_keys

SCHEDULE = [3, 12]


def run(cache_gib, n_steps=24, model=None, schedule=SCHEDULE, pairs=None):
    model = model or conv_net()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    freezer = FreezeTraining(model, optimizer, schedule=schedule, total_steps=n_steps, cache_gib=cache_gib)
    train(model, optimizer, freezer, pairs or batches(n_steps))
    return model, freezer


def served(freezer):
    """Steps by the numbers of frozen blocks and of those that were skipped."""
    return {(p.n_frozen, p.n_skipped): p.n_steps for p in freezer.summary().phases if p.n_skipped}


@pytest.fixture(autouse=True)
def _pays(monkeypatch):
    """Small nets are computed faster than read; one test below looks at that."""
    monkeypatch.setattr(prefix_cache, "pays", lambda *_: True)


def test_training_with_a_cache_equals_training_without_to_the_last_bit():
    without, _ = run(0)
    model, freezer = run(1)
    assert not differing(state_of(without), state_of(model))
    # 3 batches an epoch. All samples are known after one epoch with a block frozen; when a second one freezes, they
    # start from the first until they are known there.
    assert served(freezer) == {(1, 1): 6, (2, 1): 3, (2, 2): 9}


def test_the_prefix_before_is_dropped_once_every_sample_is_known_at_the_new_one():
    _, freezer = run(1)
    assert [known.n_blocks for known in freezer._cache._prefixes] == [2]


def test_a_prefix_that_cannot_be_cached_leaves_the_one_before_in_use():
    class Wide(nn.Sequential):
        """Its second block puts out more than the cache may hold."""

    def model():
        torch.manual_seed(0)
        return Wide(nn.Flatten(), nn.Linear(128, 4), nn.Linear(4, 500), nn.Linear(500, 3))

    without, _ = run(0, model=model())
    with pytest.warns(SvccaWarning, match=r"2 frozen block\(s\) is not cached: 32 samples take more than"):
        net, freezer = run(40_000 / 2**30, model=model())
    assert served(freezer) == {(1, 1): 6, (2, 1): 12}
    assert not differing(state_of(without), state_of(net))
    assert len(freezer.summary().notes) == 1
    assert str(freezer.summary()).endswith(freezer.summary().notes[0])


def test_a_prefix_is_skipped_only_where_reading_takes_less_than_computing(monkeypatch):
    monkeypatch.undo()
    times = {"whole": 1.0, "without": 2.0}
    monkeypatch.setattr(prefix_cache, "_seconds", lambda run, _: (run(), times[run.__name__])[1])
    model, freezer = run(1, schedule=[3])
    assert served(freezer) == {}
    assert "to read it back takes longer than to compute it anew" in freezer.summary().notes[0]
    times["without"] = 0.5
    again, freezer = run(1, schedule=[3])
    assert served(freezer) == {(1, 1): 18}
    assert freezer.summary().notes == ()
    assert not differing(state_of(model), state_of(again))


def test_time_is_the_shortest_of_three_runs(monkeypatch):
    clock = iter([0.0, 5.0, 10.0, 12.0, 20.0, 23.0])
    monkeypatch.setattr(prefix_cache, "perf_counter", lambda: next(clock))
    runs = []
    assert prefix_cache._seconds(lambda: runs.append(1), torch.device("cpu")) == 2.0
    assert len(runs) == 3


def test_frozen_layers_do_not_run_while_the_cache_serves():
    model = conv_net()
    calls = []
    model[0].register_forward_hook(lambda *_: calls.append(1))
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    freezer = FreezeTraining(model, optimizer, schedule=[3], total_steps=24, cache_gib=1)
    convolutions = []
    own = model[0]._conv_forward
    model[0]._conv_forward = lambda *args: (convolutions.append(1), own(*args))[1]
    train(model, optimizer, freezer, batches(24))
    # 3 steps before, 3 to fill the cache, two passes to find the prefix; the one that tries it out is without.
    assert len(convolutions) == 3 + 3 + 2


def test_evaluation_in_between_is_neither_served_nor_kept():
    model = conv_net()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    freezer = FreezeTraining(model, optimizer, schedule=[3], total_steps=24, cache_gib=1)
    train(model, optimizer, freezer, batches(9))
    model.eval()
    x = data()[0]
    expected = copy.deepcopy(model)(x)
    assert torch.equal(model(x), expected)
    strange = data(10, seed=77)[0]
    model(strange)
    model.train()
    with torch.no_grad():
        model(strange)
    assert all(known.take(sample_keys(((strange,), {}))[:1]) is None for known in freezer._cache._prefixes)


def test_inputs_that_are_augmented_are_never_served_and_learned_from_as_they_are():
    def augmented():
        for number, (images, labels) in enumerate(batches(24)):
            yield images + 0.01 * number, labels

    without, _ = run(0, pairs=augmented())
    model, freezer = run(1, pairs=augmented())
    assert served(freezer) == {}
    assert not differing(state_of(without), state_of(model))


def test_a_cache_that_would_outgrow_its_limit_is_given_up_with_a_warning():
    without, _ = run(0, schedule=[3])
    refused = r"The output of 1 frozen block\(s\) is not cached: 64 samples take more than 4.66e-05 GiB"
    with pytest.warns(SvccaWarning, match=refused):
        model, freezer = run(50_000 / 2**30, schedule=[3])  # a map has 4 x 8 x 8 numbers
    assert served(freezer) == {}
    assert not differing(state_of(without), state_of(model))


def test_a_network_that_cannot_do_without_its_prefix_learns_on_without_a_cache():
    class Dense(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.flat, self.a, self.b, self.c = nn.Flatten(), nn.Linear(128, 8), nn.Linear(8, 8), nn.Linear(16, 3)

        def forward(self, x):
            first = self.a(self.flat(x))
            return self.c(torch.cat([first, self.b(first)], 1))

    with pytest.warns(SvccaWarning, match=r"2 frozen block\(s\) .* uses more of them than one tensor"):
        model, freezer = run(1, model=Dense(), schedule=[3, 3])
    without, _ = run(0, model=Dense(), schedule=[3, 3])
    assert served(freezer) == {}
    assert not differing(state_of(without), state_of(model))


def test_a_parameter_outside_of_modules_that_learns_below_is_found_out():
    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.shift = nn.Parameter(torch.zeros(128))
            self.a, self.b = nn.Linear(128, 8), nn.Linear(8, 3)

        def forward(self, x):
            return self.b(self.a(x.flatten(1) + self.shift))

    model = Shifted()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    freezer = FreezeTraining(model, optimizer, ["a", "b"], [2], total_steps=9, cache_gib=1)
    with pytest.warns(SvccaWarning, match="something that learns runs before them"):
        train(model, optimizer, freezer, batches(9))
    assert served(freezer) == {}
    assert model.shift.abs().sum() > 0


def test_a_network_that_does_not_run_in_evaluation_mode_learns_on_without_a_cache():
    class Stubborn(nn.Sequential):
        def forward(self, x):
            if not self.training:
                raise RuntimeError("only in training")
            return super().forward(x)

    torch.manual_seed(0)
    model = Stubborn(nn.Flatten(), nn.Linear(128, 8), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    freezer = FreezeTraining(model, optimizer, ["1", "2"], schedule=[2], total_steps=9, cache_gib=1)
    refused = r"does not run in evaluation mode \(RuntimeError: only in training\)"
    with pytest.warns(SvccaWarning, match=refused):
        train(model, optimizer, freezer, batches(9))
    assert freezer.frozen == ("1",)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_the_cache_serves_and_frozen_blocks_stay():
    model = conv_net().cuda()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    freezer = FreezeTraining(model, optimizer, schedule=[3], total_steps=24, cache_gib=1)
    train(model, optimizer, freezer, ((images.cuda(), labels.cuda()) for images, labels in batches(6)))
    before = state_of(model)
    train(model, optimizer, freezer, ((images.cuda(), labels.cuda()) for images, labels in batches(9)))
    assert served(freezer)[1, 1] > 0
    assert not {"0.weight", "1.weight", "1.running_mean"} & differing(before, state_of(model))


def test_a_compiled_model_is_refused():
    model = torch.compile(conv_net(), backend="eager")
    with pytest.raises(InputError, match="a model that runs as Python; got a compiled one"):
        FreezeTraining(model, torch.optim.SGD(model.parameters(), lr=0.1), total_steps=9, cache_gib=1)


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
@pytest.mark.parametrize("place", [0, 9])  # within the prefix, and above it
def test_an_exception_in_the_middle_of_a_served_pass_leaves_the_network_whole(place, error):
    def fail(*_):
        raise error

    model = conv_net()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    freezer = FreezeTraining(model, optimizer, schedule=[3], total_steps=24, cache_gib=1)
    train(model, optimizer, freezer, batches(9))
    handle = model[place].register_forward_pre_hook(fail)
    with pytest.raises(error):
        train(model, optimizer, freezer, batches(1))
    handle.remove()
    if error is ZeroDivisionError:  # torch tells no hook of an interrupt; the next pass in training clears up
        assert not any("forward" in vars(module) for module in model.modules())
    train(model, optimizer, freezer, batches(3))
    assert served(freezer)[1, 1] == 6
    assert not any("forward" in vars(module) for module in model.modules())


def test_a_copy_and_a_saved_network_have_no_cache():
    model, _ = run(1)
    images, labels = data()
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        calls = []
        own = twin[0]._conv_forward
        twin[0]._conv_forward = lambda *args, own=own, calls=calls: (calls.append(1), own(*args))[1]
        cross_entropy(twin.train()(images), labels).backward()
        assert calls == [1]


def test_batches_of_several_shapes_are_served_where_they_come_again():
    def padded():
        for number, (images, labels) in enumerate(batches(24)):
            wide = number % 2
            yield nn.functional.pad(images, (0, 8 * wide)), labels

    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b, self.c = nn.Conv2d(2, 3, 3), nn.Conv2d(3, 3, 3), nn.Linear(3, 3)

        def forward(self, x):
            return self.c(self.b(self.a(x).relu()).mean((2, 3)))

    without, _ = run(0, model=Pooled(), schedule=[3], pairs=padded())
    model, _ = run(1, model=Pooled(), schedule=[3], pairs=padded())
    assert not differing(state_of(without), state_of(model))


def test_keys_tell_samples_apart_by_every_tensor_and_know_them_again():
    x, mask = torch.randn(4, 3), torch.ones(4, 2, dtype=torch.bool)
    keys = sample_keys(((x,), {"mask": mask}))
    assert len(set(keys)) == 4
    order = torch.tensor([2, 0, 3, 1])
    assert sample_keys(((x[order],), {"mask": mask[order]})) == [keys[i] for i in order]
    assert sample_keys(((x.clone().T.contiguous().T,), {"mask": mask})) == keys  # the same numbers, other strides
    other = mask.clone()
    other[1, 0] = False
    assert [a == b for a, b in zip(keys, sample_keys(((x,), {"mask": other})), strict=True)] == [
        True,
        False,
        True,
        True,
    ]
    assert set(keys).isdisjoint(sample_keys(((x.double(),), {"mask": mask})))
    assert set(keys).isdisjoint(sample_keys(((x.reshape(4, 3, 1),), {"mask": mask})))
    assert set(keys).isdisjoint(sample_keys(((x,), {"mask": mask, "scale": torch.tensor(2.0)})))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_rows_are_kept_by_sample_and_come_back_as_they_were(dtype):
    cached = CachedPrefix(1, None)
    rows = torch.randn(8, 2, 5).to(dtype)
    keys = [str(number).encode() for number in range(8)]
    cached.add(keys[:5], rows[:5])
    cached.add(keys[4:], rows[4:])
    assert len(cached) == 8
    assert cached.n_bytes == 8 * 10 * dtype.itemsize
    before = rows.clone()
    rows.zero_()  # an in-place operation after the block
    assert torch.equal(cached.take([keys[i] for i in (7, 0, 3, 3)]), before[[7, 0, 3, 3]])
    assert cached.take([keys[0], b"other"]) is None
    cached.add([b"other"], torch.randn(1, 3).to(dtype))
    assert cached.take([keys[0], b"other"]) is None


def test_mixed_precision_goes_on_and_everything_learns_at_each_step():
    states = []
    for cache_gib in (0, 1):
        model = conv_net()
        optimizer = OPTIMIZERS["sgd"](model.parameters())
        freezer = FreezeTraining(model, optimizer, schedule=[3], total_steps=24, cache_gib=cache_gib)
        for number, (images, labels) in enumerate(batches(9)):
            torch.manual_seed(number)
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = cross_entropy(model(images), labels)
            loss.backward()
            assert model[11].weight.grad is not None
            optimizer.step()
            freezer.step()
        states.append(state_of(model))
    assert served(freezer)
    assert not differing(*states)


def test_no_warning_where_all_is_well():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(1)
