"""Projecting a layer's output in the forward pass: every layer type, against NumPy; always undone; what is refused."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

import svcca
from project.nets import inputs, least_squares, net, outputs, rows
from svcca.errors import InputError, LayerError, UnknownOptionError
from svcca.project.project import Restriction, restricted

PLACES = {
    "conv": ("conv", "pixels"),
    "flattened conv": ("conv", "flatten"),
    "tokens": ("tokens", "tokens"),
    "tuple": ("recurrent", "tokens"),
    "fc": ("fc", "flatten"),
}
every_place = pytest.mark.parametrize("place", PLACES)


def found_in(model, place, x=None, **options):
    layer, rule = PLACES[place]
    return svcca.directions(model, inputs(400) if x is None else x, layer, observe=rule, **options)


def seen(model, layer, x):
    """What comes out of a layer in a forward pass, after every hook that was there before."""
    kept = []
    handle = model.get_submodule(layer).register_forward_hook(lambda module, args, output: kept.append(output))
    model.eval()
    with torch.no_grad():
        model(x)
    handle.remove()
    model.train()
    return kept[0][0] if isinstance(kept[0], tuple) else kept[0]


@every_place
@pytest.mark.parametrize("form", ["data", "orthonormal"])
@pytest.mark.parametrize("against", ["logits", "pca", "random_neurons"])
def test_the_layer_puts_out_its_projection_and_nothing_else_changes(place, form, against):
    model, x = net(), inputs(60, seed=9)
    layer, rule = PLACES[place]
    found = found_in(model, place, against=against)
    before = outputs(model, x)[layer]
    for k in (0, 1, found.n_features // 2, found.n_features - 1):
        with svcca.project(model, layer, found, k, form=form):
            after = seen(model, layer, x)
        expected = found.projection(k, form)(torch.tensor(rows(before, rule))).numpy()
        assert rows(after.double().numpy(), rule) == pytest.approx(expected, abs=2e-4)
        assert after.shape == before.shape
        assert after.dtype == torch.float32


@every_place
def test_the_data_form_is_least_squares_on_the_coordinates_of_the_samples(place):
    model, x = net(), inputs(400)
    layer, rule = PLACES[place]
    found = found_in(model, place, x, against="logits")
    ours = rows(outputs(model, x)[layer], rule)
    with svcca.project(model, layer, found, 2):
        after = rows(seen(model, layer, x).double().numpy(), rule)
    coordinates = (ours - ours.mean(0)) @ found.directions.encoder[:, :2].numpy()
    assert after == pytest.approx(least_squares(ours, coordinates), abs=2e-4)


@every_place
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_all_directions_are_the_identity(place, dtype):
    model, x = net(dtype=dtype), inputs(400).to(dtype)
    found = found_in(model, place, x, against="logits" if dtype.itemsize > 2 else "pca")
    model.eval()
    plain = model(x)
    with svcca.project(model, PLACES[place][0], found, found.n_features):
        assert torch.equal(model(x), plain)


@pytest.mark.parametrize("place", [place for place in PLACES if place != "flattened conv"])  # its last one does vary
def test_one_direction_less_than_all_is_near_the_identity_where_nothing_varies_along_it(place):
    model, x = net(dtype=torch.float64), inputs(400).double()
    layer = PLACES[place][0]
    with torch.no_grad():
        if layer == "recurrent":
            model.recurrent.weight_hh_l0.zero_()
            model.recurrent.weight_ih_l0[1::4] = model.recurrent.weight_ih_l0[::4]
            model.recurrent.bias_ih_l0[1::4] = model.recurrent.bias_ih_l0[::4]
            model.recurrent.bias_hh_l0[1::4] = model.recurrent.bias_hh_l0[::4]
        else:
            model.get_submodule(layer).weight[1] = model.get_submodule(layer).weight[0]
    found = found_in(model, place, x)
    model.eval()
    plain = model(x)
    with svcca.project(model, layer, found, found.n_features - 1):
        assert torch.allclose(model(x), plain, rtol=0, atol=1e-6)
    with svcca.project(model, layer, found, 1):
        assert not torch.allclose(model(x), plain, rtol=0, atol=1e-6)


@every_place
@pytest.mark.parametrize("form", ["data", "orthonormal"])
def test_projecting_twice_is_projecting_once(place, form):
    model, x = net(dtype=torch.float64), inputs(60).double()
    layer = PLACES[place][0]
    found = found_in(model, place, against="logits", forward=lambda model, x: model(x.double()))
    for k in (1, found.n_features - 1):
        with svcca.project(model, layer, found, k, form=form):
            once = seen(model, layer, x)
            with svcca.project(model, layer, found, k, form=form):
                twice = seen(model, layer, x)
        assert torch.allclose(once, twice, rtol=0, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@every_place
def test_half_precision_is_computed_in_float32_and_given_back(place, dtype):
    model, x = net(dtype=dtype), inputs(400).to(dtype)
    layer, rule = PLACES[place]
    found = found_in(model, place, x)
    before = torch.tensor(rows(outputs(model, x)[layer], rule))
    with svcca.project(model, layer, found, 2):
        after = seen(model, layer, x)
    assert after.dtype == dtype
    exact = found.projection(2)(before)
    eps = torch.finfo(dtype).eps
    assert torch.allclose(torch.tensor(rows(after.double().numpy(), rule)), exact, rtol=eps, atol=eps / 4)


def test_autocast_does_not_reach_into_the_projection():
    model, x = net(), inputs(400)
    found = found_in(model, "fc", x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        before = outputs(model, x)["fc"]
        with svcca.project(model, "fc", found, 3):
            after = seen(model, "fc", x)
    assert after.dtype == torch.bfloat16
    exact = found.projection(3)(torch.tensor(before))
    assert torch.allclose(after.double(), exact, rtol=2**-7, atol=1e-3)  # an eps of bfloat16


@every_place
def test_a_channels_last_map_and_views_of_the_output_do(place):
    model, x = net().to(memory_format=torch.channels_last), inputs(60).to(memory_format=torch.channels_last)
    found = found_in(model, place)
    with svcca.project(model, PLACES[place][0], found, 2):
        after = seen(model, PLACES[place][0], x)
    assert after.view(-1).shape == (after.numel(),)


def test_several_layers_at_once():
    model, x = net(), inputs(60)
    first, second = found_in(model, "conv"), found_in(model, "fc")
    with svcca.project(model, "conv", first, 2), svcca.project(model, "fc", second, 3):
        nested = model.eval()(x)
    with svcca.project(model, {"conv": (first, 2), "fc": (second, 3)}) as given:
        assert given is model
        assert torch.equal(model(x), nested)
    assert not torch.allclose(model(x), nested)


def state(model):
    hooks = [(len(module._forward_hooks), len(module._forward_pre_hooks)) for module in model.modules()]
    values = {name: value.clone() for name, value in model.state_dict().items()}
    return values, hooks, [module.training for module in model.modules()], torch.get_rng_state()


def same(before, after):
    tensors = all(torch.equal(value, after[0][name]) for name, value in before[0].items())
    return tensors and before[1:3] == after[1:3] and torch.equal(before[3], after[3])


@every_place
def test_the_model_is_bit_identical_afterwards_and_after_an_exception(place):
    model, x = net(), inputs(60)
    layer, found = PLACES[place][0], found_in(model, place)
    model.eval()
    before, plain = state(model), model(x)
    with svcca.project(model, layer, found, 1):
        model(x)
    assert same(before, state(model))
    with (
        pytest.raises(KeyError),
        svcca.project(model, {layer: (found, 1), "out": (svcca.directions(model, x, "out"), 1)}),
    ):
        raise KeyError("in the block")
    assert same(before, state(model))
    with pytest.raises(RuntimeError), svcca.project(model, layer, found, 1):
        model(x[:, :1])  # in the forward pass
    assert same(before, state(model))
    assert torch.equal(model(x), plain)


def test_gradients_flow_through_the_projection():
    model, x = net(dtype=torch.float64).eval(), inputs(20).double()
    found = found_in(model, "fc", inputs(400).double())
    projection = found.projection(2)
    with svcca.project(model, "fc", found, 2):
        model.fc(torch.zeros(1, 64, dtype=torch.float64))
        states = torch.randn(5, 64, dtype=torch.float64, requires_grad=True)
        model.fc(states).sum().backward()
        expected = model.fc.weight.T @ (projection.encoder @ projection.decoder).sum(dim=1)
        assert torch.allclose(states.grad, expected.expand(5, -1), atol=1e-10)
        model(x).sum().backward()
    assert model.conv.weight.grad.abs().sum() > 0
    assert torch.autograd.gradcheck(
        lambda z: Restriction("fc", found, 2)(model.fc, (), z), torch.randn(3, 7).double().requires_grad_()
    )


def test_gradients_flow_through_maps():
    model, x = net().eval(), inputs(20)
    with svcca.project(model, "conv", found_in(model, "conv"), 2):
        model(x).sum().backward()
    assert model.conv.weight.grad.abs().sum() > 0


def test_the_other_tensors_of_an_output_stay():
    model, x = net(), torch.randn(5, 16, 4)
    found = found_in(model, "tuple")
    _, (hidden, cell) = model.recurrent(x)
    with svcca.project(model, "recurrent", found, 1):
        _, others = model.recurrent(x)
    assert torch.equal(others[0], hidden)
    assert torch.equal(others[1], cell)


def test_one_tensor_of_several_can_be_named():
    model, x = net(), inputs(400)
    found = svcca.directions(model, x, "recurrent:0")
    with svcca.project(model, "recurrent:0", found, 4):
        assert torch.equal(model.eval()(x), net_with_same(model)(x))
    with svcca.project(model, "recurrent:0", found, 1):
        assert np.linalg.matrix_rank(seen(model, "recurrent", x).flatten(0, 1).double().numpy(), tol=1e-4) <= 2


def net_with_same(model):
    twin = net().eval()
    twin.load_state_dict(model.state_dict())
    return twin


def test_units_that_are_not_kept_are_set_to_their_mean():
    model, x = net(), inputs(400)
    found = found_in(model, "fc", x, against="logits")
    units = torch.tensor([True, False, True, False, False, True, False])
    for k in (2, 5):
        with restricted(model, {"fc": Restriction("fc", found, k, units=units)}):
            after = seen(model, "fc", x).double()
        projected = found.projection(k)(torch.tensor(outputs(model, x)["fc"]))
        assert torch.allclose(after[:, units], projected[:, units], atol=1e-4)
        assert torch.allclose(after[:, ~units], found.measured.moments.mean[~units].expand(400, -1), atol=1e-6)


def test_a_wrapped_model_is_projected():
    model = nn.DataParallel(net())
    x = inputs(60)
    found = svcca.directions(model, x, "fc")
    with svcca.project(model, "fc", found, 1):
        projected = model.eval()(x)
    assert not torch.allclose(projected, model(x))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@every_place
def test_on_a_gpu_it_is_the_same(place):
    model, x = net(), inputs(60)
    found = found_in(model, place)
    with svcca.project(model.eval(), PLACES[place][0], found, 2):
        here = model(x)
        there = model.cuda()(x.cuda()).cpu()
    assert torch.allclose(here, there, atol=1e-4)


def refuse(model, found):
    other = dataclasses.replace(found, layer="out")
    flattened = dataclasses.replace(svcca.directions(model, inputs(), "conv", observe="flatten"), layer="fc")
    return {
        "no layer": (("fcc", dataclasses.replace(found, layer="fcc"), 2), LayerError, "got 'fcc'. Closest: fc"),
        "too many": (("fc", found, 8), InputError, "expected k from 0 to 7, the width of the layer; got 8"),
        "negative": (("fc", found, -1), InputError, "expected k from 0 to 7"),
        "another layer": (
            ("out", found, 2),
            InputError,
            "project 'out': expected directions of that layer; got those of 'fc'",
        ),
        "another width": (
            ("out", other, 2),
            InputError,
            r"\(n_samples, 7\).*got shape \(150, 3\). They are of another",
        ),
        "another rule": (
            ("fc", flattened, 2),
            InputError,
            r"\(n_samples, 5, 4, 4\), as .* by 'flatten'; got shape \(150, 7",
        ),
        "tokens": (
            ("fc", dataclasses.replace(found, observation="tokens"), 2),
            InputError,
            r"\(n_samples, n_tokens, 7\), as the directions were found on by 'tokens'; got shape \(150, 7\)",
        ),
        "pixels": (
            ("fc", dataclasses.replace(found, observation="pixels"), 2),
            InputError,
            r"\(n_samples, 7, \*positions\), as .* by 'pixels'; got shape \(150, 7\)",
        ),
        "form": (("fc", found, 2, "oblique"), UnknownOptionError, "form to be one of data, orthonormal; got 'oblique'"),
        "no k": (("fc", found), InputError, "expected a layer with directions and k; got no k for 'fc'"),
        "no directions": (("fc", None, 3), InputError, "got no directions for 'fc'"),
        "core's": (("fc", found.directions, 3), InputError, "expected what svcca.directions returns; got Directions"),
        "both": (({"fc": (found, 2)}, found, 2), InputError, "a layer, its directions and k; got both"),
        "path": (
            ("fc:1", dataclasses.replace(found, layer="fc:1"), 2),
            LayerError,
            "an output with that tensor; got tensors ''",
        ),
    }


@pytest.mark.parametrize("case", refuse(net(), svcca.directions(net(), inputs(), "fc")))
def test_what_cannot_be_is_refused_and_leaves_nothing_behind(case):
    model = net()
    arguments, kind, text = refuse(model, svcca.directions(model, inputs(), "fc"))[case]
    before = state(model.eval())
    with pytest.raises(kind, match=text), svcca.project(model, *arguments):
        model(inputs())
    assert same(before, state(model))


def test_a_layer_that_never_ran_is_an_error_at_the_end():
    class Branch(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.use_two = nn.Linear(3, 4), nn.Linear(3, 4), True

        def forward(self, x):
            return self.two(x) if self.use_two else self.one(x)

    model, x = Branch(), torch.randn(20, 3)
    found = svcca.directions(model, x, "two")
    model.use_two = False
    with (
        pytest.raises(LayerError, match="expected a call of every layer while the model ran; got none of 'two'"),
        svcca.project(model, "two", found, 2),
    ):
        model(x)
    with svcca.project(model, "two", found, 2):
        pass  # nothing ran: nothing was missed


def test_an_output_without_a_tensor_is_refused():
    restriction = Restriction("fc", svcca.directions(net(), inputs(), "fc"), 2)
    with pytest.raises(LayerError, match="project 'fc': expected an output with that tensor; got NoneType"):
        restriction(nn.Identity(), (), None)
