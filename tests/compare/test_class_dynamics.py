"""Class sensitivity at every checkpoint: against `class_sensitivity`, in order, saved, drawn, refused."""

import copy
import importlib
import json
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import svcca
from svcca.compare import ClassDynamics
from svcca.errors import FileError, InputError, LayerError, RankError, SampleError, SvccaWarning, UnknownOptionError

matplotlib.use("Agg")
module = importlib.import_module("svcca.compare.class_dynamics")  # the room's attribute of this name is the function
X = torch.randn(400, 6, generator=torch.Generator().manual_seed(0))
LABELS = torch.nn.functional.one_hot(torch.randint(0, 3, (400,), generator=torch.Generator().manual_seed(1))).float()
STEPS = [0, 5, 10, 40]


def net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 12), nn.Dropout(0.5), nn.Tanh(), nn.Linear(12, 3))


@pytest.fixture(scope="module")
def states():
    """Unlike each other at every step, so that no step passes for another."""
    return [net(seed).state_dict() for seed in range(len(STEPS))]


@pytest.fixture
def folder(states, tmp_path):
    for step, state in zip(STEPS, states, strict=True):
        torch.save(state, tmp_path / f"net_{step}.pt")
    return tmp_path


@pytest.fixture(scope="module")
def found(states):
    return dynamics(states, classes=["cat", "dog", "bird"])


def loaded(state):
    model = net(9)
    model.load_state_dict(state)
    return model


def dynamics(checkpoints, model=None, steps=STEPS, **options):
    return svcca.class_dynamics(model or net(9), checkpoints, X, steps=steps, progress=False, **options)


# -- what it computes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"classes": ["cat", "dog", "bird"]},
        {"targets": LABELS},
        {"targets": {"one": X[:, 0], "two": X[:, 1]}},
        {"layers": ["0", "3"], "retained_variance": 0.6},
        {"layers": "!1", "observe": "flatten"},
        {"forward": lambda model, batch: model(2 * batch)},
    ],
    ids=["logits", "classes", "targets", "mapping", "layers", "observe", "forward"],
)
def test_each_step_is_what_class_sensitivity_gives(states, options):
    got = dynamics(states, **options)
    assert got.steps.tolist() == STEPS
    for index, (step, state) in enumerate(zip(STEPS, states, strict=True)):
        expected = svcca.class_sensitivity(loaded(state), X, progress=False, **options)
        assert (got.layers, got.classes, got.n_samples) == (expected.layers, expected.classes, 400)
        for name in ("values", "chance", "corrected"):
            np.testing.assert_array_equal(getattr(got, name)[index], getattr(expected, name))
            np.testing.assert_array_equal(getattr(got.at(step), name), getattr(expected, name))
        assert got.at(step).matrix.rows == expected.matrix.rows
        assert got.at(step).matrix.row_title == f"Sequential at step {step}"
        np.testing.assert_allclose(got.curves[index], expected.corrected.mean(axis=1), rtol=1e-12)


def test_the_logits_are_those_of_each_checkpoint(states):
    own = dynamics(states, retained_variance=1.0)
    np.testing.assert_allclose(own.values[:, -1], 1.0, atol=1e-6)  # float32; the last layer is the logits
    with torch.no_grad():
        last = loaded(states[-1]).eval()(X)
    fixed = dynamics(states, targets=last, retained_variance=1.0)
    np.testing.assert_allclose(fixed.values[-1], own.values[-1], atol=1e-6)
    assert fixed.values[0, -1].min() < 0.9


def test_a_loader_that_shuffles_shows_every_checkpoint_the_same_inputs(states, monkeypatch):
    probes = []
    original = module.sensitivities_of

    def watch(source, named, probe, *rest, **options):
        probes.append(torch.cat([batch[0] for batch in probe]))
        return original(source, named, probe, *rest, **options)

    monkeypatch.setattr(module, "sensitivities_of", watch)
    loader = DataLoader(TensorDataset(X), batch_size=64, shuffle=True)
    got = svcca.class_dynamics(net(), states, iter(loader), steps=STEPS, progress=False)
    assert all(torch.equal(probe, probes[0]) for probe in probes)
    np.testing.assert_allclose(got.values, dynamics(states).values, atol=1e-6)


