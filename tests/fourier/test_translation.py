"""The translation gap against covariances of all frequencies and positions, computed outright."""

import warnings

import numpy as np
import pytest
import torch

from shifts import closed
from svcca.errors import InputError, NonFiniteError, SvccaWarning
from svcca.fourier.cca import fourier_cca
from svcca.fourier.gap import GAP_WARNING
from svcca.fourier.spectra import SpectralSums
from svcca.fourier.translation import translation_gap


def energies(rows):
    """Share of |C|^2 between blocks, own terms of each sample taken off; rows (n_blocks, n, c)."""
    squares = np.array([[np.linalg.norm(a.conj().T @ b) ** 2 for b in rows] for a in rows])
    power = (np.abs(rows) ** 2).sum(axis=2)
    squares -= power @ power.T
    return 1 - np.trace(squares) / squares.sum()


def brute_force(maps):
    centred = maps - maps.mean(axis=(0, 2, 3), keepdims=True)
    spectra = np.fft.fft2(centred, norm="ortho")
    blocks = [each.reshape(*maps.shape[:2], -1).transpose(2, 0, 1) for each in (centred, spectra)]
    return [energies(each) for each in blocks]


def smooth(seed, n, c, h, w):
    """Maps with a spectrum that falls, and a variance that differs between positions."""
    rng = np.random.default_rng(seed)
    decay = 1 / (0.3 + np.add.outer(np.abs(np.fft.fftfreq(h)), np.abs(np.fft.fftfreq(w))))
    maps = np.fft.ifft2(np.fft.fft2(rng.normal(size=(n, c, h, w))) * decay).real
    return maps * np.linspace(0.5, 1.5, w) + 3


@pytest.mark.parametrize("shape", [(400, 2, 4, 6), (300, 1, 5, 5), (500, 3, 2, 8)])
def test_both_shares_are_those_of_the_whole_covariance(shape):
    maps = smooth(0, *shape)
    before, after = brute_force(maps)
    got = translation_gap(maps, n_pairs=20_000)
    assert got.before == pytest.approx(before, abs=0.01)
    assert got.after == pytest.approx(after, abs=0.02)
    assert 0.1 < got.after < got.before


def test_the_channels_of_most_energy_speak_for_the_others():
    strong, weak = smooth(8, 300, 16, 4, 6), np.random.default_rng(8).normal(size=(300, 8, 4, 6))
    both = np.concatenate([1e-3 * weak, strong], axis=1)
    shares = []
    for seed in range(12):
        sums = SpectralSums([torch.from_numpy(both)], 1, self_comparison=True, gap_channels=16, seed=seed)
        sums.update([torch.from_numpy(both)])
        moments = sums.moments(0)
        shares.append(moments.gap.share)
    assert np.mean(shares) == pytest.approx(brute_force(strong)[1], abs=0.03)
    assert np.std(shares) < 0.08


def test_the_error_is_that_of_the_estimate():
    maps = smooth(11, 300, 2, 6, 6)
    found = [translation_gap(maps, n_pairs=200, seed=seed) for seed in range(60)]
    assert np.std([gap.after for gap in found]) == pytest.approx(np.mean([gap.error for gap in found]), rel=0.4)


def test_few_samples_for_many_frequencies_are_no_reason_to_warn():
    noise = np.random.default_rng(12).normal(size=(60, 1, 40, 40))
    gap = translation_gap(noise, n_pairs=128)
    assert gap.error > 0.2
    with warnings.catch_warnings():
        warnings.simplefilter("error", SvccaWarning)
        fourier_cca(noise, noise)


def test_shifts_of_the_images_close_the_gap():
    maps = smooth(1, 40, 2, 4, 4)
    assert translation_gap(maps).after > 0.05
    assert translation_gap(closed(maps)).after == 0.0


def test_the_number_of_samples_does_not_move_it():
    few, many = (np.mean([translation_gap(smooth(s, n, 2, 4, 4)).after for s in range(6)]) for n in (60, 2000))
    assert few == pytest.approx(many, abs=0.05)


def test_a_mean_that_differs_between_positions_counts():
    maps = np.random.default_rng(2).normal(size=(500, 1, 4, 4))
    assert translation_gap(maps).after < 0.05
    assert translation_gap(maps + 5 * (np.arange(4) == 0)).after > 0.5


@pytest.mark.filterwarnings("ignore::svcca.errors.SvccaWarning")
def test_the_gap_of_a_fourier_result_is_the_layers_own():
    x, y = smooth(3, 300, 2, 6, 6), np.random.default_rng(3).normal(size=(300, 2, 6, 6))
    result = fourier_cca(x, y)
    assert result.x_translation_gap == pytest.approx(translation_gap(x).after, abs=0.1)
    assert result.y_translation_gap < 0.1


def test_a_large_gap_is_warned_of():
    x = smooth(4, 300, 2, 6, 6) + 20 * (np.arange(6) == 0)
    with pytest.warns(SvccaWarning, match=r"x: \d\d% of the covariance's energy lies between different spatial"):
        result = fourier_cca(x, np.random.default_rng(5).normal(size=(300, 2, 6, 6)))
    assert result.x_translation_gap > GAP_WARNING
    assert any(doubt.kind == "translation" and doubt.text.startswith("x: ") for doubt in result.warnings)


def test_float32_and_channels_last_are_the_same():
    maps = smooth(6, 200, 2, 4, 4)
    expected = translation_gap(maps)
    for other in (
        translation_gap(torch.from_numpy(maps).float()),
        translation_gap(np.moveaxis(maps, 1, 3), channels_last=True),
    ):
        assert other.before == pytest.approx(expected.before, abs=1e-5)
        assert other.after == pytest.approx(expected.after, abs=1e-5)


@pytest.mark.parametrize("shape", [(20, 3), (20, 3, 1, 1)])
def test_what_has_one_position_has_no_gap(shape):
    with pytest.raises(InputError, match="maps of several positions"):
        translation_gap(np.random.default_rng(0).normal(size=shape))


@pytest.mark.parametrize("scale", [1e-30, 1e15])
def test_the_scale_of_float32_maps_does_not_matter(scale):
    maps = torch.from_numpy(smooth(9, 200, 2, 4, 4)).float()
    assert translation_gap(maps * scale).after == pytest.approx(translation_gap(maps).after, abs=1e-3)


def test_energies_that_overflow_are_an_error():
    with pytest.raises(NonFiniteError, match=r"overflow.*Scale the maps"):
        translation_gap(smooth(9, 50, 1, 4, 4) * 1e155)


@pytest.mark.parametrize("n_pairs", [0, -3, 2.5])
def test_pairs_are_counted(n_pairs):
    with pytest.raises(InputError, match="n_pairs as a positive integer"):
        translation_gap(smooth(9, 50, 1, 4, 4), n_pairs=n_pairs)


def test_the_strongest_channels_are_those_looked_at():
    steady = np.random.default_rng(10).normal(size=(400, 4, 4, 4))
    moving = 30 * smooth(10, 400, 2, 4, 4) * (1 + 3 * (np.arange(4) == 0))
    both = torch.from_numpy(np.concatenate([steady, moving], axis=1))
    sums = SpectralSums([both], 1, self_comparison=True, gap_channels=2, n_pairs=2000)
    sums.update([both])
    moments = sums.moments(0)
    assert moments.gap.share == pytest.approx(brute_force(moving)[1], abs=0.05)
