"""The page as text: numbers, names, and what surrounds them."""

import csv
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from svcca.compare.result import LayerSummary, SimilarityMatrix
from svcca.errors import FileError
from svcca.io.pages import write_page
from svcca.measures import MEASURES
from svcca.report.html import PRINTED_COLUMNS, render

EVIL = "<script>alert(1)</script>"
QUOTES = '"\'onmouseover="alert(2)" {{ 7 * 7 }}'


class Page(HTMLParser):
    """The page's elements in order: tag, attributes, text directly or indirectly inside (voids have none)."""

    VOID = frozenset({"meta", "link", "br"})
    APART = frozenset({"td", "th", "dt", "dd", "caption"})

    def __init__(self, text):
        super().__init__()
        self.elements, self._open = [], []
        self.feed(text)
        assert self._open == [], "every element is closed"

    def handle_starttag(self, tag, attributes):
        element = {"tag": tag, "attributes": dict(attributes), "text": "", "path": [one["tag"] for one in self._open]}
        self.elements.append(element)
        if tag not in self.VOID:
            self._open.append(element)

    def handle_endtag(self, tag):
        assert self._open.pop()["tag"] == tag, f"</{tag}> closes what was opened last"
        if tag in self.APART:
            self.handle_data(" ")

    def handle_data(self, data):
        for element in self._open:
            element["text"] += data

    def all(self, tag, **attributes):
        wanted = {name.strip("_").replace("_", "-"): value for name, value in attributes.items()}
        return [
            one
            for one in self.elements
            if one["tag"] == tag
            and all(
                name in one["attributes"] and (value is True or one["attributes"][name] == value)
                for name, value in wanted.items()
            )
        ]


def matrix_of(values, chance=0.1, rows=None, columns=None, measure="svcca", **options):
    values = np.asarray(values, dtype=float)
    names = [rows or [f"r{i}" for i in range(values.shape[0])], columns or [f"c{j}" for j in range(values.shape[1])]]
    layers = [tuple(LayerSummary(name, 64 + i, 20, "pool") for i, name in enumerate(side)) for side in names]
    options = {"retained_variance": 0.99, "n_samples": 2000, "chance": np.broadcast_to(chance, values.shape)} | options
    return SimilarityMatrix(values, *layers, measure, **options)


VALUES = [[0.71312345678, 0.2], [1 / 3, 0.05], [0.9, 0.12]]


def words(text):
    return " ".join(text.split())


def page_text(matrix):
    return words(Page(render(matrix)).all("main")[0]["text"])


def numbers_of(page):
    """Cells of the number table: those that hold an exact value and no colour."""
    return [cell for cell in page.all("td", data_value=True) if "style" not in cell["attributes"]]


def test_the_table_holds_the_matrix_at_three_digits():
    assert [cell["text"] for cell in numbers_of(Page(render(matrix_of(VALUES))))] == [
        "0.713", "0.200", "0.333", "0.050", "0.900", "0.120"
    ]  # fmt: skip


def test_the_table_carries_full_precision():
    exact = [float(cell["attributes"]["data-value"]) for cell in numbers_of(Page(render(matrix_of(VALUES))))]
    assert exact == np.ravel(VALUES).tolist()


