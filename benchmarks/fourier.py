"""Time convolutional layers by spatial frequency: one pair of maps, and a whole net against another."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn

import svcca
from benchmarks import literal
from benchmarks.work import Size, Values, Work
from svcca.fourier.frequencies import FrequencyGrid

PAIR = {"quick": (120, 8, 8), "full": (1_000, 64, 32)}
"""Images, channels, size of the square maps."""
NET = {"quick": (64, 4), "full": (2_000, 64)}
"""Images, width of the net."""
BATCH = 125
FLOOR_BATCH = 50
LAYERS = ["conv1", "conv2", "bn1", "pool1", "conv3", "conv4", "conv5", "bn2", "pool2", "fc1", "fc2", "out"]


def fourier(size: Size) -> Work:
    """Time SVCCA of two layers of maps over all their shifts, without flattening."""
    n, c, side = PAIR[size]
    x, y = smooth_maps(n, c, side)
    width = c * side**2
    return Work(
        what=f"{n:,} x {c} x {side} x {side}",
        ours=lambda: {"svcca": svcca.fourier.fourier_cca(x, y).similarity},
        floor=_pair_floor(x, y),
        literal=lambda _: {"svcca": literal.fourier_svcca(x, y)},
        tolerance=1e-4,
        bound=2,
        notes=(
            f"Flattened, the covariance would be {width:,} x {width:,}, {8 * width**2 / 2**30:,.2g} GiB per layer. The "
            "literal version computes the SVD and CCA of every frequency in turn, and the DFT in float64.",
        ),
    )


def fourier_net(size: Size) -> Work:
    """Time twelve layers of the paper's conv net against those of another seed, from the live nets."""
    n, width = NET[size]
    nets = [paper_net(seed, width) for seed in (0, 1)]
    images, _ = smooth_maps(min(n, 250), 3, 32)
    batches = [images[i % len(images) : i % len(images) + BATCH] for i in range(0, n, BATCH)]

    def ours() -> Values:
        matrix = svcca.compare(*nets, batches, layers=LAYERS, observe="fourier", progress=False)
        return {"conv1 x conv1": float(matrix.values[0, 0])}

    def passes() -> object:
        with torch.no_grad():
            return [net(batch).sum() for batch in batches for net in nets]

    maps = [net[:1](torch.cat(batches)).detach() for net in nets]
    return Work(
        what=f"{n:,} images, 12 x 12 layers of width {width}",
        ours=ours,
        floor=passes,
        literal=lambda _: {"conv1 x conv1": literal.fourier_svcca(*maps)},
        literal_calls=144,
        tolerance=1e-4,
        warm_up=False,
        notes=("The floor is only the forward passes; the literal version is timed on one pair of the largest maps.",),
    )


def smooth_maps(n: int, c: int, side: int) -> tuple[Tensor, Tensor]:
    """Draw two layers of maps, float32, that share part of their variation, with a spectrum like natural images'."""
    generator = torch.Generator().manual_seed(4)
    grid = torch.fft.fftfreq(side)[:, None].square() + torch.fft.rfftfreq(side).square()
    decay = 1 / (1 / side + grid.sqrt())

    def drawn() -> Tensor:
        noise = torch.randn(n, c, side, side, generator=generator)
        maps = torch.fft.irfft2(torch.fft.rfft2(noise) * decay, s=(side, side))
        return torch.einsum("nc...,cd->nd...", maps, torch.randn(c, c, generator=generator) / c**0.5)

    shared = drawn()
    return shared + drawn(), shared + drawn()


def paper_net(seed: int, width: int) -> nn.Sequential:
    """Build the conv net of the paper (width 64), untrained."""
    torch.manual_seed(seed)

    def conv(c_in: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(c_in, width, 3, padding=1), nn.ReLU())

    flat = nn.Sequential(nn.Flatten(), nn.Linear(64 * width, 8 * width), nn.ReLU())
    layers = OrderedDict(conv1=conv(3), conv2=conv(width), bn1=nn.BatchNorm2d(width), pool1=nn.MaxPool2d(2))
    layers |= OrderedDict(conv3=conv(width), conv4=conv(width), conv5=conv(width), bn2=nn.BatchNorm2d(width))
    layers |= OrderedDict(
        pool2=nn.MaxPool2d(2), fc1=flat, fc2=nn.Sequential(nn.Linear(8 * width, 4 * width), nn.ReLU())
    )
    layers |= OrderedDict(out=nn.Linear(4 * width, 10))
    return nn.Sequential(layers).eval()


def _pair_floor(x: Tensor, y: Tensor) -> Callable[[], object]:
    """Run the DFT, three products at each frequency, two eigendecompositions, two whitening products, and the SVDs."""
    grid = FrequencyGrid.of(tuple(x.shape[2:]))
    c = x.shape[1]

    def floor() -> object:
        xx, yy, xy = torch.zeros(3, grid.n_kept, c, c, dtype=torch.complex128)
        for parts in zip(x.split(FLOOR_BATCH), y.split(FLOOR_BATCH), strict=True):
            spectra = [torch.fft.rfftn(maps, dim=(2, 3), norm="ortho").flatten(2).permute(2, 0, 1) for maps in parts]
            a, b = (each.index_select(0, grid.half).to(torch.complex128) for each in spectra)
            a_conjugate, b_conjugate = a.conj_physical(), b.conj_physical()
            for out, left, right in ((xx, a_conjugate, a), (yy, b_conjugate, b), (xy, a_conjugate, b)):
                out.baddbmm_(left.mT, right)
        wx, wy = (vectors / values[:, None, :].sqrt() for values, vectors in map(torch.linalg.eigh, (xx, yy)))
        return torch.linalg.svdvals(wx.mH @ xy @ wy)

    return floor
