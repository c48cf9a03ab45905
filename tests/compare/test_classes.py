"""Class sensitivity: one logit is least squares; conv layers by their means; chance; what is refused."""

from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
import torch
from torch import nn

import reference as ref
import svcca
from svcca.errors import FileError, InputError, LayerError, SampleError, UnknownOptionError
from svcca.measures import CCA, PWCCA, Measure, chance

matplotlib.use("Agg")
IMAGES = torch.randn(600, 2, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Net(nn.Module):
    def __init__(self, wrap=None):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(2, 5, 3)
        self.relu = nn.ReLU()
        self.fc = nn.Linear(5 * 16, 7)
        self.out = nn.Linear(7, 3)
        self.wrap = wrap
        self.double()

    def forward(self, x):
        logits = self.out(torch.tanh(self.fc(self.relu(self.conv(x)).flatten(1))))
        return logits if self.wrap is None else self.wrap(logits)


def outputs():
    net = Net().eval()
    with torch.no_grad():
        conv = net.conv(IMAGES)
        fc = net.fc(conv.relu().flatten(1))
        return conv.numpy(), fc.numpy(), net.out(torch.tanh(fc)).numpy()


@pytest.mark.parametrize("share", [0.8, 1.0])
def test_a_correlation_is_the_root_of_least_squares_on_the_kept_directions(share):
    conv, fc, logits = outputs()
    got = svcca.class_sensitivity(Net(), IMAGES, retained_variance=share, progress=False)
    assert got.layers == ("conv", "relu", "fc", "out")
    assert got.classes == ("0", "1", "2")
    for row, rows in ((0, conv.mean(axis=(2, 3))), (2, fc)):
        rank = ref.kept_rank(rows, share) if share < 1 else rows.shape[1]
        basis = ref.basis(rows, rank)[0]
        for column in range(3):
            expected = np.sqrt(ref.ols_r2(basis, logits[:, column]))
            assert got.values[row, column] == pytest.approx(expected, abs=1e-9)
            assert got.chance[row, column] == pytest.approx(chance.cca_mean(rank, 1, 600), abs=1e-12)
            level = rank / 599
            assert got.corrected[row, column] == pytest.approx((expected**2 - level) / (1 - level), abs=1e-9)


@pytest.mark.parametrize(
    "wrap", [lambda y: SimpleNamespace(logits=y), lambda y: {"loss": y.sum(), "logits": y}], ids=["object", "mapping"]
)
def test_logits_are_found_in_what_a_model_returns(wrap):
    expected = svcca.class_sensitivity(Net(), IMAGES, layers=["fc", "out"], progress=False)
    got = svcca.class_sensitivity(Net(wrap), IMAGES, layers=["fc", "out"], progress=False)
    np.testing.assert_array_equal(got.values, expected.values)


def test_classes_may_be_called_anything():
    names = ["*", "!fc", "fc"]
    got = svcca.class_sensitivity(Net(), IMAGES, layers="fc", classes=names, progress=False)
    assert got.classes == tuple(names)
    assert got.layers == ("fc",)
    frame = got.to_frame()
    assert frame.loc[("fc", "*"), "correlation"] == got.values[0, 0]
    assert list(frame.columns) == ["correlation", "chance", "beyond chance", "rank"]


def test_patterns_select_layers_and_leave_the_classes_alone():
    everything = svcca.class_sensitivity(Net(), IMAGES, progress=False)
    got = svcca.class_sensitivity(Net(), IMAGES, layers="!fc", progress=False)
    assert got.layers == ("conv", "relu", "out")
    np.testing.assert_array_equal(got.values, everything.values[[0, 1, 3]])
    assert svcca.class_sensitivity(Net(), IMAGES, layers=["*", "!*t"], progress=False).classes == ("0", "1", "2")
    with pytest.raises(LayerError, match=r"got 'head'\. There are: conv, relu, fc, out\."):
        svcca.class_sensitivity(Net(), IMAGES, layers=["fc", "head"], progress=False)


def test_other_targets_take_the_place_of_the_logits():
    _, fc, logits = outputs()
    labels = np.eye(3)[logits.argmax(axis=1)]
    got = svcca.class_sensitivity(Net(), IMAGES, layers="fc", targets=labels, classes=list("abc"), progress=False)
    expected = np.sqrt(ref.ols_r2(fc, labels[:, 1]))
    assert got.values[0, 1] == pytest.approx(svcca.svcca(fc, labels[:, 1:2]).similarity, abs=1e-9)
    assert got.values[0, 1] <= expected + 1e-9
    named = svcca.class_sensitivity(Net(), IMAGES, layers="fc", targets={"b": labels[:, 1]}, progress=False)
    # float64: a product with one column is summed in another order than one with three
    assert named.values[0, 0] == pytest.approx(got.values[0, 1], abs=1e-14)


@pytest.mark.parametrize("observe", ["auto", "fourier"])
def test_a_class_without_a_sample_is_left_out_of_labels_with_a_remark(observe):
    def sensitivity(labels):
        data = list(zip(IMAGES.split(200), labels.split(200), strict=True))
        names = ["cat", "dog", "bird"]
        return svcca.class_sensitivity(
            Net(), data, targets="labels", classes=names, layers=["conv", "fc"], observe=observe, progress=False
        )

    labels = (IMAGES[:, 0, 0, 0] > 0).long() * 2  # no dog
    got, both = sensitivity(labels), sensitivity(torch.cat([torch.ones(1).long(), labels[1:]]))
    assert got.classes == ("cat", "bird")
    assert both.classes == ("cat", "dog", "bird")
    left_out = [doubt.text for doubt in got.matrix.warnings if doubt.kind == "left_out"]
    assert left_out == ["targets: left out, since they are constant over all samples: dog."]
    assert not [doubt for doubt in both.matrix.warnings if doubt.kind == "left_out"]
    by_hand = nn.functional.one_hot(labels, 3).double()[:, [0, 2]]
    expected = svcca.class_sensitivity(
        Net(), IMAGES, targets=by_hand, layers=["conv", "fc"], observe=observe, progress=False
    )
    np.testing.assert_allclose(got.values, expected.values, atol=1e-9)
    assert [layer.rank for layer in got.matrix.rows] == [layer.rank for layer in expected.matrix.rows]
    with pytest.raises(InputError, match="target 'cat': expected a value that varies between samples; got a constant"):
        sensitivity(torch.zeros_like(labels))


def test_noise_is_at_chance_and_nothing_beyond_it():
    noise = np.random.default_rng(0).normal(size=(600, 40))
    got = svcca.class_sensitivity(Net(), IMAGES, layers="fc", targets=noise, progress=False)
    assert got.values.mean() == pytest.approx(got.chance[0, 0], rel=0.1)
    assert abs(got.corrected.mean()) < 0.005


def test_a_high_chance_level_stands_in_the_result_and_is_no_warning_but_forced_correlations_are():
    def kinds(n_images):
        found = svcca.class_sensitivity(Net(), IMAGES[:n_images], layers="fc", progress=False)
        return found.chance.max(), [doubt.kind for doubt in found.matrix.warnings]

    level, few = kinds(60)
    assert level > 0.25
    assert few == []
    assert kinds(5)[1] == ["forced"]


def test_as_many_directions_as_samples_hold_nothing_beyond_chance():
    got = svcca.class_sensitivity(Net(), IMAGES[:5], layers="fc", retained_variance=1.0, progress=False)
    np.testing.assert_array_equal(got.corrected, 0.0)
    np.testing.assert_allclose(got.chance, 1.0)


def test_the_model_is_left_as_it_was():
    model = Net().train()
    model.relu.eval()
    svcca.class_sensitivity(model, IMAGES, layers="fc", progress=False)
    assert model.training
    assert not model.relu.training


def test_logits_are_those_of_evaluation_and_cost_no_random_number():
    model = Net().train()
    model.relu = nn.Dropout(0.5)
    state = torch.get_rng_state()
    got = svcca.class_sensitivity(model, IMAGES, layers="out", progress=False)
    assert torch.equal(state, torch.get_rng_state())
    np.testing.assert_allclose(got.values, 1.0, atol=1e-9)


def test_what_is_no_target_is_refused():
    with pytest.raises(
        InputError, match=r"an output \(n_samples, n_classes\); got shape \(256, 5, 4, 4\). Pass targets="
    ):
        svcca.class_sensitivity(Net().conv, IMAGES, progress=False)
    with pytest.raises(InputError, match="a name for each of 3 logits; got 2 different ones"):
        svcca.class_sensitivity(Net(), IMAGES, classes=["a", "b"], progress=False)
    with pytest.raises(InputError, match=r"target 'c': expected a value that varies between samples; got a constant"):
        svcca.class_sensitivity(Net(), IMAGES, targets=np.ones((600, 1)), classes=["c"], progress=False)
    with pytest.raises(InputError, match=r"targets: expected a real array \(n_samples,\) or \(n_samples, n_targets\)"):
        svcca.class_sensitivity(Net(), IMAGES, targets=np.ones((600, 2, 2)), progress=False)
    with pytest.raises(InputError, match="a mapping that has names"):
        svcca.class_sensitivity(Net(), IMAGES, targets={"a": IMAGES[:, 0, 0, 0]}, classes=["a"], progress=False)
    with pytest.raises(SampleError, match="as many samples"):
        svcca.class_sensitivity(Net(), IMAGES, targets=IMAGES[:500, 0, 0], progress=False)
    with pytest.raises(SampleError, match="same number of rows"):
        svcca.class_sensitivity(Net(), IMAGES, layers="conv", observe="pixels", progress=False)
    rule = svcca.Fourier(phases=2)
    with pytest.raises(InputError, match="live models, which can be run on shifted inputs; got captured activations"):
        svcca.class_sensitivity(Net(), IMAGES, targets=IMAGES[:, 0, 0], observe=rule, progress=False)


def test_a_line_a_class_over_depth():
    got = svcca.class_sensitivity(Net(), IMAGES, classes=["cat", "dog", "bird"], progress=False)
    figure, ax = got.plot()
    assert [line.get_label() for line in ax.lines] == ["cat", "dog", "bird"]
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), got.values[:, 1])
    assert [label.get_text() for label in ax.get_xticklabels()] == list(got.layers)
    figure.canvas.draw()
    given = matplotlib.figure.Figure().subplots()
    many = svcca.class_sensitivity(Net(), IMAGES, layers="fc", targets=maps_of(12), progress=False)
    assert many.plot(given)[1] is given
    assert len(given.lines) == 12


