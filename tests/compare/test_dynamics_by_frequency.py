"""Learning dynamics, the recorder and class sensitivity by spatial frequency, from what is kept."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import svcca
from svcca.compare import dynamics as dynamics_module
from svcca.compare import snapshots
from svcca.core.kept import KeptBases
from svcca.errors import RankError, SvccaWarning
from svcca.fourier import subspace
from svcca.fourier.kept import KeptMaps

pytestmark = pytest.mark.filterwarnings("ignore::svcca.errors.SvccaWarning")
IMAGES = torch.randn(120, 2, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
STEPS = [0, 10, 20]
MEASURES = ["svcca", "pwcca", "linear_cka"]


def net(seed=0):
    torch.manual_seed(seed)

    def conv(c_in, c_out):
        return nn.Conv2d(c_in, c_out, 3, padding=1, padding_mode="circular")

    layers = [conv(2, 3), nn.ReLU(), nn.AvgPool2d(2), conv(3, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(4, 3)).double().eval()


def states():
    first, last = net(0).state_dict(), net(1).state_dict()
    return [{name: (1 - part) * first[name] + part * last[name] for name in first} for part in (0, 0.4, 1)]


def loaded(state):
    model = net()
    model.load_state_dict(copy.deepcopy(state))
    return model


def dynamics(observe="fourier", **options):
    return svcca.learning_dynamics(
        net(5), states(), IMAGES.split(50), steps=STEPS, observe=observe, progress=False, **options
    )


@pytest.mark.parametrize("observe", ["fourier", svcca.Fourier(phases=2), {"*": "fourier"}], ids=str)
@pytest.mark.parametrize("reference", ["last", "previous"])
def test_each_step_is_what_compare_gives(observe, reference):
    got = dynamics(observe, reference=reference, measure=MEASURES)
    pairs = [(state, states()[-1]) for state in states()]
    if reference == "previous":
        pairs = list(zip(states()[1:], states()[:-1], strict=True))
    for index, (row, other) in enumerate(pairs):
        expected = svcca.compare(
            loaded(row), loaded(other), IMAGES.split(50), observe=observe, measure=MEASURES, progress=False
        )
        for label, found in got.items():
            np.testing.assert_allclose(found.values[index], expected[label].values, atol=1e-10)
            np.testing.assert_allclose(found.chance[index], expected[label].chance, atol=1e-10)
            assert found.ranks[index].tolist() == [layer.rank for layer in expected[label].rows]
    assert got["svcca"].n_samples == (480 if observe == svcca.Fourier(phases=2) else 120)


def test_several_measures_at_once_are_what_each_is_alone():
    together = dynamics(measure=MEASURES)
    for name in MEASURES:
        np.testing.assert_allclose(together[name].values, dynamics(measure=name).values, atol=1e-10)


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_recorder_gives_what_checkpoints_give(tmp_path, on_disk):
    model = net()
    recorder = svcca.DynamicsRecorder(
        model, IMAGES.split(50), observe="fourier", folder=tmp_path if on_disk else None, measure=MEASURES
    )
    for step, state in zip(STEPS, states(), strict=True):
        model.load_state_dict(state)
        recorder.record(step)
    expected = dynamics(measure=MEASURES)
    for label, found in recorder.result().items():
        np.testing.assert_array_equal(found.values, expected[label].values)


def test_a_run_goes_on_from_its_folder(tmp_path, monkeypatch):
    expected = dynamics(folder=tmp_path)
    np.testing.assert_array_equal(expected.values, dynamics().values)

    def none_again(*arguments):
        raise AssertionError("taken again")

    monkeypatch.setattr(dynamics_module, "take_snapshot", none_again)
    again = dynamics(folder=tmp_path)
    np.testing.assert_array_equal(again.values, expected.values)
    assert again.layers == expected.layers


@pytest.mark.parametrize("other", ["pool", svcca.Fourier(phases=2)], ids=str)
def test_a_folder_of_another_rule_is_not_taken_for_this_one(tmp_path, other):
    dynamics(other, folder=tmp_path)
    np.testing.assert_array_equal(dynamics(folder=tmp_path).values, dynamics().values)


def test_each_layer_of_each_step_is_decomposed_once(monkeypatch):
    taken, original = [], subspace.FourierSubspace.from_moments

    def counted(moments, eps, where):
        taken.append(where)
        return original(moments, eps, where)

    monkeypatch.setattr(subspace.FourierSubspace, "from_moments", counted)
    dynamics(reference="previous")
    assert len(taken) == len(set(taken)) == 3 * 7


def test_layers_carry_their_frequencies_and_a_doubt_about_the_furthest():
    with pytest.warns(SvccaWarning, match="Sequential at step 20 '0': .* between different spatial frequencies"):
        got = svcca.learning_dynamics(
            net(), states(), IMAGES + 20 * (torch.arange(6) == 0), steps=STEPS, observe="fourier", layers="0"
        )
    assert got.layers[0].n_frequencies == got.at(0).rows[0].n_frequencies == 36
    assert got.layers[0].translation_gap > 0.3
    assert got.at(0).rows[0].translation_gap is None
    assert got.at(20).rows[0].translation_gap == got.layers[0].translation_gap


def test_a_snapshot_keeps_what_its_rule_says():
    def taken(observe):
        settings = snapshots.Settings.of("0", observe, svcca.core.SVDStep())
        return snapshots.take_snapshot(net(), IMAGES.split(50), 0, settings, observe).kept

    assert isinstance(taken("pool"), KeptBases)
    maps = taken("fourier")
    assert isinstance(maps, KeptMaps)
    assert maps.maps[0].shape == (120, 3, 6, 6)


def test_a_block_freezes_by_the_frequencies_of_its_maps():
    model = net()
    schedule = svcca.freeze.AdaptiveFreezing(IMAGES, observe="fourier", every=2, start=1, patience=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    freezer = svcca.FreezeTraining(model, optimizer, schedule=schedule, total_steps=20)
    for _ in range(8):
        freezer.step()
    assert freezer.events


# -- class sensitivity ------------------------------------------------------------------------------------------------


def stride_one():
    torch.manual_seed(3)
    conv = nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular")
    return nn.Sequential(conv, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3)).double()


def sensitivity(observe, **options):
    return svcca.class_sensitivity(stride_one(), IMAGES.split(50), observe=observe, progress=False, **options)


def test_class_sensitivity_is_what_compare_with_targets_gives():
    got = sensitivity("fourier")
    for index in range(3):
        logit = sensitivity("fourier", targets=lambda batch, index=index: stride_one()(batch)[:, index].detach())
        expected = svcca.compare(
            stride_one(),
            None,
            IMAGES.split(50),
            targets=lambda batch, index=index: stride_one()(batch)[:, index].detach(),
            observe="fourier",
            progress=False,
        )
        np.testing.assert_allclose(got.values[:, index], expected.values[:, 0], atol=1e-10)
        np.testing.assert_allclose(got.chance[:, index], expected.chance[:, 0], atol=1e-10)
        assert expected.columns[0].observation == "fourier (vector: zero frequency)"
        np.testing.assert_allclose(logit.values[:, 0], expected.values[:, 0], atol=1e-10)


def test_without_a_cut_it_is_that_of_the_means():
    by_frequency, pooled = (sensitivity(observe, retained_variance=1.0) for observe in ("fourier", "pool"))
    np.testing.assert_allclose(by_frequency.values, pooled.values, atol=1e-9)
    np.testing.assert_allclose(by_frequency.chance, pooled.chance, atol=1e-9)
    # Of a map's directions only those of its mean can correlate with a logit: they set the level that is taken off.
    assert by_frequency.to_frame()["rank"].tolist() == pooled.to_frame()["rank"].tolist()
    np.testing.assert_allclose(by_frequency.corrected, pooled.corrected, atol=1e-9)


def test_a_cut_is_over_all_frequencies_together():
    assert np.isfinite(sensitivity("pool", retained_variance=0.3).values).all()
    with pytest.raises(RankError, match="the SVD step kept nothing of that"):
        sensitivity("fourier", retained_variance=0.3)  # white maps: the mean holds a 36th of the variance


def test_phases_shift_the_inputs_of_the_logits_too():
    got = sensitivity(svcca.Fourier(phases=2))
    assert got.matrix.n_samples == 480
    assert "shifts by 0 to 1 positions" in got.matrix.warnings[-1].text
    # A stride-1 circular net with means gives every shift the same logits: the correlations are those without.
    np.testing.assert_allclose(got.values, sensitivity("fourier").values, atol=1e-9)


def test_class_dynamics_is_class_sensitivity_at_each_step():
    got = svcca.class_dynamics(net(), states(), IMAGES.split(50), steps=STEPS, observe="fourier", progress=False)
    for index, state in enumerate(states()):
        expected = svcca.class_sensitivity(loaded(state), IMAGES.split(50), observe="fourier", progress=False)
        np.testing.assert_allclose(got.values[index], expected.values, atol=1e-12)
        np.testing.assert_allclose(got.corrected[index], expected.corrected, atol=1e-12)
