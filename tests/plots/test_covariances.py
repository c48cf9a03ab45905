"""Two covariances side by side: colours relative to the largest entry, thin diagonals kept."""

import matplotlib
import numpy as np

from svcca.plots import covariances
from svcca.plots.covariances import plot_covariances

matplotlib.use("Agg")


def plotted(before, after):
    return plot_covariances(before, after, share_between_positions=0.25, share_between_frequencies=0.5)


def test_each_is_relative_to_its_largest_entry_down_to_five_decades():
    _, (before, after) = plotted(np.array([[4.0, 1.0], [0.0, 2.0]]), np.array([[10.0, 0.0], [0.0, 5.0]]))
    np.testing.assert_allclose(before.images[0].get_array(), [[1, 0.25], [1e-5, 0.5]])
    np.testing.assert_allclose(after.images[0].get_array(), [[1, 1e-5], [1e-5, 0.5]])
    assert before.get_title(loc="left") == "between positions: 25% off the diagonal"
    assert after.get_title(loc="left") == "between spatial frequencies: 50% off the diagonal"


def test_more_positions_than_pixels_keep_their_largest_entries(monkeypatch):
    monkeypatch.setattr(covariances, "PIXELS", 10)
    values = np.diag(np.arange(1.0, 37.0))
    _, (before, _) = plotted(values, values)
    shown = before.images[0].get_array()
    assert shown.shape == (9, 9)
    np.testing.assert_allclose(np.diagonal(shown), np.arange(4, 37, 4) / 36)


def test_no_covariance_at_all_is_drawn_dark():
    figure, (before, _) = plotted(np.zeros((3, 3)), np.eye(3))
    assert (before.images[0].get_array() == 1e-5).all()
    figure.canvas.draw()
