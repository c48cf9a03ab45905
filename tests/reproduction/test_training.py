import pytest
import torch
from reproduce import training as training_module
from reproduce.nets import Net, conv_net, residual_net
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
