"""What is kept of maps between two steps: packed and unpacked."""

import torch

from svcca.core.subspace import SVDStep
from svcca.fourier.kept import KeptMaps

MAPS = torch.randn(40, 3, 4, 4, generator=torch.Generator().manual_seed(0))


def misaligned(tensor):
    """The same values eight bytes past where complex arithmetic wants them, as in a file."""
    buffer = torch.empty(8 + 8 + tensor.numel() * tensor.itemsize, dtype=torch.uint8)
    start = 8 + (-buffer.data_ptr()) % 16 if (buffer.data_ptr() + 8) % 16 == 0 else 8
    part = buffer[start : start + tensor.numel() * tensor.itemsize].view(tensor.dtype).reshape(tensor.shape)
    return part.copy_(tensor)


def test_directions_of_a_file_are_read_into_aligned_memory():
    kept = KeptMaps.of({"conv": MAPS}, SVDStep())
    tensors, plain = kept.packed()
    vectors = misaligned(tensors["0.vectors"])
    assert vectors.data_ptr() % 16
    again = KeptMaps.unpacked({**tensors, "0.vectors": vectors}, plain)
    assert again.subspaces[0].vectors.data_ptr() % 16 == 0
    for name in ("rank", "total_variance", "gap", "n_features", "nuclear_norm"):
        assert getattr(again.subspaces[0], name) == getattr(kept.subspaces[0], name)
    assert torch.equal(again.subspaces[0].directions, kept.subspaces[0].directions)
    values = again.pairs(kept).pair(0, 0).correlations
    torch.testing.assert_close(values, torch.ones_like(values))
