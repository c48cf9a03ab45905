"""Accuracy against the number of directions, distributedness, and dimensions of layers: against loops by hand."""

import numpy as np
import pytest
import torch
from torch import nn

import svcca
from project.nets import WIDTHS, inputs, net, outputs, rows
from svcca.capture.evaluations import counts
from svcca.errors import InputError, LayerError, SvccaWarning, UnknownOptionError
from svcca.project import ProjectionCurve, distributedness


def head(model, fc):
    """What follows `fc`, by hand, in evaluation mode."""
    model.eval()
    with torch.no_grad():
        labels = model.out(model.norm(torch.relu(torch.as_tensor(fc).float()))).argmax(1)
    model.train()
    return labels


def task(seed=3):
    """A net, data, labels that it gets right, and their measure."""
    model, x = net(seed), inputs(300)
    with torch.no_grad():
        model.fc.weight *= 5
        model.fc.bias -= torch.tensor(outputs(model, x)["fc"].mean(0)).float()
        model.norm.running_mean.zero_()
        model.out.bias -= torch.tensor(outputs(model, x)["out"].mean(0)).float()
    labels = head(model, outputs(model, x)["fc"])
    assert labels.bincount().min() > 50  # no class is nearly all
    modes = []

    def evaluate(model):
        modes.append(model.training)
        with torch.no_grad():
            return (model(x).argmax(1) == labels).double().mean()

    return model, x, labels, evaluate, modes


def curve_of(values, unprojected=0.9, ks=(1, 2, 4, 8), kinds=("canonical",)):
    values = np.array(values, dtype=float).reshape(len(kinds), len(ks))
    return ProjectionCurve("fc", 8, kinds, np.array(ks), values, unprojected, (3,) * len(kinds), "net")


def test_a_curve_is_what_a_loop_by_hand_gives_for_every_kind():
    model, x, labels, evaluate, modes = task()
    found = svcca.directions(model, x, "fc", against="logits")
    curve = svcca.projection_curve(model, "fc", found, [5, 0, 2, 7, 2], evaluate, seed=3)
    fc = torch.tensor(outputs(model, x)["fc"])
    names = ["pca", "random_directions", "random_neurons", "largest_activation"]
    kinds = [found, *(svcca.directions(model, x, "fc", against=name, seed=3) for name in names)]
    expected = [
        [float((head(model, kind.projection(k)(fc)) == labels).double().mean()) for k in (0, 2, 5, 7)] for kind in kinds
    ]
    assert curve.ks.tolist() == [0, 2, 5, 7]
    assert curve.kinds == tuple(kind.kind for kind in kinds)
    assert curve.values == pytest.approx(np.array(expected), abs=1.01 / 300)  # one sample on the boundary
    assert curve.values[:, -1] == pytest.approx(1.0)
    assert (curve.unprojected, curve.n_features, curve.n_from_target) == (1.0, 7, (3, 0, 0, 0, 0))
    assert len(modes) == 1 + 5 * 4
    assert not any(modes)


def test_several_kinds_keep_their_names_and_baselines_can_be_left_out():
    model, x, _, evaluate, _ = task()
    found = {name: svcca.directions(model, x, "fc", against=name) for name in ("logits", "pca")}
    curve = svcca.projection_curve(model, "fc", found, [3], evaluate, baselines=[])
    assert curve.kinds == ("logits", "pca")
    both = svcca.projection_curve(model, "fc", found["pca"], [3], evaluate, baselines=["pca", "random_neurons"])
    assert both.kinds == ("principal directions", "random neurons")
    assert both.to_frame().loc[3].tolist() == both.values[:, 0].tolist()
    assert both.to_frame().columns.tolist() == list(both.kinds)


def test_the_form_is_passed_on():
    model, x, _, evaluate, _ = task()
    found = svcca.directions(model, x, "fc", against="logits")
    given = {}
    for form in ("data", "orthonormal"):
        curve = svcca.projection_curve(model, "fc", found, [1, 2, 3], evaluate, baselines=[], form=form)
        for k, value in zip(curve.ks.tolist(), curve.values[0], strict=True):
            with svcca.project(model.eval(), "fc", found, k, form=form):
                assert value == evaluate(model)
        given[form] = curve.values
    assert not np.array_equal(given["data"], given["orthonormal"])


@pytest.mark.parametrize(
    ("values", "needed"),
    [
        ([0.2, 0.5, 0.895, 0.9], 4),
        ([0.9, 0.9, 0.9, 0.9], 1),
        ([0.2, 0.3, 0.4, 0.5], None),
        ([0.2, 0.895, 0.6, 0.95], 8),  # it falls again in between
        ([0.2, 0.9, 0.889, 0.89], 8),
    ],
)
def test_needed_is_where_the_value_stays_within_the_tolerance(values, needed):
    assert curve_of(values).neurons_needed(0.01) == {"canonical": needed}


