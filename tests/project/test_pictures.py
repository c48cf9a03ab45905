"""Pictures of projections and dimensions: what they show."""

import matplotlib
import numpy as np
import pytest

from svcca.project import Distributedness, IntrinsicDimensions, LayerDimensions, ProjectionCurve

matplotlib.use("Agg")
KS = np.array([1, 2, 4, 8])


def curve(ks=KS):
    values = np.array([[0.5, 0.8, 0.9, 0.9], [0.2, 0.4, 0.6, 0.9], [0.1, 0.2, 0.3, 0.9]])
    kinds = ("CCA with the logits", "principal directions", "neurons of largest activation")
    return ProjectionCurve("fc", 8, kinds, ks, values, 0.9, (3, 0, 0), "net")


def test_a_curve_is_a_line_a_kind_with_the_unprojected_value():
    figure, ax = curve().plot()
    lines = {line.get_label(): line for line in ax.lines}
    assert list(lines) == [*curve().kinds, "unprojected"]
    for kind, values in zip(curve().kinds, curve().values, strict=True):
        assert lines[kind].get_ydata().tolist() == values.tolist()
        assert lines[kind].get_xdata().tolist() == KS.tolist()
    assert lines["unprojected"].get_ydata() == [0.9, 0.9]
    assert lines["neurons of largest activation"].get_linestyle() == ":"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["1", "2", "4", "8"]
    assert ax.get_xlabel() == "directions kept of 8"
    figure.canvas.draw()


def test_a_curve_that_starts_at_none_shows_it():
    figure, ax = curve(np.array([0, 2, 4, 8])).plot()
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", "1", "2", "4", "8"]
    assert ax.get_xscale() == "symlog"
    figure.canvas.draw()


def test_distributedness_is_a_line_a_number_of_units_and_one_for_all():
    values = np.array([[0.1, 0.2, 0.3, 0.3], [0.3, 0.5, 0.6, 0.7]])
    result = Distributedness("fc", "CCA with another net", 8, KS, np.array([2, 5]), values, values[1] + 0.2, 0.9, "net")
    figure, ax = result.plot()
    lines = {line.get_label(): line for line in ax.lines}
    assert list(lines) == ["all 8 units", "5 units", "2 units", "unprojected"]
    assert lines["2 units"].get_ydata().tolist() == values[0].tolist()
    assert lines["all 8 units"].get_ydata() == pytest.approx(values[1] + 0.2)
    figure.canvas.draw()


@pytest.mark.parametrize("evaluated", [True, False])
def test_dimensions_are_bars_with_a_mark_where_enough_is_kept(evaluated):
    more = ((3, 0.9), (5, 0.8)) if evaluated else ((0, None), (None, None))
    rows = (
        LayerDimensions("conv", "pixels", 16, 12, 9, *more[0]),
        LayerDimensions("fc", "flatten", 64, 60, 20, *more[1]),
    )
    found = IntrinsicDimensions(rows, 0.99, "principal directions", 0.01, 0.9 if evaluated else None, "net")
    figure, ax = found.plot()
    assert [bar.get_width() for bar in ax.patches] == [16, 64, 9, 20]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["conv", "fc"]
    assert [
        line.get_xdata().tolist() if hasattr(line.get_xdata(), "tolist") else list(line.get_xdata())
        for line in ax.lines
    ] == ([[3, 5]] if evaluated else [])
    figure.canvas.draw()