def test_the_model_given_is_left_as_it_is(states):
    model = net(9).train()
    model[2].eval()
    before, random_state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    dynamics(states, model)
    assert [part.training for part in model] == [True, True, False, True]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(part._forward_hooks for part in model.modules())
    assert torch.equal(torch.get_rng_state(), random_state)


# -- checkpoints ------------------------------------------------------------------------------------------------------


def test_a_folder_is_read_in_order_of_the_steps_in_its_names(folder, states):
    got = dynamics(folder, steps=None)
    assert got.steps.tolist() == STEPS  # and not 0, 10, 40, 5
    np.testing.assert_array_equal(got.values, dynamics(states).values)


def test_a_half_written_checkpoint_is_named_and_skipped_only_on_request(folder, states):
    path = folder / "net_5.pt"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(FileError, match=r"net_5.pt: expected a readable checkpoint"):
        dynamics(folder, steps=None)
    with pytest.warns(SvccaWarning, match=r"Left out: .*net_5.pt") as caught:
        got = dynamics(folder, steps=None, skip_unreadable=True)
    assert [warning.filename for warning in caught] == [__file__]
    assert got.steps.tolist() == [0, 10, 40]
    np.testing.assert_array_equal(got.values, dynamics(states).values[[0, 2, 3]])


def test_fewer_than_two_checkpoints_have_no_dynamics(folder):
    with pytest.raises(InputError, match=r"class_dynamics: expected at least two checkpoints; got one, .*net_5.pt"):
        dynamics([folder / "net_5.pt"], steps=None)
    for step in STEPS[1:]:
        (folder / f"net_{step}.pt").write_bytes(b"")
    with (
        pytest.warns(SvccaWarning, match="Left out"),
        pytest.raises(InputError, match="class_dynamics: expected at least two readable checkpoints; got 1"),
    ):
        dynamics(folder, steps=None, skip_unreadable=True)


def test_targets_are_looked_at_before_any_checkpoint(states):
    with pytest.raises(InputError, match=r"^target 'b': expected a value that varies between samples"):
        dynamics([{}, {}], steps=[0, 1], targets={"a": X[:, 0], "b": torch.ones(400)})
    with pytest.raises(SampleError, match="as many samples"):
        dynamics(states, targets=LABELS[:300])


def test_what_cannot_be_correlated_names_its_step(states):
    silent = {**states[1], "3.weight": torch.zeros(3, 12)}
    expected = r"Sequential at step 5, target '0': expected a value that varies.*got a constant.*pass targets="
    with pytest.raises(InputError, match=expected):
        dynamics([states[0], silent], steps=[0, 5])
    dead = {**states[1], "0.weight": torch.zeros(12, 6)}
    with pytest.raises(RankError, match=r"Sequential at step 5 '0': .*a constant layer"):
        dynamics([states[0], dead], steps=[0, 5], layers=["0", "3"], targets=X[:, :2])
    with pytest.raises(LayerError, match=r"layers of Sequential at step 0: .*got 'fc9'\. There are: 0, 1, 2, 3"):
        dynamics(states, layers="fc9")
    with pytest.raises(InputError, match=r"a layer of maps .*; got vectors only\. Use observe='flatten'"):
        dynamics(states, observe="fourier")
    with pytest.raises(SampleError, match="data for the probe set: expected at least 2 samples; got 0 samples"):
        svcca.class_dynamics(net(), states, [], steps=STEPS, progress=False)


@pytest.mark.parametrize("first", [True, False])
def test_a_layer_that_is_dead_at_one_step_is_named_and_can_be_left_out(states, first, monkeypatch):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.side, self.main = nn.Linear(6, 2), nn.Linear(6, 3)

        def forward(self, x):
            return self.main(x) + self.side(x).sum(dim=1, keepdim=True)

    torch.manual_seed(0)
    alive = Net().state_dict()
    dead = {**alive, "side.weight": torch.zeros(2, 6)}
    pair = [dead, alive] if first else [alive, dead]
    taken = []
    monkeypatch.setattr(module, "sensitivities_of", counting(module.sensitivities_of, taken))
    present, absent = (5, 0) if first else (0, 5)
    expected = f"'side' at step {present} and not at step {absent}.*constant.*Leave it out of all, as layers=\"!side\""
    with pytest.raises(InputError, match=f"the same layers at every step; got {expected}"):
        dynamics([*pair, alive], Net(), steps=[0, 5, 10])
    assert len(taken) == 2  # the third need not be run to know
    assert dynamics([*pair, alive], Net(), steps=[0, 5, 10], layers="!side").layers == ("main",)
    both = dynamics([dead, dead], Net(), steps=[0, 5])
    assert both.layers == ("main",)
    assert "left out, since they are constant over all samples: side" in both.at(5).matrix.warnings[0].text