def test_needed_widens_with_the_tolerance():
    curve = curve_of([[0.2, 0.5, 0.8, 0.9], [0.8, 0.85, 0.9, 0.9]], kinds=("a", "b"))
    assert curve.neurons_needed(0.1) == {"a": 4, "b": 1}
    assert curve.neurons_needed(0) == {"a": 8, "b": 4}
    with pytest.raises(InputError, match=r"neurons_needed: expected a tolerance of at least 0; got -0\.1"):
        curve.neurons_needed(-0.1)


def test_default_counts_are_about_three_an_octave():
    assert counts(None, 64, "") == (1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 32, 40, 51, 64)
    assert counts(None, 1, "") == (1,)
    assert counts(None, 7, "")[-1] == 7
    assert counts(np.array([4, 2]), 7, "") == (2, 4)


class NoNumber:
    pass


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (float("nan"), "got nan"),
        (float("inf"), "got inf"),
        (None, "got None. Return one finite number, such as the accuracy"),
        ("good", "got 'good'"),
        (NoNumber(), "got a NoNumber"),
        (torch.ones(3), "got a Tensor"),
    ],
)
def test_an_evaluate_without_a_finite_number_is_refused_and_leaves_nothing_behind(given, text):
    model, x, _, _, _ = task()
    found = svcca.directions(model, x, "fc")
    calls = []
    for run in (
        lambda evaluate: svcca.projection_curve(model, "fc", found, [2], evaluate),
        lambda evaluate: distributedness(model, "fc", found, [2], [3], evaluate),
        lambda evaluate: svcca.intrinsic_dimensions(model, x, "fc", evaluate),
    ):
        with pytest.raises(InputError, match=f"expected a finite number from evaluate.model.; {text}"):
            run(lambda model: given)
        calls.clear()
        with pytest.raises(InputError, match=f"k = .*{text}"):  # at the second call, within a projection
            run(lambda model: calls.append(0) or (0.5 if len(calls) == 1 else given))
    assert all(not module._forward_hooks and module.training for module in model.modules())


def test_an_error_of_evaluate_is_the_users_own():
    model, x, _, _, _ = task()
    found = svcca.directions(model, x, "fc")
    with pytest.raises(ZeroDivisionError):
        svcca.projection_curve(model, "fc", found, [2], lambda model: 1 / 0)


@pytest.mark.parametrize(
    ("ks", "text"),
    [([8], "got 8"), ([-1], "got -1"), ([], "got none"), ([2.0], r"got 2\.0"), ([True], "got True")],
)
def test_numbers_of_directions_outside_of_the_width_are_refused(ks, text):
    model, x, _, evaluate, _ = task()
    found = svcca.directions(model, x, "fc")
    for run in (
        lambda: svcca.projection_curve(model, "fc", found, ks, evaluate),
        lambda: distributedness(model, "fc", found, ks, [1], evaluate),
        lambda: distributedness(model, "fc", found, [1], ks, evaluate),
    ):
        with pytest.raises(InputError, match=f"expected whole numbers from 0 to 7, the layer's width; {text}"):
            run()


def test_other_bad_input_is_refused():
    model, x, _, evaluate, _ = task()
    found = svcca.directions(model, x, "fc")
    with pytest.raises(LayerError, match=r"got 'fcc'. Closest: fc"):
        svcca.directions(model, x, "fcc")
    with pytest.raises(InputError, match="directions of that layer; got those of 'fc'"):
        svcca.projection_curve(model, "out", found, [2], evaluate)
    with pytest.raises(InputError, match="directions of at least one kind; got none"):
        svcca.projection_curve(model, "fc", {}, [2], evaluate)
    with pytest.raises(UnknownOptionError, match="kind to be one of pca"):
        svcca.projection_curve(model, "fc", found, [2], evaluate, baselines=["largest"])
    with pytest.raises(
        InputError, match=r"against: expected one target for all layers; got a model. Call svcca.direct"
    ):
        svcca.intrinsic_dimensions(model, x, against=net())
    with pytest.raises(InputError, match="intrinsic_dimensions: expected a tolerance of at least 0; got nan"):
        svcca.intrinsic_dimensions(model, x, tolerance=float("nan"))
    with pytest.raises(LayerError, match=r"got 'fcc'. Closest: fc"):
        svcca.intrinsic_dimensions(model, x, ["fcc"])


