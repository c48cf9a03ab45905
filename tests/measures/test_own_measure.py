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


# -- what an own measure may get wrong --------------------------------------------------------------------------------


def own(value, **stated):
    """Make a measure of this value."""
    return type("Mine", (Measure,), {"name": "mine", "definition": "d", "value": value, **stated})()


def thresholded(self, pair):
    rho = pair.correlations
    rho[rho < 2] = 0
    return float(rho.mean())


def cross_zeroed(self, pair):
    return float(pair.cross_singular_values.zero_().sum())


def weights_zeroed(self, pair):
    return float(pair.projection_weights("x", squared=False)[1].zero_().sum())


def maps(seed):
    return np.random.default_rng(seed).normal(size=(60, 2, 4, 4))


@pytest.mark.parametrize("value", [thresholded, cross_zeroed, weights_zeroed])
@pytest.mark.parametrize("by_frequency", [False, True])
def test_a_measure_that_writes_to_what_it_is_given_changes_none_beside_it(value, by_frequency):
    def values(measures):
        if not by_frequency:
            return [float(each) for each in svcca.measures.similarities(X, Y, measures).values()]
        x, y = maps(0), maps(0) + maps(1)
        found = svcca.compare({"a": x}, {"b": y}, observe="fourier", measure=measures)
        return [float(each.values[0, 0]) for each in found.values()]

    beside = ["cca", "procrustes", "pwcca"]
    assert values([own(value), *beside])[1:] == values(beside)


def singular_values_scaled(self, pair):
    s = pair.x.singular_values
    s /= s.sum()
    return float(s[0])


def singular_values_scaled_as_numpy(self, pair):
    s = pair.x.singular_values.numpy()
    s /= s.sum()
    return float(s[0])


def matrix_zeroed(self, pair):
    return float(pair.matrix.zero_().sum())


@pytest.mark.parametrize("written", [singular_values_scaled, singular_values_scaled_as_numpy, matrix_zeroed])
@pytest.mark.parametrize("part", ["value", "chance"])
def test_a_measure_that_writes_to_the_layers_is_refused(written, part):
    measure = own(**{"value": lambda self, pair: 0.5, part: written})
    text = r"^mine of x and y: expected the tensors of the pair left as they are; .* Work on a copy"
    with pytest.raises(svcca.SvccaError, match=text):
        svcca.measures.similarities(X, Y, [measure, "cca"])
    if part == "value":
        with pytest.raises(svcca.SvccaError, match=text):
            svcca.measures.permutation_test(X, Y, measure=measure, n_permutations=2)


def test_by_frequency_writing_to_a_layer_is_refused_or_has_no_effect():
    x, y = maps(0), maps(0) + maps(1)
    with pytest.raises(svcca.SvccaError, match=r"^mine of a x b: expected the tensors of the pair left as they are"):
        svcca.compare({"a": x}, {"b": y}, observe="fourier", measure=[own(matrix_zeroed), "cca"])
    measures = [own(singular_values_scaled), "svcca_weighted"]
    found = svcca.compare({"a": x}, {"b": y}, observe="fourier", measure=measures)
    alone = svcca.compare({"a": x}, {"b": y}, observe="fourier", measure="svcca_weighted")
    assert found["svcca_weighted"].values[0, 0] == alone.values[0, 0]


def test_tensors_of_inference_mode_are_looked_at_too():
    with torch.inference_mode():
        assert svcca.compare({"a": X}, {"b": Y}, measure=Angle()).values[0, 0] == pytest.approx(expected(X, Y))


@pytest.mark.parametrize(
    ("returned", "got"),
    [
        (None, "None"),
        ("0.3", "'0.3'"),
        (1j, "1j"),
        (np.complex128(1j), r"shape \(\), complex128"),
        (torch.tensor(1j), r"shape \(\), complex64"),
        (torch.zeros(3), r"shape \(3,\), float32"),
        (np.zeros(3), r"shape \(3,\), float64"),
    ],
    ids=str,
)
def test_a_value_that_is_no_real_number_is_refused_with_the_measure_and_the_pair(returned, got):
    with pytest.raises(svcca.errors.InputError, match=f"^mine of a x b: expected a real number; got {got}"):
        svcca.compare({"a": X}, {"b": Y}, measure=own(lambda self, pair: returned))
    level = own(lambda self, pair: 0.5, chance=lambda self, pair: returned)
    with pytest.raises(svcca.errors.InputError, match=r"^chance level of mine of a x b: expected a real number; got"):
        svcca.compare({"a": X}, {"b": Y}, measure=level)


@pytest.mark.parametrize("returned", [0.5, np.float32(0.5), np.array([0.5]), torch.tensor([0.5]), np.array(0.5)])
def test_a_value_may_be_any_real_number(returned):
    assert svcca.compare({"a": X}, {"b": Y}, measure=own(lambda self, pair: returned)).values[0, 0] == 0.5


@pytest.mark.parametrize("part", ["value", "chance"])
def test_an_error_of_a_measure_names_it_and_the_pair(part):
    def fails(self, pair):
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match=r"^boom") as caught:
        svcca.compare({"a": X}, {"b": Y}, measure=own(**{"value": lambda self, pair: 0.5, part: fails}))
    assert caught.value.__notes__ == ["svcca: raised by measure mine of a x b"]


def test_a_permutation_test_names_the_measure_without_a_value():
    text = "^permutation_test of mine: expected a finite statistic; got nan for the observed rows"
    with pytest.raises(svcca.errors.NonFiniteError, match=text):
        svcca.measures.permutation_test(X, Y, measure=own(lambda self, pair: math.nan), n_permutations=2)