def counting(function, taken):
    def count(*arguments, **options):
        taken.append(arguments)
        return function(*arguments, **options)

    return count


# -- the result -------------------------------------------------------------------------------------------------------


def test_a_table_has_a_row_a_step_layer_and_class(found):
    frame = found.to_frame()
    assert frame.index.names == ["step", "layer", "class"]
    assert list(frame.columns) == ["correlation", "chance", "beyond chance", "rank"]
    assert len(frame) == 4 * 4 * 3
    assert frame.loc[(10, "3", "dog"), "beyond chance"] == found.corrected[2, 3, 1]
    assert frame.loc[(40, "0", "bird"), "chance"] == found.chance[3, 0, 2]


def test_a_step_that_is_not_there_is_refused(found):
    with pytest.raises(InputError, match=r"ClassDynamics\.at: expected one of the steps 0, 5, 10, 40; got 7"):
        found.at(7)


def test_a_result_holds_steps_of_one_kind_in_order(found, states):
    first, second = found.sensitivities[:2]
    with pytest.raises(InputError, match=r"a step for each .*got steps of shape \(1,\) for 2"):
        ClassDynamics([0], (first, second))
    with pytest.raises(InputError, match=r"one or more sensitivities; got steps of shape \(0,\) for 0"):
        ClassDynamics([], ())
    for steps in ([5, 0], [5, 5]):
        with pytest.raises(InputError, match=f"ascending steps; got {steps[0]}, {steps[1]}"):
            ClassDynamics(steps, (first, second))
    swapped = svcca.ClassSensitivity(replace(second.matrix, rows=second.matrix.rows[::-1]))
    with pytest.raises(InputError, match=r"the same layers at every step; got \('0', '1', '2', '3'\) at step 0"):
        ClassDynamics([0, 5], (first, swapped))
    other = svcca.class_sensitivity(loaded(states[1]), X, progress=False)
    with pytest.raises(InputError, match=r"the same classes at every step; got \('cat', 'dog', 'bird'\) at step 0"):
        ClassDynamics([0, 5], (first, other))
    others = svcca.ClassSensitivity(replace(second.matrix, measure="cca"))
    with pytest.raises(InputError, match="the same measure at every step; got svcca at step 0 and cca at step 5"):
        ClassDynamics([0, 5], (first, others))
    fewer = svcca.ClassSensitivity(replace(second.matrix, n_samples=300))
    with pytest.raises(InputError, match="the same number of samples at every step; got 400 at step 0 and 300"):
        ClassDynamics([0, 5], (first, fewer))
    with pytest.raises(ValueError, match="read-only"):
        found.steps[0] = 3