def test_distributedness_is_what_a_loop_by_hand_gives():
    model, x, labels, evaluate, modes = task()
    found = svcca.directions(model, x, "fc", against="logits", retained_variance=1.0)
    result = distributedness(model, "fc", found, [1, 3], [2, 4, 7], evaluate)
    fc, mean = outputs(model, x)["fc"], outputs(model, x)["fc"].mean(0)
    spread, weights = fc.std(0, ddof=1), found.directions.encoder.numpy()
    for column, k in enumerate((1, 3)):
        projected = found.projection(k)(torch.tensor(fc)).numpy()
        matter = (np.abs(weights[:, :k]) * found.correlations[:k]).sum(1) * spread
        for row, m in enumerate((2, 4, 7)):
            kept = np.full_like(projected, mean)
            best = np.argsort(-matter)[:m]
            kept[:, best] = projected[:, best]
            expected = float((head(model, kept) == labels).double().mean())
            assert result.values[row, column] == pytest.approx(expected, abs=1.01 / 300)
        assert result.all_units[column] == result.values[2, column]
    assert (result.unprojected, result.kind) == (1.0, "CCA with the logits")
    frame = result.to_frame()
    assert frame.columns.tolist() == [2, 4, 7, 7]
    assert frame.index.tolist() == [1, 3]
    assert frame.to_numpy().T[:3].tolist() == result.values.tolist()
    assert len(modes) == 1 + 2 * 4


def test_dimensions_of_every_layer_are_those_of_numpy_and_of_a_full_curve():
    model, x, _, evaluate, _ = task()
    found = svcca.intrinsic_dimensions(model, x, list(WIDTHS), evaluate, tolerance=0.05, retained_variance=0.9)
    assert [row.layer for row in found.layers] == list(WIDTHS)
    for row in found.layers:
        block = rows(outputs(model, x)[row.layer], row.observation)
        values = np.linalg.svd(block - block.mean(0), compute_uv=False) ** 2
        assert row.width == WIDTHS[row.layer]
        assert row.rank == np.linalg.matrix_rank(block - block.mean(0), tol=1e-5 * values[0] ** 0.5)
        assert row.kept_rank == int((np.cumsum(values) / values.sum() < 0.9).sum()) + 1
        directions = svcca.directions(model, x, row.layer)
        curve = svcca.projection_curve(model, row.layer, directions, range(row.width + 1), evaluate, baselines=[])
        good = curve.values[0] >= found.unprojected - 0.05
        assert good[row.needed]
        assert row.needed == 0 or not good[row.needed - 1]
        assert row.value == curve.values[0, row.needed]
    assert found.to_frame().loc["fc", "needed"] == next(row.needed for row in found.layers if row.layer == "fc")
    assert (found.kind, found.unprojected, found.title) == ("principal directions", 1.0, "Every")


@pytest.mark.parametrize("needed", [0, 1, 4, 6, 7])
def test_bisection_finds_the_smallest_in_few_evaluations(needed):
    model, x = net(), inputs()
    ranks = []

    def evaluate(model):
        kept = []
        handle = model.fc.register_forward_hook(lambda module, args, output: kept.append(output))
        with torch.no_grad():
            model(x)
        handle.remove()
        centred = (kept[0] - kept[0].mean(0)).double().numpy()
        ranks.append(int((np.linalg.svd(centred, compute_uv=False) > 1e-4).sum()))
        return float(ranks[-1] >= needed)

    (row,) = svcca.intrinsic_dimensions(model, x, "fc", evaluate).layers
    assert (row.needed, row.value) == (needed, 1.0)
    assert len(ranks) <= 1 + 4


def test_without_evaluate_there_are_ranks_alone():
    model, x = net(), inputs()
    found = svcca.intrinsic_dimensions(model, x, "fc")
    assert found.to_frame().columns.tolist() == ["observation", "width", "rank", "kept_rank"]
    assert (found.unprojected, found.layers[0].needed) == (None, None)


def test_dimensions_of_directions_against_logits():
    model, x, _, evaluate, _ = task()
    found = svcca.intrinsic_dimensions(model, x, "fc", evaluate, against="logits")
    assert found.kind == "CCA with the logits"
    directions = svcca.directions(model, x, "fc", against="logits")
    curve = svcca.projection_curve(model, "fc", directions, [found.layers[0].needed], evaluate, baselines=[])
    assert found.layers[0].value == curve.values[0, 0]


def test_a_constant_layer_needs_no_dimension():
    model, x = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)), torch.randn(30, 3)
    with torch.no_grad():
        model[0].weight.zero_()
    found = svcca.intrinsic_dimensions(model, x, "0", lambda model: float(model(x).sum().detach()))
    assert [(row.rank, row.kept_rank, row.needed) for row in found.layers] == [(0, 0, 0)]


def test_layers_that_run_several_times_are_left_out_with_a_warning():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.act, self.one, self.two = nn.Tanh(), nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.act(self.two(self.act(self.one(x))))

    with pytest.warns(SvccaWarning, match="Left out, since they run several times .*: act#1, act#2"):
        found = svcca.intrinsic_dimensions(Twice(), torch.randn(30, 3))
    assert [row.layer for row in found.layers] == ["one", "two"]
    assert len(found.warnings) == 1
    with pytest.raises(LayerError, match=r"runs once in a forward pass; got 'act#1'"):
        svcca.intrinsic_dimensions(Twice(), torch.randn(30, 3), "act")
