import time

import pytest
import torch
from reproduce import training as training_module
from reproduce.cache import plain
from reproduce.data.images import digits
from reproduce.errors import ReproduceError
from reproduce.nets import Net, conv_net, residual_net
from reproduce.study import classification_loss
from reproduce.training import Training, fit, translated, translations
from torch import nn
from torch.nn.functional import cross_entropy


@pytest.fixture
def task():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(60, 5, generator=generator)
    y = (x @ torch.randn(5, 3, generator=generator)).argmax(1)
    return x, y


def net():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))


def trained(task, tmp_path, training=None, seed=0, track=lambda items, title: items, model=None, name="it.partial"):
    x, y = task

    def batches(generator):
        return [(x[part], y[part]) for part in torch.randperm(60, generator=generator).split(20)]

    training = training or Training(epochs=4, learning_rate=1e-2, snapshots=3)
    model = model or net()
    return fit(
        model,
        batches,
        lambda model, batch: cross_entropy(model(batch[0]), batch[1]),
        training,
        seed,
        partial=tmp_path / name,
        track=track,
        title="it",
    )


def same(a, b):
    return all(torch.equal(a.states[step][key], b.states[step][key]) for step in a.states for key in a.states[step])


def test_weights_are_kept_at_equal_distances_from_the_first_step_to_the_last(task, tmp_path):
    run = trained(task, tmp_path)
    assert sorted(run.states) == [0, 4, 8, 12]
    assert torch.equal(run.states[0]["0.weight"], net()[0].weight)
    assert run.losses[-1] < run.losses[0]
    assert len(run.losses) == 4


def test_without_snapshots_only_the_end_is_kept(task, tmp_path):
    assert sorted(trained(task, tmp_path, Training(epochs=2)).states) == [6]