# -- several measures -------------------------------------------------------------------------------------------------

SEVERAL = ["linear_cka", "svcca", "r2_cca", PWCCA(side="x"), "cca", "svcca_r2", "linear_cka_debiased"]


def sensitivity(measure, **options):
    return svcca.class_sensitivity(Net(), IMAGES, measure=measure, progress=False, **options)


@pytest.mark.parametrize("observe", ["auto", "fourier"])
def test_several_measures_are_each_alone_with_the_ranks_of_its_own_cut(observe):
    measures = [one for one in SEVERAL if observe == "auto" or one != "linear_cka_debiased"]
    options = {"observe": observe, "retained_variance": 0.8, "layers": ["conv", "fc"]}
    found = sensitivity(measures, **options)
    assert list(found) == [one if isinstance(one, str) else one.label for one in measures]
    for one, got in zip(measures, found.values(), strict=True):
        alone = sensitivity(one, **options)
        np.testing.assert_allclose(got.values, alone.values, atol=1e-12)
        np.testing.assert_allclose(got.chance, alone.chance, atol=1e-12)
        assert got.measure == alone.measure == got.matrix.measure
        assert [layer.rank for layer in got.matrix.rows] == [layer.rank for layer in alone.matrix.rows]
        assert got.to_frame().columns.tolist() == alone.to_frame().columns.tolist()
        if one in ("svcca", "cca", "svcca_r2", "r2_cca"):
            np.testing.assert_allclose(got.corrected, alone.corrected, atol=1e-12)
    assert found["svcca"].matrix.rows[1].rank < found["cca"].matrix.rows[1].rank  # the cut does cut


