"""A user's own measure wherever a measure is taken: on arrays, in comparisons, over training, on the page, in files."""

import json
import math
import re

import numpy as np
import pytest
import torch
from torch import nn

import reference as ref
import svcca
from svcca.compare.by_measure import ByMeasure
from svcca.measures import Measure

pytestmark = pytest.mark.filterwarnings("ignore::svcca.errors.SvccaWarning")


class Angle(Measure):
    """One less the mean principal angle."""

    name = "angle"
    definition = "one less the mean principal angle, as a share of a right angle"

    def value(self, pair):
        return 1 - float(pair.correlations.arccos().mean()) / (math.pi / 2)


class CutAngle(Angle):
    """The same after the SVD step, of the kept directions; with a level of its own, and not symmetric."""

    name = "cut_angle"
    svd_step = True
    symmetric = False

    def value(self, pair):
        return super().value(pair) / pair.x.rank

    def chance(self, pair):
        return 0.125


def expected(x, y):
    return float(1 - np.arccos(np.clip(ref.correlations(x, y), 0, 1)).mean() / (math.pi / 2))


X, Y = ref.related(0, 300, 4, 5)
NET = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
SEED = torch.Generator().manual_seed(0)
STATES = [
    {name: torch.randn(weight.shape, generator=SEED, dtype=torch.float64) for name, weight in NET.state_dict().items()}
    for _ in range(3)
]
PROBE = torch.from_numpy(X)


def test_in_similarities_beside_ours():
    found = svcca.measures.similarities(X, Y, [Angle(), "cca"])
    assert list(found) == ["angle", "cca"]
    assert found["angle"].similarity == pytest.approx(expected(X, Y), abs=1e-9)
    assert math.isnan(found["angle"].chance)


def test_in_a_permutation_test():
    test = svcca.measures.permutation_test(X, Y, measure=Angle(), n_permutations=19, seed=2)
    rng = np.random.default_rng(2)
    null = [expected(X, Y[rng.permutation(300)]) for _ in range(19)]
    np.testing.assert_allclose(test.null, null, rtol=0, atol=1e-9)
    assert test.p_value == 1 / 20


def test_in_compare_saved_drawn_and_reported_with_its_definition(tmp_path):
    matrix = svcca.compare({"a": X}, {"b": Y}, measure=Angle())
    assert matrix.values[0, 0] == pytest.approx(expected(X, Y), abs=1e-9)
    assert (matrix.measure, matrix.definition, matrix.retained_variance) == ("angle", Angle.definition, 1.0)
    loaded = svcca.SimilarityMatrix.load(matrix.save(tmp_path / "m.json"))
    assert json.loads((tmp_path / "m.json").read_text())["chance"] == [[None]]
    assert (loaded.measure, loaded.definition) == ("angle", Angle.definition)
    for each in (matrix, loaded):
        figure, ax = each.plot()
        figure.canvas.draw()
        assert "chance" not in " ".join(text.get_text() for axes in (ax, *ax.child_axes) for text in axes.texts)
        page = each.report(tmp_path / "p.html").read_text()
        assert f"angle</b>: {Angle.definition}." in page
        assert "not known" in page
        assert not re.search(r"\bnan\b", page)


def test_several_in_compare_each_with_its_own_cut_and_level():
    found = svcca.compare({"a": X}, {"b": Y}, measure=[CutAngle(), "svcca", Angle()], retained_variance=0.8)
    assert list(found) == ["cut_angle", "svcca", "angle"]
    assert found["cut_angle"].rows == found["svcca"].rows != found["angle"].rows
    assert found["cut_angle"].chance[0, 0] == 0.125
    assert math.isnan(found["angle"].chance[0, 0])
    assert found["angle"].values[0, 0] == pytest.approx(expected(X, Y), abs=1e-9)


def test_a_network_with_itself_by_a_measure_that_is_not_symmetric():
    layers = {"a": X, "b": X[:, :2] + Y[:, :2]}
    values = svcca.compare(layers, measure=CutAngle(), retained_variance=1.0).values
    assert values[0, 1] == pytest.approx(values[1, 0] / 2, abs=1e-9)


def test_rows_of_one_input_and_a_level_that_is_not_known():
    maps = {"a": np.random.default_rng(0).normal(size=(40, 3, 4, 4))}
    (remark,) = svcca.compare(maps, observe="pixels", measure=Angle()).warnings
    assert remark.kind == "dependence"
    assert remark.text == "The 640 rows come from 40 inputs, and rows of one input are not independent."


def test_by_frequency():
    x = np.random.default_rng(0).normal(size=(60, 2, 4, 4))
    y = x + np.random.default_rng(1).normal(size=(60, 2, 4, 4))
    matrix = svcca.compare({"a": x}, {"b": y}, observe="fourier", measure=Angle())
    result = svcca.fourier.fourier_cca(x, y, retained_variance=1.0)
    value = 1 - np.arccos(result.correlations).mean() / (math.pi / 2)
    assert matrix.values[0, 0] == pytest.approx(value, abs=1e-9)
    assert result.evaluate(Angle()).similarity == pytest.approx(value, abs=1e-9)


def test_in_learning_dynamics_beside_ours(tmp_path):
    def dynamics(measure):
        return svcca.learning_dynamics(NET, STATES, PROBE, measure=measure, steps=[0, 1, 2], retained_variance=0.8)

    found = dynamics([Angle(), "svcca", CutAngle()])
    assert isinstance(found, ByMeasure)
    assert list(found) == ["angle", "svcca", "cut_angle"]
    for measure in (Angle(), "svcca", CutAngle()):
        alone = dynamics(measure)
        among = found[alone.measure]
        np.testing.assert_allclose(among.values, alone.values, rtol=0, atol=1e-9)
        np.testing.assert_allclose(among.chance, alone.chance, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(among.ranks, alone.ranks)
        assert (among.layers, among.retained_variance) == (alone.layers, alone.retained_variance)
    assert (found["svcca"].ranks < found["angle"].ranks).any()
    assert found["angle"].definition == found["angle"].at(1).definition == Angle.definition
    loaded = ByMeasure.load(found.save(tmp_path / "d.json"))
    np.testing.assert_array_equal(loaded["angle"].values, found["angle"].values)
    assert np.isnan(loaded["angle"].chance).all()
    figure, ax = found["angle"].plot()
    figure.canvas.draw()
    assert "chance" not in [text.get_text() for text in ax.get_legend().get_texts()]


def test_in_a_recorder_from_the_same_snapshots():
    def recorded(measure):
        recorder = svcca.DynamicsRecorder(NET, PROBE, measure=measure, retained_variance=0.8)
        for step, state in enumerate(STATES):
            NET.load_state_dict(state)
            recorder.step(step)
        return recorder.result()

    found = recorded(["svcca", Angle()])
    assert list(found) == ["svcca", "angle"]
    for measure in ("svcca", Angle()):
        alone = recorded(measure)
        np.testing.assert_allclose(found[alone.measure].values, alone.values, rtol=0, atol=1e-9)
        np.testing.assert_array_equal(found[alone.measure].ranks, alone.ranks)