@pytest.mark.parametrize(("name", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_the_text_for_a_spreadsheet_gives_back_names_and_numbers(name, delimiter):
    rows = ["plain", 'quo"te', "com,ma\ttab"]
    (area,) = Page(render(matrix_of(VALUES, rows=rows))).all("textarea", id=name)
    header, *lines = csv.reader(io.StringIO(area["text"]), delimiter=delimiter)
    assert header == ["a \\ b", "c0", "c1"]
    assert [line[0] for line in lines] == rows
    assert [[float(cell) for cell in line[1:]] for line in lines] == VALUES


def test_every_cell_of_the_heatmap_says_its_layers_value_and_chance():
    titles = [cell["attributes"]["title"] for cell in Page(render(matrix_of(VALUES))).all("td", title=True)]
    assert titles[0] == "row r0, column c0: 0.713, chance 0.100"
    assert titles[3] == "row r1, column c1: 0.050, chance 0.100, not clearly above chance"
    assert len(titles) == 6


def test_cells_have_the_colours_of_the_figure():
    page = Page(render(matrix_of([[0.0, 1.0]])))
    assert [cell["attributes"]["style"] for cell in page.all("td", style=True)] == [
        "background:#440154;color:white",
        "background:#fde725;color:black",
    ]


def test_the_best_match_of_a_layer_says_whether_it_beats_chance():
    text = page_text(matrix_of(VALUES, chance=[[0.1, 0.1], [0.1, 0.1], [0.88, 0.1]]))
    assert "r0 c0 0.713 0.100 above" in text
    assert "r2 c0 0.900 0.880 not clearly above" in text


def test_a_value_that_chance_alone_forces_to_1_is_not_above_chance():
    text = page_text(matrix_of([[1.0]], chance=1.0))
    assert "r0 c0 1.000 1.000 not clearly above" in text
    assert "Above chance 0 of 1 pair" in text


def test_the_chance_level_is_summarised():
    assert "Chance level 0.10" in page_text(matrix_of(VALUES))
    assert "chance 0.10–0.30" in page_text(matrix_of([[0.5, 0.6]], chance=[[0.1, 0.3]]))


def test_a_chance_level_that_is_not_known_is_said_not_to_be_and_marks_nothing():
    text = render(matrix_of(VALUES, chance=np.nan))
    assert "nan" not in text.lower().replace("tabular-nums", "")
    words = page_text(matrix_of(VALUES, chance=np.nan))
    assert "Chance level not known" in words
    assert "Above chance" not in words
    assert "not clearly above" not in words
    assert 'class="near"' not in text


def test_layers_show_width_rank_samples_per_direction_and_rule():
    text = page_text(matrix_of(VALUES))
    assert "r0 64 20 100 pool" in text
    assert "c1 65 20 100 pool" in text


def test_few_samples_for_each_direction_are_marked():
    assert "r0 64 20 4.0 few pool" in page_text(matrix_of(VALUES, n_samples=80))
    assert "r0 64 20 5.0 pool" in page_text(matrix_of(VALUES, n_samples=100))


def test_the_same_layers_on_both_sides_are_listed_once():
    page = Page(render(matrix_of(np.eye(2), rows=["x", "y"], columns=["x", "y"])))
    assert [one["text"] for one in page.all("caption")] == ["svcca similarity, three digits", "a and b alike"]


def test_warnings_are_told_in_full():
    warnings = tuple(f"pair {i}: few <samples>." for i in range(7))
    page = Page(render(matrix_of(VALUES, warnings=warnings)))
    (aside,) = page.all("aside")
    assert [one["text"] for one in page.all("li")] == list(warnings)
    assert "3 more" in aside["text"]


def test_without_warnings_there_is_no_box_for_them():
    assert Page(render(matrix_of(VALUES))).all("aside") == []


def test_the_page_says_how_it_was_computed():
    told = {"command": "svcca compare a.npz b.npz", "definition": MEASURES["svcca"].definition}
    text = page_text(matrix_of(VALUES, **told, versions={"svcca": "9.8", "torch": "7.6"}))
    assert "Command svcca compare a.npz b.npz" in text
    assert "svcca: mean canonical correlation of the leading singular directions" in text
    assert "99% of each layer's variance" in text
    assert "svcca 9.8, torch 7.6" in text


def test_a_measure_without_svd_step_keeps_all_variance():
    text = page_text(matrix_of(VALUES, measure="linear_cka", retained_variance=1.0))
    assert "all of it: nothing was cut" in text


def test_a_measure_without_a_definition_is_named_alone():
    assert "Measure tomorrows Retained" in page_text(matrix_of(VALUES, measure="tomorrows"))


def test_names_are_inert_wherever_they_stand():
    everywhere = {"row_title": EVIL, "column_title": QUOTES, "command": EVIL, "warnings": (EVIL, QUOTES)}
    matrix = matrix_of([[0.5, 0.6]], rows=[EVIL], columns=[QUOTES, "</textarea><b>"], **everywhere)
    text = render(matrix)
    page = Page(text)
    assert len(page.all("script")) == 1
    assert "alert" not in page.all("script")[0]["text"]
    assert EVIL not in text
    assert page.all("h1")[0]["text"] == f"{EVIL} × {QUOTES}"
    assert not [one for one in page.elements if any(name.startswith("on") for name in one["attributes"])]
    assert [one["attributes"]["data-name"] for one in page.all("th", data_name=True)] == [
        QUOTES,
        "</textarea><b>",
        EVIL,
    ]


def test_the_page_asks_for_nothing_outside_itself():
    text = render(matrix_of(VALUES))
    assert re.findall(r"(?:https?:)?//[a-z]|@import|url\(|src=", text) == []
    policy = Page(text).all("meta", http_equiv="Content-Security-Policy")[0]["attributes"]["content"]
    assert policy.startswith("default-src 'none'")


def test_the_page_is_the_same_each_time():
    assert render(matrix_of(VALUES)) == render(matrix_of(VALUES))


@pytest.mark.parametrize("shape", [(1, 1), (60, 60), (1, 60), (60, 1)])
def test_any_shape_of_matrix_makes_a_page(shape):
    page = Page(render(matrix_of(np.full(shape, 0.5))))
    assert len(page.all("td", title=True)) == shape[0] * shape[1]


def test_a_wide_table_is_printed_in_blocks_of_columns():
    n = PRINTED_COLUMNS + 1
    captions = [one["text"] for one in Page(render(matrix_of(np.full((2, n), 0.5)))).all("caption")]
    assert captions[1:3] == [f"Columns 1 to {n - 1} of {n}", f"Columns {n} to {n} of {n}"]


def test_negative_values_are_shown_on_a_scale_that_holds_them():
    page = Page(render(matrix_of([[-0.5, 0.5, -0.0001]])))
    assert "-1.00-0.500.000.501.00" in page.all("figcaption")[0]["text"]
    assert [cell["text"] for cell in numbers_of(page)] == ["-0.500", "0.500", "0.000"]
    assert [cell["text"] for cell in page.all("td", title=True)] == ["-0.50", "0.50", "0.00"]


def test_a_page_is_written_as_rendered_and_its_path_returned(tmp_path):
    path = write_page(matrix_of(VALUES), tmp_path / "report.html")
    assert path.read_text(encoding="utf-8") == render(matrix_of(VALUES))


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileError, match=r"report.html: expected a folder that can be written to; got No such file"):
        write_page(matrix_of(VALUES), tmp_path / "missing" / "report.html")


def test_a_report_that_fails_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    def full(*_arguments, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(FileError, match="expected to write the file; got No space left on device"):
        write_page(matrix_of(VALUES), path)
    assert (path.read_text(), list(tmp_path.iterdir())) == ("old", [path])
