"""Directions of a layer of a model: against slow NumPy versions, over every rule and target; and what is refused."""

import numpy as np
import pytest
import torch
from torch import nn

import svcca
from project.nets import WIDTHS, canonical, inputs, least_squares, net, outputs, rows
from svcca.errors import InputError, LayerError, RankError, SampleError, SvccaWarning, UnknownOptionError

RULES = {"conv": "pixels", "tokens": "tokens", "recurrent": "tokens", "fc": "flatten"}
EXACT = 2e-5  # float32 activations: eps 1.2e-7 times a condition of some hundred


def projected(found, x, k):
    """Rows of the layer projected on k directions by the result."""
    return found.projection(k)(torch.tensor(x)).numpy()


def loader(x, size=32):
    return list(x.split(size))


@pytest.mark.parametrize("layer", RULES)
def test_directions_against_logits_are_those_of_a_slow_cca(layer):
    model, x = net(), inputs()
    found = svcca.directions(model, loader(x), layer, against="logits", retained_variance=1.0)
    own = outputs(model, x)
    ours = rows(own[layer], RULES[layer])
    logits = np.repeat(own["out"], len(ours) // len(x), axis=0)  # one row a sample: repeated for each of its rows
    variates, correlations = canonical(ours, logits)
    assert (found.layer, found.observation, found.kind) == (layer, RULES[layer], "CCA with the logits")
    assert (found.n_features, found.n_from_target, found.n_samples) == (WIDTHS[layer], 3, len(ours))
    assert found.correlations == pytest.approx(correlations, abs=EXACT)
    for k in (1, 2, 3):
        assert projected(found, ours, k) == pytest.approx(least_squares(ours, variates[:, :k]), abs=1e-3)


def test_two_nets_are_cut_to_their_retained_variance_and_logits_are_not():
    first, second, x = net(0), net(5), inputs()
    ours, theirs = (rows(outputs(model, x)["fc"], "flatten") for model in (first, second))
    found = svcca.directions(first, x, "fc", against=second, retained_variance=0.9)

    def kept(block):
        s = np.linalg.svd(block - block.mean(0), compute_uv=False) ** 2
        return int((np.cumsum(s) / s.sum() < 0.9).sum()) + 1

    expected = min(kept(ours), kept(theirs))
    assert expected < 7
    u, s, _ = np.linalg.svd(theirs - theirs.mean(0), full_matrices=False)
    _, correlations = canonical(ours, u[:, : kept(theirs)] * s[: kept(theirs)], kept(ours))
    assert found.kind == "CCA with another net"
    assert found.n_from_target == expected
    assert found.correlations == pytest.approx(correlations[:expected], abs=EXACT)
    assert svcca.directions(first, x, "fc", against="logits", retained_variance=0.9).n_from_target == 3


def test_the_other_nets_layer_may_have_another_name_and_one_row_a_sample():
    first, second, x = net(0), net(5), inputs()
    found = svcca.directions(first, x, "conv", against=second, other_layer="fc", retained_variance=1.0)
    ours = rows(outputs(first, x)["conv"], "pixels")
    _, correlations = canonical(ours, np.repeat(outputs(second, x)["fc"], 16, axis=0))
    assert found.kind == "CCA with fc of another net"
    assert found.correlations == pytest.approx(correlations, abs=EXACT)


def test_maps_and_tokens_of_two_nets_meet_position_by_position():
    first, second, x = net(0), net(5), inputs()
    for layer in ("conv", "tokens"):
        found = svcca.directions(first, x, layer, against=second, retained_variance=1.0)
        ours, theirs = (rows(outputs(model, x)[layer], RULES[layer]) for model in (first, second))
        assert found.correlations == pytest.approx(canonical(ours, theirs)[1], abs=EXACT)


def test_pls_with_an_array_spans_the_singular_vectors_of_the_cross_covariance():
    model, x = net(), inputs()
    targets = np.random.default_rng(3).normal(size=(150, 2))
    found = svcca.directions(model, x, "fc", against=targets, method="pls")
    ours = rows(outputs(model, x)["fc"], "flatten")
    u = np.linalg.svd((ours - ours.mean(0)).T @ (targets - targets.mean(0)))[0]
    assert (found.kind, found.n_from_target, len(found.correlations)) == ("PLS with targets", 2, 0)
    for k in (1, 2):
        ours_q = np.linalg.qr(found.directions.encoder[:, :k].numpy())[0]
        assert np.linalg.svd(ours_q.T @ u[:, :k], compute_uv=False).min() > 1 - 1e-8


def test_one_number_a_sample_is_a_target_too():
    x = inputs()
    found = svcca.directions(net(), x, "fc", against=torch.randn(150))
    assert found.n_from_target == 1
    assert "1 from the target and 6 principal directions of the residual; flatten, 150 rows" in repr(found)


def test_the_printed_form_leaves_out_what_is_not_there():
    x = inputs()
    assert "principal directions; pixels, 2,400 rows" in repr(svcca.directions(net(), x, "conv"))
    whole = svcca.directions(net(), x, "out", against="logits", retained_variance=1.0)
    assert repr(whole).endswith("CCA with the logits, 3 from the target; flatten, 150 rows)")


def test_a_flattened_map_is_one_row_a_sample():
    model, x = net(), inputs(400)
    found = svcca.directions(model, x, "conv", observe="flatten")
    ours = rows(outputs(model, x)["conv"], "flatten")
    values = np.linalg.svd(ours - ours.mean(0), compute_uv=False) ** 2
    assert (found.shape, found.n_features, found.n_samples) == ((5, 4, 4), 80, 400)
    assert found.explained_variance_ratio[:5] == pytest.approx(values[:5] / values.sum(), rel=1e-4)


def test_positions_can_be_sampled():
    found = svcca.directions(net(), inputs(), "conv", observe=svcca.Pixels(n_positions=3))
    assert (found.n_samples, found.observation) == (450, "pixels")


class Masked(nn.Module):
    """Takes tokens and a mask, and gives logits."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.tokens, self.head = nn.Linear(3, 5), nn.Linear(5, 2)

    def forward(self, x, attention_mask):
        weights = attention_mask[..., None].to(x)
        return {"logits": self.head((torch.tanh(self.tokens(x)) * weights).sum(1) / weights.sum(1))}


def test_padding_does_not_count():
    model = Masked()
    x, lengths = torch.randn(60, 6, 3), torch.arange(60) % 5 + 2
    mask = (torch.arange(6) < lengths[:, None]).long()
    found = svcca.directions(model, {"x": x, "attention_mask": mask}, "tokens", against="logits", retained_variance=1.0)
    with torch.no_grad():
        tokens, logits = model.tokens(x).double().numpy(), model(x, mask)["logits"].double().numpy()
    real = [(i, t) for i in range(60) for t in range(lengths[i])]
    ours, theirs = np.array([tokens[i, t] for i, t in real]), np.array([logits[i] for i, _ in real])
    assert found.n_samples == len(real)
    assert found.correlations == pytest.approx(canonical(ours[:, :3], theirs)[1], abs=EXACT)  # of rank 3
    assert found.rank == 3


def test_baselines_come_from_the_same_moments_as_asking_for_them():
    model, x = net(), inputs()
    found = svcca.directions(model, x, "fc", against="logits")
    for kind in ("pca", "random_directions", "random_neurons", "largest_activation"):
        alone = svcca.directions(model, x, "fc", against=kind, seed=4)
        derived = found.baseline(kind, seed=4)
        assert derived.kind == alone.kind
        assert torch.allclose(derived.directions.encoder.abs(), alone.directions.encoder.abs(), rtol=1e-5, atol=1e-6)
    different = found.baseline("random_neurons", seed=5).directions.encoder
    assert not torch.equal(found.baseline("random_neurons", seed=4).directions.encoder, different)


def test_neurons_of_largest_activation_are_ordered_by_mean_absolute_activation():
    model, x = net(), inputs()
    for layer, rule in RULES.items():
        found = svcca.directions(model, loader(x), layer, against="largest_activation")
        size = np.abs(rows(outputs(model, x)[layer], rule)).mean(0)
        order = found.directions.encoder.numpy().argmax(0)
        assert order.tolist() == np.argsort(-size).tolist()
        assert found.measured.activation.numpy() == pytest.approx(size, rel=1e-6)


def test_batches_make_no_difference():
    model, x = net(), inputs()
    whole, pieces = (svcca.directions(model, data, "fc", against="logits") for data in (x, loader(x, 7)))
    assert whole.correlations == pytest.approx(pieces.correlations, abs=1e-6)


def test_units_matter_by_correlation_weight_and_spread():
    model, x = net(), inputs()
    found = svcca.directions(model, x, "fc", against="logits", retained_variance=1.0)
    weights, spread = found.directions.encoder.numpy(), rows(outputs(model, x)["fc"], "flatten").std(0, ddof=1)
    for k in (1, 3, 5):  # beyond the three of the target rho is 0
        rho = [*found.correlations, 0, 0][:k]
        expected = [sum(rho[i] * abs(weights[j, i]) * spread[j] for i in range(k)) for j in range(7)]
        assert found.importance(k) == pytest.approx(expected, rel=1e-5)
    principal = found.baseline("pca")
    weights = principal.directions.encoder.numpy()
    expected = [sum(abs(weights[j, i]) * spread[j] for i in range(2)) for j in range(7)]
    assert principal.importance(2) == pytest.approx(expected, rel=1e-5)


def test_the_model_comes_back_as_it_was():
    model, other, x = net(), net(5), inputs()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    svcca.directions(model, x, "fc", against=other)
    svcca.directions(model, x, "fc", against="logits")
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())
    assert all(module.training and not module._forward_hooks for each in (model, other) for module in each.modules())
    assert torch.equal(torch.get_rng_state(), random)


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.act, self.one, self.two = nn.Tanh(), nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.act(self.two(self.act(self.one(x))))


REFUSED = {
    "no layer": ({"layer": "fcc"}, LayerError, "got 'fcc'. Closest: fc"),
    "several": ({"layer": "*c*"}, LayerError, "directions: expected one layer; got 'conv', 'recurrent'"),
    "target": ({"against": "logit"}, UnknownOptionError, "against to be one of pca, .*Did you mean 'logits'"),
    "method": ({"against": "logits", "method": "svd"}, UnknownOptionError, "method to be one of cca, pls; got 'svd'"),
    "no target": ({"method": "pls"}, InputError, "expected a target for it; got method='pls' with against='pca'"),
    "no other": ({"other_layer": "out"}, InputError, "expected another model to find it in; got against='pca'"),
    "rule": ({"layer": "conv", "observe": "pool"}, InputError, "as 'flatten', 'pixels' or 'tokens'.*; got Pool"),
    "pixels": ({"observe": "pixels"}, InputError, "expected an output .*for 'pixels'; got shape"),
    "unknown rule": ({"observe": "piksels"}, UnknownOptionError, "Did you mean 'pixels'"),
    "3-D": (
        {"against": np.ones((150, 2, 2))},
        InputError,
        r"a real array \(n_samples,\) or \(n_samples, n_targets\); got shape",
    ),
    "short": (
        {"against": np.eye(149)},
        SampleError,
        "as many samples on both sides; got 149 in targets and at least 150 on the other side",
    ),
    "long": (
        {"against": np.eye(151)},
        SampleError,
        "as many samples on both sides; got 151 in targets and 150 on the other side",
    ),
    "positions": (
        {"layer": "conv", "against": net(5), "other_layer": "tokens"},
        InputError,
        r"same positions as the layer; got \(150, 16, 4\) beside \(150, 5, 4, 4\)",
    ),
    "several others": ({"against": net(5), "other_layer": "*c*"}, LayerError, "directions against: expected one layer"),
    "constant": ({"against": np.ones(150)}, RankError, "y: expected activations that vary"),
    "NaN": ({"against": np.full(150, np.nan)}, InputError, "targets of Every 'fc', batch 0: expected finite"),
    "share": ({"retained_variance": 0.0}, InputError, "expected a share in"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused(case):
    options, kind, text = REFUSED[case]
    with pytest.raises(kind, match=text):
        svcca.directions(net(), inputs(), **({"layer": "fc"} | options))


def test_maps_of_another_size_are_no_target_of_pixels():
    def net(padding):
        return nn.Sequential(nn.Conv2d(2, 3, 3, padding=padding))

    with pytest.raises(InputError, match=r"same positions as the layer; got \(20, 3, 2, 2\) beside \(20, 3, 4, 4\)"):
        svcca.directions(net(1), inputs(20), "0", against=net(0))


def test_logits_that_are_no_logits_are_refused():
    model = net()
    with pytest.raises(
        InputError, match=r"an output \(n_samples, n_classes\); got shape \(150, 5, 4, 4\). Pass against"
    ):
        svcca.directions(model, inputs(), "conv", against="logits", forward=lambda model, x: model.conv(x))


def test_a_module_that_runs_twice_is_refused():
    with pytest.raises(
        LayerError, match=r"runs once in a forward pass; got 'act#1'. The module is called more than once"
    ):
        svcca.directions(Twice(), torch.randn(20, 3), "act")


def test_errors_of_the_core_name_the_layer():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    with torch.no_grad():
        model[0].weight.zero_()
    with pytest.raises(RankError, match="a constant layer") as caught:
        svcca.directions(model, torch.randn(30, 3), "0")
    assert caught.value.__notes__ == ["svcca: x is layer '0'"]


def test_one_sample_and_no_baseline_are_refused():
    with pytest.raises(SampleError, match="data for Every: expected at least 2 samples; got 1"):
        svcca.directions(net(), inputs(1), "fc")
    found = svcca.directions(net(), inputs(), "fc")
    with pytest.raises(UnknownOptionError, match="baseline of 'fc': expected kind to be one of pca, "):
        found.baseline("largest")
    with pytest.raises(InputError, match="expected k from 0 to 7, the width of the layer; got 8") as caught:
        found.projection(8)
    assert caught.value.__notes__ == ["svcca: layer 'fc', principal directions"]


def test_a_layer_that_changes_its_size_is_refused():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU())
    data = [torch.randn(5, 1, 4, 4), torch.randn(5, 1, 6, 6)]
    with pytest.raises(InputError, match=r"32 features, as in the first batch; got 72. The layer's size changes"):
        svcca.directions(model, data, "0", observe="flatten")
    assert svcca.directions(model, data, "0").n_samples == 5 * 16 + 5 * 36


@pytest.mark.parametrize("against", ["pca", "logits", "random_directions"])
def test_fewer_rows_than_features_are_warned_of_once(against):
    text = r"^directions: expected as many rows as a layer has features, or more; got 6 for the 7 of 'fc'. .* more data"
    with pytest.warns(SvccaWarning, match=text) as caught:
        svcca.directions(net(), inputs(6), "fc", against=against)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    svcca.directions(net(), inputs(7), "fc", against=against)


def test_single_neurons_and_positions_of_few_samples_are_no_reason_to_warn():
    svcca.directions(net(), inputs(6), "fc", against="largest_activation")
    svcca.directions(net(), inputs(2), "conv")


def test_an_empty_loader_is_refused():
    with pytest.raises(SampleError, match="at least 2 samples; got 0"):
        svcca.directions(net(), [], "fc")


def test_a_complex_layer_is_refused():
    class Spectrum(nn.Module):
        def __init__(self):
            super().__init__()
            self.to_complex = Complex()

        def forward(self, x):
            return self.to_complex(x)

    class Complex(nn.Module):
        def forward(self, x):
            return torch.fft.fft(x)

    with pytest.raises(InputError, match="directions of 'to_complex': expected a real layer; got a complex one"):
        svcca.directions(Spectrum(), torch.randn(20, 3), "to_complex")