def test_the_default_is_svcca_and_one_in_a_list_is_a_mapping():
    default, named, listed = (sensitivity(measure) for measure in ("svcca", svcca.MEASURES["svcca"], ["svcca"]))
    plain = svcca.class_sensitivity(Net(), IMAGES, progress=False)
    for found in (default, named, listed["svcca"]):
        assert found.to_dict() == plain.to_dict()


def test_several_measures_come_from_one_pass():
    class Counted(Net):
        calls = 0

        def forward(self, x):
            Counted.calls += 1
            return super().forward(x)

    svcca.class_sensitivity(Counted(), IMAGES.split(100), progress=False)
    once, Counted.calls = Counted.calls, 0
    svcca.class_sensitivity(Counted(), IMAGES.split(100), measure=SEVERAL, progress=False)
    assert Counted.calls == once > 0


def test_another_measure_is_that_of_compare_with_the_logit_as_a_target():
    _, _, logits = outputs()
    for measure in ("linear_cka", "linear_regression_r2"):
        got = sensitivity(measure)
        for index in range(3):
            targets = {"logit": logits[:, index]}
            expected = svcca.compare(Net(), data=IMAGES, targets=targets, measure=measure, progress=False)
            np.testing.assert_allclose(got.values[:, index], expected.values[:, 0], atol=1e-10)
            np.testing.assert_allclose(got.chance[:, index], expected.chance[:, 0], atol=1e-10)


