"""How often networks are run to measure layers, and on how many rows."""

import contextlib

import pytest
import torch
from torch import nn

import svcca
from compress.compressible import convolutional, dense, images, output
from svcca.compress import compression_curve, layer_inputs
from svcca.compress.layer_inputs import OriginalLogits, group_moments, input_moments, inputs_of_other
from svcca.core.moments import JointMoments
from svcca.errors import InputError, LayerError, SvccaWarning


@contextlib.contextmanager
def counted(model):
    """Forward passes of a network and of its copies."""
    calls = []
    handle = model.register_forward_pre_hook(lambda *_: calls.append(1))
    yield calls
    handle.remove()


def passes(model, data, **options):
    with counted(model) as calls:
        smaller = svcca.compress(model, data.split(100), **options)
    return smaller, (len(calls) - 1) / 3  # one batch finds the order of layers


def ranks_in(model, names):
    return {name: model.get_submodule(name)[0].out_features for name in names}


def test_the_first_layer_is_measured_once_where_a_budget_was_made():
    model, data, layers = dense(), images(300, 6), ["2", "5"]
    smaller, n_passes = passes(model, data, layers=layers, ratio=0.6)
    again, n_anew = passes(model, data, layers=layers, ranks=ranks_in(smaller, layers))
    assert (n_passes, n_anew) == (2, 2)
    assert torch.allclose(output(smaller, data), output(again, data), rtol=0, atol=1e-10)


def test_a_first_layer_that_is_left_whole_is_not_taken_for_another():
    model, data, layers = dense(), images(300, 6), ["0", "5"]
    smaller, n_passes = passes(model, data, layers=layers, ratio=0.97)
    assert isinstance(smaller[0], nn.Linear)
    again = svcca.compress(model, data, layers="5", ranks=ranks_in(smaller, ["5"]))
    assert n_passes == 2
    assert torch.allclose(output(smaller, data), output(again, data), rtol=0, atol=1e-10)


def test_the_original_is_run_once_for_its_logits_however_many_layers(monkeypatch):
    model, data, layers = dense(), images(300, 6), ["0", "2", "5"]
    smaller, n_passes = passes(model, data, layers=layers, ranks=3, against="logits")
    assert n_passes == 3 + 1
    monkeypatch.setattr(layer_inputs, "KEPT_BYTES", 100 * 3 * 8)  # of one batch in three
    again, n_more = passes(model, data, layers=layers, ranks=3, against="logits")
    assert n_more == pytest.approx(3 + 1 / 3 + 3 * 2 / 3)
    assert torch.allclose(output(smaller, data), output(again, data), rtol=0, atol=1e-10)


def few(text):
    return pytest.warns(SvccaWarning, match=text)


def test_fewer_rows_than_inputs_are_warned_of_once_a_call():
    model, data = dense(), images(13, 6)
    text = (
        r"^compress: expected as many rows as a layer has inputs, or more; got 13 for the 16 of '2'. "
        "Directions are fitted to these rows, and what they leave out may matter to others. Pass more data"
    )
    for options in ({"ratio": 0.5}, {"ranks": 3}, {"max_loss": 1.0, "evaluate": lambda _: 1.0}):
        with few(text) as caught:
            svcca.compress(model, data, **options)
        assert len(caught) == 1
        assert caught[0].filename == __file__
    with few(r"got 5 for the 6 of '0', 5 for the 16 of '2', 5 for the 12 of '5'\. ") as caught:
        svcca.compress(model, data[:5], ranks=3, against="pca")
    assert len(caught) == 1


def test_rows_count_and_not_samples_and_the_weights_alone_need_none():
    svcca.compress(convolutional(), images(2, 2, 5, 5), layers=["0", "2", "4"], ranks=2, against="pca")
    svcca.compress(dense(), images(3, 6), ranks=3, against="weights")


def test_a_curve_warns_of_few_rows_once_and_records_it():
    with few("got 13 for the 16 of '2'") as caught:
        curve = compression_curve(dense(), images(13, 6), lambda _: 1.0, ratios=(0.8, 0.6), against=("pca", "pls"))
    assert len(caught) == 1
    assert len(curve.warnings) == 1


