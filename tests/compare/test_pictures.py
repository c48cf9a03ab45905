"""The picture and the page of a comparison: every part of the matrix stands where it belongs."""

import matplotlib
import numpy as np

from svcca.compare.result import LayerSummary, SimilarityMatrix

matplotlib.use("Agg")


def matrix():
    rows, columns = (
        [LayerSummary(name, 8, 4, "pool") for name in names] for names in (("a1", "a2"), ("b1", "b2", "b3"))
    )
    values = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
    titles = {"row_title": "seed 0", "column_title": "seed 1"}
    return SimilarityMatrix(values, tuple(rows), tuple(columns), "pwcca", 0.99, 1000, values / 10, **titles)


def test_the_heatmap_shows_the_matrix():
    figure, ax = matrix().plot()
    np.testing.assert_array_equal(ax.images[0].get_array(), matrix().values)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a1", "a2"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["b1", "b2", "b3"]
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("seed 0", "seed 1")
    assert ax.get_title(loc="left") == "pwcca, 1,000 samples"
    (bar,) = ax.child_axes
    assert bar.get_ylabel() == "pwcca similarity"
    assert [text.get_text() for text in bar.texts] == ["chance 0.01–0.06"]
    figure.draw_without_rendering()


def test_the_heatmap_is_drawn_where_it_is_told():
    ax = matplotlib.figure.Figure().subplots()
    assert matrix().plot(ax)[1] is ax


def test_the_matrix_writes_its_own_page(tmp_path):
    path = matrix().report(str(tmp_path / "report.html"))
    assert path == tmp_path / "report.html"
    assert "seed 0" in path.read_text(encoding="utf-8")


def test_a_matrix_of_a_users_own_kind_has_the_page_of_a_matrix(tmp_path):
    class Mine(SimilarityMatrix):
        pass

    mine = Mine(**vars(matrix()))
    assert mine.report(tmp_path / "a.html").read_bytes() == matrix().report(tmp_path / "b.html").read_bytes()