def test_the_share_beyond_chance_is_the_same_from_a_correlation_and_from_its_square():
    found = sensitivity(["svcca", "svcca_r2", "cca", "r2_cca"], retained_variance=0.8)
    for name, squared in (("svcca", "svcca_r2"), ("cca", "r2_cca")):
        np.testing.assert_allclose(found[name].values ** 2, found[squared].values, atol=1e-12)
        np.testing.assert_allclose(found[name].corrected, found[squared].corrected, atol=1e-12)
    assert found["svcca"].corrected[2, 0] < found["cca"].corrected[2, 0] - 0.01
    basis = ref.basis(outputs()[1], 7)[0]
    share = (ref.ols_r2(basis, outputs()[2][:, 0]) - 7 / 599) / (1 - 7 / 599)
    assert found["r2_cca"].corrected[2, 0] == pytest.approx(share, abs=1e-9)


class Nearness(Measure):
    name = "nearness"
    definition = "a measure of a user, whose chance level is not known"

    def value(self, pair):
        return float(pair.correlations[0]) - 1.0


class Nameless(CCA):
    def value(self, pair):
        return super().value(pair) / 2


@pytest.mark.parametrize("measure", ["linear_cka", "linear_regression_r2", PWCCA(), Nearness()])
def test_a_measure_that_is_no_correlation_has_no_share_beyond_chance(measure):
    got = sensitivity(measure, layers=["fc", "out"])
    with pytest.raises(InputError, match=r"corrected: expected a measure of one correlation \(svcca, cca, .*; got '"):
        _ = got.corrected
    assert list(got.to_frame().columns) == [got.measure, "chance", "rank"]
    assert got.to_frame().loc[("fc", "1"), got.measure] == got.values[0, 1]


def test_measures_that_cannot_be_told_apart_or_do_not_exist_are_refused():
    with pytest.raises(InputError, match="a name of its own for your own measure; got 'cca' for a Nameless"):
        sensitivity(["svcca", Nameless()])
    with pytest.raises(InputError, match="each measure once; got 'svcca' twice"):
        sensitivity(["svcca", "svcca"])
    with pytest.raises(UnknownOptionError, match="got 'cka'"):
        sensitivity("cka")
    with pytest.raises(UnknownOptionError, match=r"observe='fourier': .*got 'linear_cka_debiased'"):
        sensitivity(["svcca", "linear_cka_debiased"], observe="fourier")


def test_the_axis_is_labelled_by_the_measure():
    found = sensitivity(["svcca", "linear_cka", Nearness()])
    axes = [one.plot()[1] for one in found.values()]
    labels = ["correlation with the logit", "linear_cka with the logit", "nearness with the logit"]
    assert [ax.get_ylabel() for ax in axes] == labels
    assert axes[0].get_ylim() == axes[1].get_ylim() == (0, 1.02)
    assert axes[2].get_ylim()[0] < found["nearness"].values.min() < 0
    assert [len(ax.collections) for ax in axes] == [1, 1, 0]  # no band of chance where the level is not known


def test_a_result_is_saved_and_loaded(tmp_path):
    found = sensitivity("linear_cka")
    again = svcca.ClassSensitivity.load(found.save(tmp_path / "c.json"))
    assert again.to_dict() == found.to_dict()
    for change in ({"matrix": None}, {"matrix": {}}, {"other": 1}):
        with pytest.raises(FileError, match="from_dict: expected"):
            svcca.ClassSensitivity.from_dict(found.to_dict() | change)


def maps_of(n):
    return np.random.default_rng(1).normal(size=(600, n))