class Words(nn.Module):
    """A language model in little: logits a token, behind a loss."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.hidden, self.head = nn.Linear(6, 8).double(), nn.Linear(8, 5).double()

    def forward(self, x):
        logits = self.head(torch.tanh(self.hidden(x)))
        return {"loss": logits.square().mean(), "logits": logits}


def test_logits_a_token_stand_beside_the_tokens_of_a_layer():
    model, data = Words(), images(80, 4, 6)
    with torch.no_grad():
        logits = model(data)["logits"]
    moments, joint = input_moments(model, ["head"], data.split(30), OriginalLogits(model, None), None, False)["head"]
    expected = JointMoments.from_rows(torch.tanh(model.hidden(data)).detach().flatten(0, 1), logits.flatten(0, 1))
    assert moments.n_samples == 320
    assert torch.allclose(joint.cross_scatter, expected.cross_scatter, rtol=0, atol=1e-9)
    assert torch.allclose(joint.y.scatter, expected.y.scatter, rtol=0, atol=1e-9)


def test_each_layer_stands_beside_the_inputs_of_the_same_layer_in_another_model():
    model, other, data = dense(), dense(5), images(80, 6)
    given = inputs_of_other(other, ["2", "5"], None)
    found = input_moments(model, ["2", "5"], data.split(30), given, None, False)
    with torch.no_grad():
        for name, n_before in (("2", 2), ("5", 5)):
            expected = JointMoments.from_rows(model[:n_before](data), other[:n_before](data))
            assert torch.allclose(found[name][1].cross_scatter, expected.cross_scatter, rtol=0, atol=1e-9)


def test_targets_over_other_positions_are_refused():
    class Turned(Words):
        def forward(self, x):
            return super().forward(x)["logits"][:, :3]

    model, data = Turned(), images(80, 4, 6)
    with pytest.raises(
        InputError, match=r"inputs of Turned 'head', batch 0: expected a target over the same positions"
    ):
        svcca.compress(model, data, layers="head", ranks=2, against="logits")


def test_a_target_wider_than_is_worth_it_is_refused(monkeypatch):
    monkeypatch.setattr(layer_inputs, "WIDEST_TARGET", 2)
    with pytest.raises(InputError, match=r"compress '2': expected a target of at most 2 columns; got 3\. Pass"):
        svcca.compress(dense(), images(300, 6), layers="2", ranks=2, against="logits")


def test_a_convolution_that_is_given_single_maps_is_refused():
    model = nn.Sequential(nn.Conv2d(3, 4, 3)).double()
    with pytest.raises(
        InputError, match=r"compress '0': expected maps \(n_samples, .*as its inputs; got shape \(3, 5, 5\)"
    ):
        svcca.compress(model, [images(3, 5, 5)], ranks=2)


def test_a_layer_that_runs_twice_in_the_data_that_are_measured_is_refused():
    class Sometimes(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(6, 6).double()

        def forward(self, x):
            return self.fc(x if len(x) > 20 else self.fc(x))

    with pytest.raises(LayerError, match=r"compress Sometimes: expected a layer that runs once .*; got 'fc#1'"):
        input_moments(Sometimes(), ["fc"], images(20, 6).split(10), None, None, False)


def test_each_group_of_a_convolution_has_its_own_inputs_beside_the_targets():
    model, data = convolutional(), images(40, 2, 5, 5)
    found = input_moments(model, ["2"], [data], OriginalLogits(model, None), None, False)["2"]
    with torch.no_grad():
        maps, logits = model[:2](data).permute(0, 2, 3, 1), model(data)
    for group, (x, joint) in enumerate(group_moments(found, model[2])):
        rows = maps[..., 4 * group : 4 * group + 4].reshape(-1, 4)
        expected = JointMoments.from_rows(rows, logits.repeat_interleave(25, dim=0))
        assert x is joint.x
        assert torch.allclose(x.scatter, expected.x.scatter, rtol=0, atol=1e-9)
        assert torch.allclose(joint.cross_scatter, expected.cross_scatter, rtol=0, atol=1e-9)
