"""Pictures of `fourier_cca`: what they show, where, and what they refuse."""

import matplotlib
import numpy as np
import pytest

import svcca
from svcca.errors import InputError

matplotlib.use("Agg")
pytestmark = pytest.mark.filterwarnings("ignore::svcca.errors.SvccaWarning")


def maps(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def low_passed(x, limit):
    spectrum = np.fft.fft2(x)
    low = np.add.outer(*(np.abs(np.fft.fftfreq(size)) for size in x.shape[2:])) <= limit
    return np.fft.ifft2(spectrum * low).real


def test_a_frequency_map_has_zero_in_the_middle_and_white_where_nothing_is_kept():
    x = low_passed(maps(0, 200, 2, 8, 6), 0.2)
    result = svcca.fourier.fourier_cca(x, maps(1, 200, 2, 8, 6))
    figure, ax = result.plot()
    shown = ax.images[0].get_array()
    assert shown.shape == (8, 6)
    np.testing.assert_allclose(shown[4, 3], result.frequency_map[0, 0])
    assert np.isnan(np.ma.filled(shown, np.nan)[0, 0])
    left, right, bottom, top = ax.images[0].get_extent()
    assert (left, right, bottom, top) == (-3.5, 2.5, 3.5, -4.5)
    assert f"chance {result.chance:.2f}" in ax.get_title(loc="left")
    figure.canvas.draw()


def test_a_frequency_map_of_one_axis_is_a_line():
    result = svcca.fourier.fourier_cca(maps(0, 100, 2, 9), maps(1, 100, 2, 9))
    _, ax = result.plot()
    x, y = ax.lines[0].get_data()
    assert list(x) == list(range(-4, 5))
    np.testing.assert_allclose(y[4], result.frequency_map[0])


def test_a_frequency_map_is_drawn_where_it_is_told():
    figure, (left, right) = matplotlib.figure.Figure().subplots(1, 2)[0].figure, (None, None)
    left, right = figure.axes
    got_figure, got = svcca.fourier.fourier_cca(maps(0, 50, 1, 4, 4), maps(1, 50, 1, 4, 4)).plot(right)
    assert got is right
    assert got_figure is figure
    assert not left.images


def test_filters_are_drawn_in_pairs_with_their_correlation():
    result = svcca.fourier.fourier_cca(x := maps(4, 200, 3, 6, 5), np.roll(x, 1, axis=2) + 0.5 * maps(5, 200, 3, 6, 5))
    figure, axes = result.plot_filters(4)
    assert axes.shape == (2, 4)
    filters = result.x_filters(4)
    channel = int(axes[0, 0].get_xlabel().removeprefix("channel "))
    np.testing.assert_allclose(axes[0, 0].images[0].get_array(), filters.filters[0, channel])
    assert f"{filters.correlations[0]:.3f}" in axes[0, 0].get_title()
    figure.canvas.draw()


def test_filters_of_one_side_are_drawn_in_a_row():
    result = svcca.fourier.fourier_cca(x := maps(4, 200, 3, 6, 5), np.roll(x, 1, axis=2) + 0.5 * maps(5, 200, 3, 6, 5))
    filters = result.y_filters(3)
    figure, axes = filters.plot()
    assert axes.shape == (1, 3)
    channel = int(axes[0, 2].get_xlabel().removeprefix("channel "))
    np.testing.assert_allclose(axes[0, 2].images[0].get_array(), filters.filters[2, channel])
    vertical, horizontal = filters.frequencies[2]
    assert axes[0, 2].get_title() == f"ρ {filters.correlations[2]:.3f}\nat ({vertical}, {horizontal})"
    figure.canvas.draw()


def test_what_cannot_be_drawn_says_so():
    cube = svcca.fourier.fourier_cca(maps(0, 60, 1, 3, 3, 3), maps(1, 60, 1, 3, 3, 3))
    with pytest.raises(InputError, match=r"one or two spatial axes .*; got 3. Read result.frequency_map"):
        cube.plot()
    with pytest.raises(InputError, match="two spatial axes on every side; got 3"):
        cube.plot_filters()
    with pytest.raises(InputError, match="two spatial axes on every side; got 3"):
        cube.y_filters().plot()
    vector = svcca.fourier.fourier_cca(maps(0, 60, 2, 4, 4), maps(1, 60, 2))
    with pytest.raises(InputError, match="got 0"):
        vector.plot()
    with pytest.raises(InputError, match="got 0"):
        vector.plot_filters()
