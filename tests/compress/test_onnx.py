import pytest
import torch

import svcca
from compress.compressible import bert, convolutional, images, output, tokens

pytest.importorskip("onnxscript", reason="torch.onnx.export needs onnx and onnxscript")
onnxruntime = pytest.importorskip("onnxruntime", reason="what is exported is run by onnxruntime")

# torch's own words on its way: they say nothing about the model.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


def exported(model, data, path):
    args, named = ((), data) if isinstance(data, dict) else ((data,), {})
    torch.onnx.export(model, args, path, kwargs=named, dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(path)
    values = list(data.values()) if isinstance(data, dict) else [data]
    names = [given.name for given in session.get_inputs()]
    return session.run(None, {name: value.numpy() for name, value in zip(names, values, strict=True)})[0]


@pytest.mark.parametrize("kind", ["convolutional", "bert"])
def test_a_compressed_network_is_exported_to_onnx_and_gives_the_same_there(kind, tmp_path):
    if kind == "bert":
        model, data = bert().float(), tokens()
        batch = {name: tensor[:4] for name, tensor in data.items()}
    else:
        model, data = convolutional().float(), images(150, 2, 5, 5).float()
        batch = data[:4]
    smaller = svcca.compress(model, data, ratio=0.6)
    found = torch.from_numpy(exported(smaller, batch, tmp_path / "smaller.onnx"))
    expected = output(smaller, batch)
    # float32, a few layers: some tens of roundings of the largest number.
    assert torch.allclose(
        found, expected, rtol=0, atol=100 * torch.finfo(torch.float32).eps * float(expected.abs().max())
    )
    assert not torch.allclose(found, output(model, batch), rtol=0, atol=1e-6)  # nor is it the original's