def test_a_result_is_saved_and_loaded(found, tmp_path):
    again = ClassDynamics.load(found.save(tmp_path / "d.json"))
    for name in ("values", "chance", "corrected", "curves", "steps"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
    assert (again.layers, again.classes, again.title) == (found.layers, found.classes, "Sequential")
    assert again.at(5).matrix.rows == found.at(5).matrix.rows
    plain = json.loads((tmp_path / "d.json").read_text())
    for wrong, error in (
        ({**plain, "version": 9}, "version 2; got 9"),
        ({**plain, "format": "x"}, '"format": "svcca.class_dynamics"; got another kind of file'),
        ({**plain, "steps": [0]}, "every field of a ClassDynamics; got ClassDynamics: expected a step for each"),
        ({**plain, "matrices": plain["matrices"][:3]}, "every field of a ClassDynamics"),
        ({**plain, "matrices": [{}] * 4}, '"format": "svcca.similarity_matrix"'),
        ({name: value for name, value in plain.items() if name != "matrices"}, "every field of a ClassDynamics"),
    ):
        (tmp_path / "w.json").write_text(json.dumps(wrong))
        with pytest.raises(FileError, match=error):
            ClassDynamics.load(tmp_path / "w.json")
    (tmp_path / "w.json").write_text("{")
    with pytest.raises(FileError, match=r"JSON that ClassDynamics\.save wrote"):
        ClassDynamics.load(tmp_path / "w.json")


def test_a_line_a_layer_over_the_steps_and_chance_at_zero(found):
    figure, ax = found.plot()
    *lines, chance = ax.lines
    assert [line.get_label() for line in lines] == ["0", "1", "2", "3"]
    for index, line in enumerate(lines):
        assert line.get_xdata().tolist() == STEPS
        np.testing.assert_array_equal(line.get_ydata(), found.curves[:, index])
    assert chance.get_label() == "chance"
    assert set(chance.get_ydata()) == {0}
    assert ax.get_ylim()[0] < 0 < 1 < ax.get_ylim()[1]
    assert ax.get_legend().get_texts()[-1].get_text() == "chance"
    assert ax.get_title(loc="left") == "Sequential, mean of 3 classes, 400 samples"
    figure.canvas.draw()
    given = matplotlib.figure.Figure().subplots()
    assert found.plot(given)[1] is given


def test_one_class_can_be_drawn(found):
    _, ax = found.plot(class_name="dog")
    np.testing.assert_array_equal(ax.lines[2].get_ydata(), found.corrected[:, 2, 1])
    assert ax.get_title(loc="left") == "Sequential, dog, 400 samples"
    with pytest.raises(UnknownOptionError, match=r"one of cat, dog, bird; got 'dgo'\. Did you mean 'dog'"):
        found.plot(class_name="dgo")


def test_several_measures_are_each_alone(states):
    measures = ["linear_cka", "svcca", "r2_cca"]
    found = dynamics(states, measure=measures, retained_variance=0.8)
    assert list(found) == measures
    for measure in measures:
        got, alone = found[measure], dynamics(states, measure=measure, retained_variance=0.8)
        assert got.measure == alone.measure == measure
        np.testing.assert_allclose(got.values, alone.values, atol=1e-6)  # float32
        np.testing.assert_allclose(got.chance, alone.chance, atol=1e-6)
        if measure != "linear_cka":
            np.testing.assert_allclose(got.curves, alone.curves, atol=1e-6)
    assert dynamics(states, measure="svcca").to_dict() == dynamics(states).to_dict()


def test_a_measure_without_a_share_beyond_chance_is_drawn_by_its_values(states):
    found = dynamics(states, measure="linear_cka")
    for numbers in ("corrected", "curves"):
        with pytest.raises(InputError, match=r"corrected: expected a measure of one correlation .*; got 'linear_cka'"):
            getattr(found, numbers)
    assert list(found.to_frame().columns) == ["linear_cka", "chance", "rank"]
    _, ax = found.plot()
    assert ax.get_ylabel() == "linear_cka with the logit"
    np.testing.assert_allclose(ax.lines[2].get_ydata(), found.values[:, 2].mean(axis=1), rtol=1e-12)
    _, ax = found.plot(class_name="1")
    np.testing.assert_array_equal(ax.lines[2].get_ydata(), found.values[:, 2, 1])
    assert len(ax.collections) == 1  # the band of chance


def test_the_axis_names_the_share_and_a_measure_that_is_not_the_default(states):
    labels = [dynamics(states, measure=measure).plot()[1].get_ylabel() for measure in ("svcca", "r2_cca")]
    assert labels == ["share of variance beyond chance", "share of variance beyond chance (r2_cca)"]


def test_noise_lies_about_the_line_of_chance_and_stays_in_the_picture(states):
    noise = np.random.default_rng(0).normal(size=(20, 8))
    got = svcca.class_dynamics(net(9), states, X[:20], targets=noise, steps=STEPS, progress=False)
    lowest = got.corrected.min(axis=(0, 1))
    assert lowest.min() < -0.1  # 20 samples: noise is far below chance in some class
    _, ax = got.plot(class_name=got.classes[int(lowest.argmin())])
    assert ax.get_ylim()[0] < lowest.min()
