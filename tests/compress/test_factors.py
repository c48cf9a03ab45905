import itertools

import pytest
import torch
from torch import nn

from svcca.compress.factors import check_compressible, factorised, folded, n_groups, weights_at
from svcca.core.directions import Directions, Projection
from svcca.core.moments import Moments
from svcca.errors import InputError

CONVOLUTIONS = {
    "padded": {"padding": 1},
    "strided": {"padding": 2, "stride": 2},
    "dilated": {"padding": 2, "dilation": 2},
    "grouped": {"padding": 1, "groups": 2},
    "unpadded": {},
    "same": {"padding": "same"},
    "valid": {"padding": "valid", "groups": 3},
    "circular": {"padding": 1, "padding_mode": "circular"},
    "reflected": {"padding": 1, "padding_mode": "reflect", "groups": 2},
    "replicated": {"padding": 1, "padding_mode": "replicate"},
    "without bias": {"padding": 1, "bias": False},
    "rectangular": {"kernel_size": (1, 3), "padding": (0, 1)},
    "pointwise": {"kernel_size": 1},
}


def inputs(*shape):
    """Inputs with a mean, or an error in the bias would not show."""
    return torch.randn(*shape, dtype=torch.float64) + 3


def projections_of(rows, groups, k):
    parts = rows.chunk(groups, dim=1)
    return [Directions.random(Moments.from_rows(p), torch.Generator().manual_seed(0)).projection(k) for p in parts]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("k", [1, 3, 7])
def test_factors_of_a_linear_layer_give_what_it_gives_for_projected_inputs(bias, k):
    layer, x = nn.Linear(7, 5, bias=bias).double(), inputs(40, 7)
    (projection,) = projections_of(x, 1, k)
    factors = factorised(layer, [projection])
    tokens = inputs(3, 4, 7)
    assert torch.allclose(factors(tokens), layer(projection(tokens)), rtol=0, atol=1e-10)
    assert [tuple(f.weight.shape) for f in factors] == [(k, 7), (5, k)]


@pytest.mark.parametrize("kind", list(CONVOLUTIONS))
@pytest.mark.parametrize("k", [1, 2])
def test_factors_of_a_convolution_give_what_it_gives_for_projected_maps_up_to_the_border(kind, k):
    options = {"kernel_size": 3, **CONVOLUTIONS[kind]}
    layer, maps = nn.Conv2d(6, 12, **options).double(), inputs(5, 6, 7, 8)
    groups = n_groups(layer)
    projections = projections_of(maps.permute(0, 2, 3, 1).reshape(-1, 6), groups, k)
    parts = maps.permute(0, 2, 3, 1).chunk(groups, dim=3)
    projected = torch.cat([p(part) for p, part in zip(projections, parts, strict=True)], 3).permute(0, 3, 1, 2)
    factors = factorised(layer, projections)
    assert torch.allclose(factors(maps), layer(projected), rtol=0, atol=1e-10)
    assert sum(factor.weight.numel() for factor in factors) == weights_at(layer, k)


@pytest.mark.parametrize("kind", list(CONVOLUTIONS))
def test_with_all_directions_a_convolution_is_itself(kind):
    options = {"kernel_size": 3, **CONVOLUTIONS[kind]}
    layer, maps = nn.Conv2d(6, 12, **options).double(), inputs(5, 6, 7, 8)
    groups = n_groups(layer)
    projections = projections_of(maps.permute(0, 2, 3, 1).reshape(-1, 6), groups, 6 // groups)
    assert torch.allclose(factorised(layer, projections)(maps), layer(maps), rtol=0, atol=1e-10)


@pytest.mark.parametrize("bias", list(itertools.product([True, False], repeat=2)))
def test_a_factor_taken_into_the_layer_before_changes_nothing(bias):
    before, layer = nn.Linear(4, 7, bias=bias[0]).double(), nn.Linear(7, 5, bias=bias[1]).double()
    x = inputs(30, 4)
    factors = factorised(layer, projections_of(before(x).detach(), 1, 3))
    new, second = folded(before, factors)
    assert torch.allclose(second(new(x)), factors(before(x)), rtol=0, atol=1e-10)
    assert (new.out_features, second.in_features) == (3, 3)
    assert (new.bias is None) == (before.bias is None)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_factors_have_the_dtype_and_mode_of_the_layer_and_draw_nothing(dtype):
    layer = nn.Linear(7, 5).to(dtype).eval()
    generator = torch.get_rng_state()
    factors = factorised(layer, [Projection(torch.zeros(7), torch.eye(7)[:, :2], torch.eye(7)[:2])])
    assert {parameter.dtype for parameter in factors.parameters()} == {dtype}
    assert not factors.training
    assert torch.equal(torch.get_rng_state(), generator)


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (nn.ReLU(), r"compress 'x': expected a Linear or Conv2d layer; got ReLU\. Name the layers inside it"),
        (nn.Conv1d(2, 2, 1), "got Conv1d"),
        (nn.Conv2d(4, 8, 3, groups=4), "more than one input channel a group; got a depthwise convolution"),
        (nn.Linear(3, 3, device="meta"), "floating-point weights; got weights without values"),
    ],
)
def test_what_cannot_be_compressed_is_refused_with_the_reason(layer, text):
    with pytest.raises(InputError, match=text):
        check_compressible("x", layer)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_quantised_layer_is_refused_with_the_reason():
    net = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(4, 4)), {nn.Linear})
    with pytest.raises(InputError, match=r"Quantised weights cannot be factorised\. Compress before quantisation"):
        check_compressible("0", net[0])
