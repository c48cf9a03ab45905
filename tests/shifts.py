"""Equivariant layers over images closed under cyclic shifts, for which the Fourier way is exact; plain and slow."""

import itertools

import numpy as np

import reference as ref


def axes(maps):
    return tuple(range(2, maps.ndim))


def shifted(images, phases):
    """Every image under every cyclic shift by 0 to phases - 1 (one number, or one for each axis)."""
    n_axes = images.ndim - 2
    each = [phases] * n_axes if np.isscalar(phases) else phases
    steps = itertools.product(*(range(size) for size in each))
    return np.concatenate([np.roll(images, step, axes(images)) for step in steps])


def closed(images):
    """Every image under every cyclic shift there is."""
    return shifted(images, images.shape[2:])


def conv(images, kernel, stride=1):
    """Convolution with circular boundaries: kernel (c_out, c_in, *taps)."""
    out = 0.0
    for tap in itertools.product(*(range(size) for size in kernel.shape[2:])):
        rolled = np.roll(images, tuple(-step for step in tap), axes(images))
        out = out + np.einsum("oi,ni...->no...", kernel[(slice(None), slice(None), *tap)], rolled)
    return out[(slice(None), slice(None), *(slice(None, None, stride) for _ in axes(images)))]


class Layers:
    """Two circular conv layers, one after a non-linearity, of their own strides over the same images."""

    def __init__(self, seed, sizes, x_channels, y_channels, x_stride=1, y_stride=1, n=40):
        rng = np.random.default_rng(seed)
        self.images = rng.normal(size=(n, 4, *sizes)) + 2.0
        taps = [min(2, size) for size in sizes]
        self._kernels = [self._kernel(rng, channels, taps) for channels in (x_channels, y_channels)]
        self._strides = (x_stride, y_stride)

    @staticmethod
    def _kernel(rng, channels, taps):
        kernel = 0.2 * rng.normal(size=(channels, 4, *taps))
        kernel[(slice(None), slice(None), *(0 for _ in taps))] += ref.invertible(rng, 4, 2.0)[:channels]
        return kernel

    def x(self, images):
        return conv(images, self._kernels[0], self._strides[0])

    def y(self, images):
        return conv(images + np.tanh(images), self._kernels[1], self._strides[1])

    def over(self, images):
        return self.x(images), self.y(images)


def flat(maps):
    return maps.reshape(len(maps), -1)