def test_a_seed_decides_the_weights(task, tmp_path):
    assert same(trained(task, tmp_path), trained(task, tmp_path))
    assert not same(trained(task, tmp_path), trained(task, tmp_path, seed=1))


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("stop", [1, 3])
def test_a_run_that_was_killed_goes_on_to_the_same_weights(task, tmp_path, monkeypatch, optimizer, stop):
    monkeypatch.setattr(training_module, "SAVE_EVERY", 0.0)
    training = Training(epochs=5, optimizer=optimizer, learning_rate=1e-2, decay_at=(0.6,), snapshots=4)
    whole = trained(task, tmp_path, training, name="whole.partial")

    def killed(items, title):
        for epoch in items:
            if epoch == stop:
                raise KeyboardInterrupt
            yield epoch

    with pytest.raises(KeyboardInterrupt):
        trained(task, tmp_path, training, track=killed)
    assert (tmp_path / "it.partial").exists()
    epochs = []

    def counted(items, title):
        for epoch in items:
            epochs.append(epoch)
            yield epoch

    again = trained(task, tmp_path, training, track=counted)
    assert epochs == list(range(stop, 5))
    assert same(whole, again)
    assert whole.losses == again.losses
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["cut", "empty", "other seed", "other version"])
def test_what_an_interrupted_run_left_is_not_used_if_it_is_damaged_or_of_another_run(
    task, tmp_path, monkeypatch, damage
):
    monkeypatch.setattr(training_module, "SAVE_EVERY", 0.0)

    def killed(items, title):
        for epoch in items:
            if epoch == 2:
                raise KeyboardInterrupt
            yield epoch

    with pytest.raises(KeyboardInterrupt):
        trained(task, tmp_path, track=killed, seed=5 if damage == "other seed" else 0)
    path = tmp_path / "it.partial"
    content = path.read_bytes()
    if damage == "other version":
        monkeypatch.setattr(training_module, "VERSION", 99)
    elif damage != "other seed":
        path.write_bytes(content[: len(content) // 2 if damage == "cut" else 0])
    epochs = []

    def counted(items, title):
        for epoch in items:
            epochs.append(epoch)
            yield epoch

    assert same(trained(task, tmp_path, track=counted), trained(task, tmp_path, name="clean.partial"))
    assert epochs == [0, 1, 2, 3]


def test_a_run_in_bfloat16_that_was_killed_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(training_module, "SAVE_EVERY", 0.0)
    images = digits(128, 10)
    training = Training(epochs=3, precision="bfloat16", channels_last=True, translate=1, snapshots=2)

    def conv_trained(name, track=lambda items, title: items):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = Net(width=4).build(images.shape, 10)

        def batches(generator):
            order = torch.randperm(128, generator=generator)
            return [(part, translations(len(part), 1, generator)) for part in order.split(32)]

        def loss(model, batch):
            inputs = translated(images.train[batch[0]], batch[1], 1, training.layout)
            return classification_loss(model, (inputs, images.train_labels[batch[0]]))

        return model, fit(model, batches, loss, training, 0, partial=tmp_path / name, track=track, title="it")

    def killed(items, title):
        for epoch in items:
            if epoch == 2:
                raise KeyboardInterrupt
            yield epoch

    _, whole = conv_trained("whole.partial")
    with pytest.raises(KeyboardInterrupt):
        conv_trained("it.partial", killed)
    model, again = conv_trained("it.partial")
    assert same(whole, again)
    assert {value.dtype for value in again.states[12].values()} == {torch.float32, torch.int64}
    assert model.conv2.weight.is_contiguous(memory_format=torch.channels_last)


def test_in_bfloat16_the_net_computes_in_it_and_the_loss_in_float32(task, tmp_path):
    seen = []

    class Watched(nn.Sequential):
        def forward(self, x):
            y = super().forward(x)
            seen.append(y.dtype)
            return y

    training = Training(epochs=1, precision="bfloat16")
    run = trained(task, tmp_path, training, model=Watched(nn.Linear(5, 3)))
    assert set(seen) == {torch.bfloat16}
    assert all(value.dtype == torch.float32 for value in run.states[3].values())
    assert classification_loss(lambda x: x.bfloat16(), (torch.zeros(2, 3), torch.tensor([0, 1]))).dtype == torch.float32


def test_an_unknown_precision_lists_the_known_ones():
    with pytest.raises(ReproduceError, match="one of float32, bfloat16; got 'float16'"):
        Training(epochs=1, precision="float16")


def test_a_field_that_was_added_later_changes_no_key_where_it_has_its_default():
    old = {"epochs", "batch", "optimizer", "learning_rate", "decay_at", "translate", "snapshots", "clip"}
    assert set(plain(Training(epochs=1))) == old
    assert plain({"deep": (Training(epochs=1, channels_last=True),)})["deep"][0]["channels_last"] is True


def test_the_seconds_of_training_do_not_count_a_pause(task, tmp_path):
    x, y = task

    def loss(model, batch):
        time.sleep(0.2)
        return cross_entropy(model(x), y)

    run = fit(
        net(),
        lambda generator: [0],
        loss,
        Training(epochs=2),
        0,
        partial=tmp_path / "it.partial",
        track=lambda items, title: items,
        title="it",
    )
    assert run.seconds < 0.3


def test_the_callers_random_state_is_left_alone(task, tmp_path):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    trained(task, tmp_path)
    assert torch.equal(torch.rand(3), expected)


def test_clipping_bounds_the_step(task, tmp_path):
    training = Training(epochs=1, optimizer="sgd", learning_rate=1.0, decay_at=(), clip=1e-4)
    before = net()[0].weight.detach()
    after = trained(task, tmp_path, training).states[3]["0.weight"]
    assert 0 < float((after - before).norm()) < 1e-3


def test_a_translation_shifts_each_image_by_its_own_and_brings_in_zeros():
    images = torch.arange(1.0, 1 + 40 * 2 * 5 * 5).reshape(40, 2, 5, 5)
    drawn = translations(40, 2, torch.Generator().manual_seed(0))
    moved = translated(images, drawn, 2)
    shifts = set()
    for before, after, (down, right) in zip(images, moved, 2 - drawn.T, strict=True):
        found = [
            (down, right)
            for down in range(-2, 3)
            for right in range(-2, 3)
            if torch.equal(after, shifted(before, down, right))
        ]
        assert found == [(int(down), int(right))]
        shifts.add(found[0])
    assert len(shifts) > 15
    assert translated(images, drawn, 0) is images
    last = translated(images, drawn, 2, torch.channels_last)
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(last, moved)


def test_no_translation_draws_nothing():
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    assert not translations(5, 0, generator).any()
    assert torch.equal(generator.get_state(), before)


def shifted(image, down, right):
    out = torch.zeros_like(image)
    rows = [r for r in range(5) if 0 <= r - down < 5]
    columns = [c for c in range(5) if 0 <= c - right < 5]
    for r in rows:
        for c in columns:
            out[:, r, c] = image[:, r - down, c - right]
    return out


def test_the_papers_conv_net_has_its_sizes():
    model = conv_net(64)
    assert model.fc1.in_features == 4096
    assert (model.fc1.out_features, model.fc2.out_features) == (512, 256)
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_the_papers_residual_net_has_three_groups_of_ten_convolutions():
    model = residual_net(16)
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == 1 + 3 * 10
    assert [c.out_channels for c in convolutions[1:]] == [16] * 10 + [32] * 10 + [64] * 10
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_a_residual_block_adds_its_input():
    block = residual_net(4, (3, 16, 16), blocks=1).block2
    for module in block:
        if isinstance(module, nn.Conv2d):
            nn.init.zeros_(module.weight)
    x = torch.rand(2, 4, 16, 16)
    y = block.eval()(x)
    assert torch.equal(y[:, :4], x[:, :, ::2, ::2])
    assert torch.equal(y[:, 4:], torch.zeros(2, 4, 8, 8))


@pytest.mark.parametrize("kind", ["conv", "residual"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32)])
def test_a_net_is_built_for_images_of_a_shape(kind, shape):
    assert Net(kind=kind, width=4, blocks=1).build(shape, 7)(torch.zeros(2, *shape)).shape == (2, 7)
