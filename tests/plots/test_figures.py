"""Whose figure a new one is: the caller's, pyplot's or a notebook's."""

import subprocess
import sys
from types import SimpleNamespace

import matplotlib
import pytest
from matplotlib.figure import Figure

from svcca.plots.figures import axes_or_new, bare_figure, new_figure

matplotlib.use("Agg")

MAKERS = {"bare": bare_figure, "new": lambda: new_figure(2, 2), "with axes": lambda: axes_or_new(None, 2, 2)[0]}
each_maker = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def pyplot_figures():
    from matplotlib import pyplot

    return pyplot.get_fignums()


@each_maker
def test_without_pyplot_the_figure_is_nobodys_but_the_callers(make):
    assert type(make()) is Figure
    assert pyplot_figures() == []


@each_maker
def test_where_pyplot_is_in_use_show_finds_the_figure(monkeypatch, make):
    from matplotlib import pyplot

    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", pyplot)
    figure = make()
    assert pyplot.gcf() is figure
    pyplot.close(figure)


@each_maker
def test_a_notebook_finds_the_figure_without_having_imported_pyplot(monkeypatch, make):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=object))
    figure = make()
    from matplotlib import pyplot

    assert pyplot.gcf() is figure
    pyplot.close(figure)


@each_maker
def test_ipython_installed_but_not_running_is_no_notebook(monkeypatch, make):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    make()
    assert pyplot_figures() == []


def test_importing_the_library_does_not_import_matplotlib_or_jinja():
    code = "import sys, svcca, svcca.compare.result; print({'matplotlib', 'jinja2'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_given_axes_are_returned_with_the_whole_figure():
    parent = Figure()
    ax = parent.subfigures(1, 2)[0].add_subplot()
    assert axes_or_new(ax, 2, 2) == (parent, ax)
