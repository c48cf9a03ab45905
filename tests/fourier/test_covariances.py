"""Covariance of one channel between positions and between frequencies, against NumPy, and its picture."""

import numpy as np
import pytest

import svcca
from svcca.errors import InputError
from svcca.fourier.covariances import channel_covariances


def maps(seed, *shape):
    """Noise that is stronger in some columns than in others, and not about 0."""
    return np.random.default_rng(seed).normal(size=shape) * np.linspace(0.5, 1.5, shape[-1]) + 1


def test_the_covariance_between_positions_is_that_of_the_flattened_channel():
    x = maps(7, 100, 2, 3, 4)
    one = (x[:, 1] - x[:, 1].mean()).reshape(100, -1)
    np.testing.assert_allclose(channel_covariances(x, 1).positions, np.abs(one.T @ one) / 99, atol=1e-12)


def test_the_covariance_between_frequencies_is_that_of_the_spectra():
    x = maps(7, 100, 2, 3, 4)
    spectra = np.fft.fft2(x[:, 1] - x[:, 1].mean(), norm="ortho").reshape(100, -1)
    found = channel_covariances(x, 1)
    np.testing.assert_allclose(found.frequencies, np.abs(spectra.conj().T @ spectra) / 99, atol=1e-12)
    assert np.linalg.norm(found.positions) == pytest.approx(np.linalg.norm(found.frequencies))


def test_the_gap_is_over_all_channels():
    x = maps(7, 100, 2, 3, 4)
    assert channel_covariances(x, 1).gap == channel_covariances(x, 0).gap == svcca.fourier.translation_gap(x)


def test_maps_may_have_their_channels_last():
    x = maps(7, 100, 2, 3, 4)
    first, last = channel_covariances(x, 1), channel_covariances(np.moveaxis(x, 1, -1), 1, channels_last=True)
    np.testing.assert_array_equal(first.frequencies, last.frequencies)
    assert first.gap == last.gap


def test_a_channel_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="channel_covariances: expected a channel below 2; got 2"):
        channel_covariances(maps(7, 100, 2, 3, 4), 2)


@pytest.mark.parametrize("shape", [(20, 3), (20, 3, 1, 1)])
def test_what_has_one_position_has_no_covariance_between_positions(shape):
    with pytest.raises(InputError, match="channel_covariances: expected maps of several positions; got shape"):
        channel_covariances(np.random.default_rng(0).normal(size=shape))


def test_the_picture_shows_both_with_their_shares():
    found = channel_covariances(maps(2, 300, 2, 6, 6), channel=1)
    figure, (before, after) = found.plot()
    assert before.get_title(loc="left") == f"between positions: {found.gap.before:.0%} off the diagonal"
    assert after.get_title(loc="left") == f"between spatial frequencies: {found.gap.after:.0%} off the diagonal"
    for ax, values in ((before, found.positions), (after, found.frequencies)):
        np.testing.assert_allclose(ax.images[0].get_array(), np.maximum(values / values.max(), 1e-5))
    figure.canvas.draw()
