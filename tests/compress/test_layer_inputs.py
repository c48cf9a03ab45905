"""How often networks are run to measure layers, and on how many rows."""

import contextlib

import pytest
import torch
from torch import nn

import svcca
from compress.compressible import convolutional, dense, images, output
from svcca.compress import layer_inputs
from svcca.errors import SvccaWarning


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
        curve = svcca.compression_curve(
            dense(), images(13, 6), lambda _: 1.0, ratios=(0.8, 0.6), against=("pca", "pls")
        )
    assert len(caught) == 1
    assert len(curve.warnings) == 1
