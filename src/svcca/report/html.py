"""The page of a similarity matrix: self-contained HTML."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import jinja2
import numpy as np

from svcca.plots.colours import COLOUR_MAP, colour_scale, ink_on
from svcca.plots.text import elide, interval, number

if TYPE_CHECKING:
    from svcca.compare.result import LayerSummary, SimilarityMatrix

CLEAR_OF_CHANCE = 0.05
"""A value must exceed its chance level by this to be called above chance. The worst case, one direction against one,
scatters about its chance level by 0.6 / sqrt(n): 0.05 at 144 samples, and less with more samples or directions."""

FEW_SAMPLES = 5
"""Samples for each kept direction below which a layer is marked; warnings advise 5 to 10."""

PAGE_WIDTH, CHARACTER = 1110, 7.5  # pixels: what the page gives a table, and a character of its text at the widest
PRINTED_COLUMNS = 22  # of the table, side by side on a landscape page at a size that can be read
WARNINGS_SHOWN = 4  # the rest unfold


@dataclass(frozen=True)
class Cell:
    """One pair of layers, as the page shows it.

    Attributes:
        row: The row layer's name.
        column: The column layer's name.
        value: Similarity to 3 digits.
        short: Similarity to 2 digits.
        exact: Similarity to full precision.
        chance: Chance level to 3 digits.
        colour: Its place on the colour map, as #rrggbb.
        ink: Colour of text on it.
        clear: Whether it is clearly above chance.
        position: Its place on the colour scale, in percent.
        chance_position: The chance level's place.
    """

    row: str
    column: str
    value: str
    short: str
    exact: str
    chance: str
    colour: str
    ink: str
    clear: bool
    position: float
    chance_position: float

    @property
    def sentence(self) -> str:
        """What a screen reader says, and the tooltip says where there is no script."""
        doubt = "" if self.clear else ", not clearly above chance"
        return f"row {self.row}, column {self.column}: {self.value}, chance {self.chance}{doubt}"


def render(matrix: SimilarityMatrix) -> str:
    """Return the page as text: it opens from disk and asks no network for anything."""
    cells = _cells(matrix)
    longest = max(len(elide(label)) for label in (*matrix.row_labels, *matrix.column_labels))
    n_rows, n_columns = matrix.values.shape
    beside = PAGE_WIDTH - CHARACTER * max(len(elide(label)) for label in matrix.row_labels)
    cell_px = int(min(64, max(15, beside / n_columns - 2)))
    return _template().render(
        matrix=matrix,
        cells=cells,
        best=[max(row, key=lambda cell: float(cell.exact)) for row in cells],
        same_layers=matrix.rows == matrix.columns,
        chance_known=not np.isnan(matrix.chance).any(),
        chance=interval(float(matrix.chance.min()), float(matrix.chance.max())),
        n_pairs=n_rows * n_columns,
        n_clear=sum(cell.clear for row in cells for cell in row),
        clear_of_chance=CLEAR_OF_CHANCE,
        few_samples=FEW_SAMPLES,
        warnings_shown=WARNINGS_SHOWN,
        legend=_legend(matrix),
        csv=_delimited(matrix, ","),
        tsv=_delimited(matrix, "\t"),
        # On screen a cell has room for its value from 38 px on; on paper cells shrink until matrix and names fit.
        cell_px=cell_px,
        print_mm=round(min(14, 170 / (n_columns + 0.5 * longest), 160 / (n_rows + 0.5 * longest)), 2),
        upright_heatmap=max(map(len, matrix.column_labels)) * CHARACTER > cell_px,
        upright_numbers=sum(max(8, len(label) + 3) for label in matrix.column_labels) * CHARACTER > PAGE_WIDTH * 0.75,
        blocks=[range(k, min(k + PRINTED_COLUMNS, n_columns)) for k in range(0, n_columns, PRINTED_COLUMNS)],
        elide=elide,
    )


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("svcca", "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["csp_hash"] = _csp_hash
    environment.filters["samples_each"] = _samples_each
    return environment.get_template("similarity.html.j2")


def _csp_hash(script: str) -> str:
    """Name a script in a Content-Security-Policy: the browser then runs it and no other."""
    return "'sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() + "'"


def _samples_each(layer: LayerSummary, n_samples: int) -> float:
    """Return the samples for each direction of a layer, of those at one frequency where it has several."""
    return n_samples * layer.n_frequencies / max(1, layer.rank)


def _cells(matrix: SimilarityMatrix) -> list[list[Cell]]:
    """Prepare every pair for the page, row by row."""
    scale = colour_scale(matrix.values, matrix.chance)
    places = np.round(100 * np.stack([scale(matrix.values), scale(matrix.chance)]), 1)
    colours = COLOUR_MAP(scale(matrix.values))[..., :3]
    return [
        [
            Cell(
                row=row,
                column=column,
                value=number(value := float(matrix.values[i, j]), 3),
                short=number(value, 2),
                exact=repr(value),
                chance="not known" if np.isnan(chance := float(matrix.chance[i, j])) else number(chance, 3),
                colour=_hex(colours[i, j]),
                ink=ink_on(colours[i, j]),
                clear=not value <= chance + CLEAR_OF_CHANCE,  # a level that is not known marks nothing
                position=float(places[0, i, j]),
                chance_position=float(places[1, i, j]),
            )
            for j, column in enumerate(matrix.column_labels)
        ]
        for i, row in enumerate(matrix.row_labels)
    ]


def _hex(rgb: np.ndarray) -> str:
    return "#" + "".join(f"{round(255 * float(channel)):02x}" for channel in rgb)


def _legend(matrix: SimilarityMatrix) -> dict[str, object]:
    """Return colour stops, tick labels and chance mark of the colour scale; positions in percent of its length."""
    scale = colour_scale(matrix.values, matrix.chance)
    low, high = float(scale.vmin or 0), float(scale.vmax or 1)
    ticks = np.linspace(low, high, 5 if low < 0 else 6)
    start, end = (100 * float(scale(level)) for level in (matrix.chance.min(), matrix.chance.max()))
    return {
        "stops": ", ".join(_hex(COLOUR_MAP(place)[:3]) for place in np.linspace(0, 1, 17)),
        "ticks": [number(float(tick), 1 if (low, high) == (0, 1) else 2) for tick in ticks],
        "start": round(start, 1),
        "width": round(end - start, 1),
        "from_left": (start + end) / 2 < 50,
    }


def _delimited(matrix: SimilarityMatrix, delimiter: str) -> str:
    """Write the matrix for a spreadsheet, numbers to full precision; names are quoted where they must be."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerow([f"{matrix.row_title} \\ {matrix.column_title}", *matrix.column_labels])
    for label, row in zip(matrix.row_labels, matrix.values.tolist(), strict=True):
        writer.writerow([label, *row])
    return text.getvalue()
