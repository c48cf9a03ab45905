"""Learning dynamics from checkpoints and recorded while training: against `compare`, resumed, saved, drawn, refused."""

import copy
import json

import matplotlib
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import svcca
from svcca.capture.batches import SMALL_BATCH
from svcca.capture.checkpoints import find_checkpoints
from svcca.compare import dynamics as module
from svcca.compare.result import LayerSummary
from svcca.errors import FileError, InputError, LayerError, SampleError, SvccaWarning, UnknownOptionError

matplotlib.use("Agg")
X = torch.randn(400, 6, generator=torch.Generator().manual_seed(0))
Y = torch.randint(0, 3, (400,), generator=torch.Generator().manual_seed(1))
STEPS = [0, 5, 10, 40]


def net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 3))


def train(model, recorder=None, steps=41):
    """Some steps of SGD; gives the state dicts at STEPS."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    states = []
    for step in range(steps):
        if step in STEPS:
            states.append(copy.deepcopy(model.state_dict()))
        if recorder is not None:
            recorder.step(step)
        optimizer.zero_grad()
        batch = torch.randperm(400)[:64]
        nn.functional.cross_entropy(model(X[batch]), Y[batch]).backward()
        optimizer.step()
    return states


@pytest.fixture(scope="module")
def states():
    return train(net())


@pytest.fixture
def folder(states, tmp_path):
    for step, state in zip(STEPS, states, strict=True):
        torch.save(state, tmp_path / f"net_{step}.pt")
    return tmp_path


def loaded(state):
    model = net(9)
    model.load_state_dict(state)
    return model


def dynamics(checkpoints, **options):
    return svcca.learning_dynamics(net(9), checkpoints, X, progress=False, **options)


# -- what it computes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", ["svcca", "cca", "pwcca", "linear_cka", "linear_cka_debiased", "procrustes"])
@pytest.mark.parametrize("reference", ["last", "previous"])
def test_each_step_is_what_compare_gives(states, measure, reference):
    got = dynamics(states, steps=STEPS, measure=measure, reference=reference)
    references = [states[-1]] * 4 if reference == "last" else states[:-1]
    rows = states if reference == "last" else states[1:]
    assert got.steps.tolist() == (STEPS if reference == "last" else STEPS[1:])
    for index, (row, other) in enumerate(zip(rows, references, strict=True)):
        expected = svcca.compare(loaded(row), loaded(other), X, measure=measure, progress=False)
        np.testing.assert_allclose(got.values[index], expected.values, atol=1e-9)
        np.testing.assert_allclose(got.chance[index], expected.chance, atol=1e-12)
        assert got.ranks[index].tolist() == [layer.rank for layer in expected.rows]
    assert got.labels == ("0", "1", "2", "3", "4")
    assert got.n_samples == 400


def test_the_last_step_is_itself(states):
    got = dynamics(states, steps=STEPS)
    np.testing.assert_allclose(got.curves[-1], 1.0, atol=1e-9)
    assert got.curves[0].min() < 0.999
    assert got.to_frame().loc[40].round(6).tolist() == [1.0] * 5


def test_layers_rules_and_a_share_are_those_asked_for(states):
    got = dynamics(states, steps=STEPS, layers=["0", "4"], retained_variance=0.7)
    expected = svcca.compare(
        loaded(states[0]), loaded(states[-1]), X, layers=["0", "4"], retained_variance=0.7, progress=False
    )
    np.testing.assert_allclose(got.values[0], expected.values, atol=1e-9)
    assert got.retained_variance == 0.7


def test_a_loader_that_shuffles_shows_every_checkpoint_the_same_inputs(states):
    loader = DataLoader(TensorDataset(X, Y), batch_size=64, shuffle=True)
    got = svcca.learning_dynamics(net(), states, loader, steps=STEPS, progress=False)
    np.testing.assert_allclose(got.values, dynamics(states, steps=STEPS).values, atol=1e-6)
    once = svcca.learning_dynamics(net(), states, iter(loader), steps=STEPS, progress=False)
    assert once.n_samples == 400


def test_the_model_given_is_left_as_it_is(states):
    model = net(9).train()
    before = copy.deepcopy(model.state_dict())
    svcca.learning_dynamics(model, states, X, steps=STEPS, progress=False)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


# -- checkpoints ------------------------------------------------------------------------------------------------------


def test_a_folder_is_read_in_order_of_the_steps_in_its_names(folder, states):
    got = dynamics(folder)
    assert got.steps.tolist() == STEPS  # and not 0, 10, 40, 5
    np.testing.assert_array_equal(got.values, dynamics(states, steps=STEPS).values)


def test_every_kind_of_checkpoint_is_read(states, tmp_path):
    save_file(states[0], tmp_path / "step-0.safetensors")
    (tmp_path / "checkpoint-5").mkdir()
    save_file(states[1], tmp_path / "checkpoint-5" / "model.safetensors")
    lightning = {"state_dict": {f"net.{name}": value for name, value in states[2].items()}, "epoch": 3}
    torch.save(lightning, tmp_path / "epoch=3-step=10.ckpt")
    torch.save({f"module.{name}": value for name, value in states[3].items()}, tmp_path / "net40.pth")
    (tmp_path / "notes.txt").write_text("7")
    got = dynamics(tmp_path)
    assert got.steps.tolist() == STEPS
    np.testing.assert_array_equal(got.values, dynamics(states, steps=STEPS).values)


def test_what_is_no_list_of_checkpoints_says_what_is_wrong(states, folder, tmp_path_factory):
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(FileError, match=r"expected files of weights \(.pt, .*; got none there"):
        find_checkpoints(empty)
    with pytest.raises(FileError, match="a folder; got none there"):
        find_checkpoints(empty / "nowhere")
    torch.save(states[0], empty / "final.pt")
    with pytest.raises(InputError, match=r"a step in each name; got 'final.pt'.*steps="):
        find_checkpoints(empty)
    with pytest.raises(InputError, match=r"a step for each checkpoint.*Pass steps="):
        find_checkpoints(states)
    with pytest.raises(InputError, match="a step for each of 4 checkpoints; got 2"):
        find_checkpoints(states, [1, 2])
    with pytest.raises(InputError, match=r"steps in ascending order.*got 3, 2, 1, 0"):
        find_checkpoints(states, [3, 2, 1, 0])
    with pytest.raises(InputError, match="one checkpoint a step; got step 5 twice"):
        find_checkpoints(states, [0, 5, 5, 9])
    with pytest.raises(InputError, match="at least two checkpoints; got one"):
        dynamics([folder / "net_5.pt"])
    with pytest.raises(InputError, match="at least two checkpoints; got none"):
        dynamics([])


def test_weights_of_another_architecture_are_listed(states):
    other = {**states[1], "extra.weight": torch.zeros(2)}
    del other["4.bias"]
    with pytest.raises(FileError, match=r"at step 5: .*missing 4.bias; unexpected extra.weight"):
        dynamics([states[0], other, states[2]], steps=[0, 5, 10])


def test_a_half_written_checkpoint_is_named_and_skipped_only_on_request(folder):
    path = folder / "net_5.pt"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(FileError, match=r"net_5.pt: expected a readable checkpoint"):
        dynamics(folder)
    with pytest.warns(SvccaWarning, match=r"Left out: .*net_5.pt"):
        got = dynamics(folder, skip_unreadable=True)
    assert got.steps.tolist() == [0, 10, 40]


def test_what_cannot_be_compared_says_why(states):
    with pytest.raises(UnknownOptionError, match="last, previous"):
        dynamics(states, steps=STEPS, reference="first")
    with pytest.raises(UnknownOptionError, match="svcca"):
        dynamics(states, steps=STEPS, measure="svca")
    with pytest.raises(InputError, match=r"a layer of maps .*; got vectors only"):
        dynamics(states, steps=STEPS, observe="fourier")
    with pytest.raises(UnknownOptionError, match="observe='fourier'"):
        dynamics(states, steps=STEPS, observe="fourier", measure="cca_top")
    with pytest.raises(LayerError, match="at step 0"):
        dynamics(states, steps=STEPS, layers=["fc9"])
    with pytest.raises(SampleError, match="data for the probe set: expected at least 2 samples; got 0 samples"):
        svcca.learning_dynamics(net(), states, [], steps=STEPS, progress=False)
    dead = {**states[1], "0.weight": torch.zeros(12, 6)}
    with pytest.raises(InputError, match=r"Sequential at step 5 '0': .*a constant layer"):
        dynamics([states[0], dead, states[2]], steps=[0, 5, 10])


# -- resume -----------------------------------------------------------------------------------------------------------


def counted(monkeypatch, fail_at=None):
    taken, original = [], module.take_snapshot

    def take(model, probe, number, *rest):
        if number == fail_at:
            raise KeyboardInterrupt
        taken.append(number)
        return original(model, probe, number, *rest)

    monkeypatch.setattr(module, "take_snapshot", take)
    return taken


def test_an_interrupted_run_goes_on_where_it_stopped(states, tmp_path, monkeypatch):
    expected = dynamics(states, steps=STEPS)
    taken = counted(monkeypatch, fail_at=10)
    with pytest.raises(KeyboardInterrupt):
        dynamics(states, steps=STEPS, folder=tmp_path)
    assert taken == [0, 5]
    monkeypatch.undo()
    taken = counted(monkeypatch)
    got = dynamics(states, steps=STEPS, folder=tmp_path)
    assert taken == [10, 40]
    np.testing.assert_array_equal(got.values, expected.values)
    taken.clear()
    np.testing.assert_array_equal(dynamics(states, steps=STEPS, folder=tmp_path).values, expected.values)
    assert taken == []


def test_damaged_and_other_snapshots_are_taken_again(states, tmp_path, monkeypatch):
    dynamics(states, steps=STEPS, folder=tmp_path)
    files = sorted(tmp_path.glob("*.safetensors"))
    assert len(files) == 4
    files[1].write_bytes(files[1].read_bytes()[:300])
    taken = counted(monkeypatch)
    got = dynamics(states, steps=STEPS, folder=tmp_path)
    assert taken == [5]
    np.testing.assert_array_equal(got.values, dynamics(states, steps=STEPS).values)
    taken.clear()
    dynamics(states, steps=STEPS, folder=tmp_path, retained_variance=0.8)
    assert taken == STEPS
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


# -- recorded while training ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_recorder_gives_what_checkpoints_give(states, tmp_path, on_disk):
    model = net()
    recorder = svcca.DynamicsRecorder(model, X, steps=STEPS, folder=tmp_path if on_disk else None)
    recorded = train(model, recorder)
    assert all(torch.equal(a[name], b[name]) for a, b in zip(states, recorded, strict=True) for name in a)
    assert recorder.recorded == tuple(STEPS)
    np.testing.assert_array_equal(recorder.result().values, dynamics(states, steps=STEPS).values)
    before = recorder.result(reference="previous")
    np.testing.assert_array_equal(before.values, dynamics(states, steps=STEPS, reference="previous").values)


def test_a_recorder_touches_neither_model_nor_gradients_nor_random_state():
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 3)).train()
    model[3].eval()
    recorder = svcca.DynamicsRecorder(model, X)
    model(X).sum().backward()
    before, gradients = copy.deepcopy(model.state_dict()), [p.grad.clone() for p in model.parameters()]
    state = torch.get_rng_state()
    assert recorder.step(0)
    assert torch.equal(state, torch.get_rng_state())
    assert [module.training for module in model] == [True, True, True, False, True]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), gradients, strict=True))
    assert not any(module._forward_hooks for module in model.modules())


def test_a_probe_set_in_one_piece_runs_in_small_batches_and_gives_what_a_loader_gives():
    model, sizes = net(), []

    def forward(model, batch):
        sizes.append(len(batch))
        return model(batch)

    whole = svcca.DynamicsRecorder(model, X, forward=forward)
    loader = svcca.DynamicsRecorder(model, X.split(150))
    for step in (0, 1):
        whole.record(step)
        loader.record(step)
        with torch.no_grad():
            model[2].weight.mul_(-0.5).add_(0.1)
    assert sizes == 2 * [*[SMALL_BATCH] * 6, 400 - 6 * SMALL_BATCH]
    np.testing.assert_allclose(whole.result().values, loader.result().values, atol=1e-6)  # float32 forward passes


def test_a_recorder_records_when_it_is_told():
    model = net()
    every = svcca.DynamicsRecorder(model, X, every=4)
    assert [step for step in range(10) if every.step(step)] == [0, 4, 8]
    always = svcca.DynamicsRecorder(model, X)
    assert [step for step in range(3) if always.step(step)] == [0, 1, 2]
    for options in ({"every": 0}, {"every": 2, "steps": [1]}):
        with pytest.raises(InputError, match="every as a positive integer, or steps, not both"):
            svcca.DynamicsRecorder(model, X, **options)
    once = svcca.DynamicsRecorder(model, X)
    once.record(7)
    with pytest.raises(InputError, match=r"at least two recorded steps; got 1 \(7\)"):
        once.result()


def test_a_recorder_that_is_resumed_equals_one_that_was_not(tmp_path):
    whole = net()
    recorder = svcca.DynamicsRecorder(whole, X, steps=STEPS)
    train(whole, recorder)
    model = net()
    train(model, svcca.DynamicsRecorder(model, X, steps=STEPS[:2], folder=tmp_path), steps=6)
    again = net()
    resumed = svcca.DynamicsRecorder(again, X, steps=STEPS[2:], folder=tmp_path)
    assert resumed.recorded == (0, 5)
    train(again, resumed)
    np.testing.assert_array_equal(resumed.result().values, recorder.result().values)


# -- the result -------------------------------------------------------------------------------------------------------


def planted(curves, steps, **options):
    curves = np.asarray(curves, dtype=float)
    n_steps, n_layers = curves.shape
    values = np.full((n_steps, n_layers, n_layers), 0.3)
    values[:, np.arange(n_layers), np.arange(n_layers)] = curves
    layers = tuple(LayerSummary(f"l{i}", 8, 4, "flatten") for i in range(n_layers))
    ranks = np.full((n_steps, n_layers), 4)
    return svcca.LearningDynamics(
        values, np.full_like(values, 0.1), ranks, steps, layers, "svcca", 0.99, 500, **options
    )


def test_convergence_is_from_where_a_layer_stays():
    got = planted([[0.95, 0.2, 0.1], [0.5, 0.92, 0.2], [0.93, 0.91, 0.89], [1, 1, 1]], [0, 10, 20, 30])
    assert got.convergence_steps() == {"l0": 20, "l1": 10, "l2": 30}
    assert got.convergence_steps(0.5) == {"l0": 0, "l1": 10, "l2": 20}
    assert got.depth_correlation() == pytest.approx(0.5)
    assert got.depth_correlation(0.5) == pytest.approx(1.0)
    table = got.summary(0.5)
    assert table["converged at"].tolist() == [0, 10, 20]
    assert table["chance"].tolist() == [0.1] * 3


def test_layers_that_converge_together_have_no_order():
    assert planted([[0.1, 0.1], [1, 1]], [0, 1]).depth_correlation() is None


def test_convergence_needs_the_end_and_a_threshold():
    with pytest.raises(InputError, match="curves against the last step; got 'previous'"):
        planted([[1.0]], [1], reference="previous").convergence_steps()
    with pytest.raises(InputError, match=r"a threshold in \(0, 1\]"):
        planted([[1.0]], [1]).convergence_steps(1.5)


def test_a_result_is_saved_and_loaded(states, tmp_path):
    got = dynamics(states, steps=STEPS)
    again = svcca.LearningDynamics.load(got.save(tmp_path / "d.json"))
    for name in ("values", "chance", "ranks", "steps"):
        np.testing.assert_array_equal(getattr(again, name), getattr(got, name))
    assert (again.layers, again.measure, again.title) == (got.layers, got.measure, got.title)
    plain = json.loads((tmp_path / "d.json").read_text())
    for wrong, error in (
        ({**plain, "version": 9}, "version 3; got 9"),
        ({**plain, "format": "x"}, "another kind of file"),
    ):
        (tmp_path / "w.json").write_text(json.dumps(wrong))
        with pytest.raises(FileError, match=error):
            svcca.LearningDynamics.load(tmp_path / "w.json")
    (tmp_path / "w.json").write_text("{")
    with pytest.raises(FileError, match=r"JSON that LearningDynamics\.save wrote"):
        svcca.LearningDynamics.load(tmp_path / "w.json")
    del plain["values"]
    (tmp_path / "w.json").write_text(json.dumps(plain))
    with pytest.raises(FileError, match="every field"):
        svcca.LearningDynamics.load(tmp_path / "w.json")
    with pytest.raises(FileError, match="a readable file"):
        svcca.LearningDynamics.load(tmp_path / "none.json")


def test_one_step_is_a_similarity_matrix(states):
    got = dynamics(states, steps=STEPS)
    matrix = got.at(5)
    np.testing.assert_array_equal(matrix.values, got.values[1])
    assert (matrix.row_title, matrix.column_title) == ("Sequential at step 5", "step 40")
    assert [layer.rank for layer in matrix.rows] == got.ranks[1].tolist()
    with pytest.raises(InputError, match="one of the steps 0, 5, 10, 40; got 7"):
        got.at(7)


def test_lines_and_panes_show_what_was_found(states):
    got = dynamics(states, steps=STEPS)
    figure, ax = got.plot()
    assert len(ax.lines) == 5
    np.testing.assert_array_equal(ax.lines[2].get_ydata(), got.curves[:, 2])
    assert ax.get_legend().get_texts()[-1].get_text() == "chance"
    figure.canvas.draw()
    figure, axes = got.plot_panes(3)
    assert [ax.get_title(loc="left") for ax in axes] == ["step 0", "step 10", "step 40"]
    np.testing.assert_array_equal(axes[1].images[0].get_array(), got.values[2])
    figure.canvas.draw()
    assert len(got.plot_panes(9)[1]) == 4
    own, given = matplotlib.figure.Figure(), matplotlib.figure.Figure().subplots()
    assert got.plot(given)[1] is given
    assert not own.axes
