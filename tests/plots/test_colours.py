"""Colours: the scale of similarities, the order of shades, ink that can be read."""

import matplotlib
import numpy as np
import pytest

from svcca.plots.colours import colour_scale, ink_on, shades


def ends(values, chance=0.1):
    scale = colour_scale(np.array(values), np.array(chance))
    return scale.vmin, scale.vmax


def test_the_scale_runs_from_0_to_1_whatever_the_values():
    assert ends([[0.4, 0.6]]) == (0.0, 1.0)


def test_rounding_past_0_or_1_does_not_widen_the_scale():
    assert ends([[-1e-12, 1 + 1e-12]]) == (0.0, 1.0)


def test_negative_values_make_the_scale_symmetric():
    assert ends([[-0.2, 0.5]]) == (-1.0, 1.0)
    assert ends([[-2.0, 0.5]]) == (-2.0, 2.0)


@pytest.mark.parametrize(("values", "chance"), [([[0.5, 3.0]], 0.1), ([[0.5, 0.6]], 3.0)])
def test_values_and_chance_levels_beyond_1_widen_the_scale(values, chance):
    assert ends(values, chance)[1] == 3.0


def test_shades_grow_lighter_between_their_ends():
    colours = shades(5, 0.1, 0.75)
    assert (np.diff(colours[:, :3] @ [0.2126, 0.7152, 0.0722]) > 0).all()
    np.testing.assert_array_equal(colours[[0, -1]], matplotlib.colormaps["viridis"]([0.1, 0.75]))
    assert shades(0).shape == (0, 4)


def test_writing_in_a_cell_has_a_contrast_of_4_5_on_every_colour():
    for colour in matplotlib.colormaps["viridis"](np.linspace(0, 1, 256))[:, :3]:
        linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
        luminance = float(linear @ [0.2126, 0.7152, 0.0722])
        contrast = (luminance + 0.05) / 0.05 if ink_on(colour) == "black" else 1.05 / (luminance + 0.05)
        assert contrast >= 4.5
