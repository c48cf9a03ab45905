from collections import OrderedDict

import pytest
import torch
from torch import nn

import svcca
from compress.compressible import KINDS, bert, convolutional, dense, images, output
from svcca.errors import FileError


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("suffix", [None, ".pt", ".safetensors"])
def test_weights_are_loaded_into_a_fresh_network(kind, suffix, tmp_path):
    from safetensors.torch import save_file

    make, data = KINDS[kind]
    model, data = make(), data()
    smaller = svcca.compress(model, data, ratio=0.5)
    state = smaller.state_dict()
    if suffix:
        path = tmp_path / f"smaller{suffix}"
        torch.save(state, path) if suffix == ".pt" else save_file(state, path)
        state = path
    fresh = make(seed=9)
    loaded = svcca.load_compressed(fresh, state)
    assert torch.equal(output(loaded, data), output(smaller, data))
    assert loaded is not fresh


def test_folded_weights_are_loaded_too():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 20, bias=False), nn.Linear(20, 20, bias=False), nn.Linear(20, 2)).double()
    data = images(300, 6)
    smaller = svcca.compress(model, data, ranks=4, against="pca")
    loaded = svcca.load_compressed(model, smaller.state_dict())
    assert torch.equal(output(loaded, data), output(smaller, data))


def test_weights_of_another_network_are_refused():
    with pytest.raises(FileError, match="weights of a compressed network: expected weights of the model's shapes"):
        svcca.load_compressed(dense(), convolutional().state_dict())
    with pytest.raises(FileError, match=r"the model's own weights; got missing .*; unexpected bert"):
        svcca.load_compressed(dense(), bert().state_dict())


def test_weights_of_a_parallel_wrapper_are_loaded():
    model, data = dense(), images(300, 6)
    smaller = svcca.compress(model, data, ratio=0.5)
    state = nn.DataParallel(smaller).state_dict()
    assert all(name.startswith("module.") for name in state)
    assert torch.equal(output(svcca.load_compressed(dense(seed=9), state), data), output(smaller, data))
    compiled = {f"_orig_mod.{name}": tensor for name, tensor in state.items()}
    assert torch.equal(output(svcca.load_compressed(dense(seed=9), compiled), data), output(smaller, data))


@pytest.mark.parametrize("name", ["0", "module"])
def test_a_model_of_one_layer_is_not_taken_for_its_wrapper(name):
    model, data = nn.Sequential(OrderedDict({name: nn.Linear(20, 20).double()})), images(300, 20)
    smaller = svcca.compress(model, data, ranks=4)
    assert torch.equal(output(svcca.load_compressed(model, smaller.state_dict()), data), output(smaller, data))
