"""What commands write and print: output files, tables, and warnings as notes."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from svcca.errors import FileError, InputError, SvccaWarning, message

if TYPE_CHECKING:
    from svcca.compare.by_measure import ByMeasure
    from svcca.compare.result import SimilarityMatrix

MATRIX_SUFFIXES = (".html", ".json", ".png", ".pdf", ".svg")
"""Endings of the files that a comparison can be written to."""


def check_output(path: Path, suffixes: Sequence[str] = MATRIX_SUFFIXES) -> None:
    """Refuse an output file that could not be written, before the work starts.

    Args:
        path: The file to write.
        suffixes: The endings that its name may have.

    Raises:
        InputError: If the name has another ending.
        FileError: If its folder does not exist or cannot be written to, or if the path is a folder.
    """
    if path.suffix not in suffixes:
        got = path.suffix or "no ending"
        raise InputError(message(f"output {path}", f"a name that ends in {', '.join(suffixes)}", got))
    if not path.parent.is_dir():
        raise FileError(message(f"output {path}", "a folder that exists", f"no folder {path.parent}"))
    if path.is_dir():
        raise FileError(message(f"output {path}", "a file's name", "a folder"))
    if not os.access(path.parent, os.W_OK):
        raise FileError(message(f"output {path}", "a folder that can be written to", str(path.parent)))


def described(matrix: SimilarityMatrix, row_title: str, column_title: str, command: str) -> SimilarityMatrix:
    """Return the matrix with rows and columns titled as the user named them, and with the command that was run."""
    return replace(matrix, row_title=row_title, column_title=column_title, command=command)


def write_matrices(matrices: Sequence[SimilarityMatrix], path: Path) -> None:
    """Write a comparison in the form that the file's ending names.

    Args:
        matrices: The matrices, one a measure. A document holds them all, a page or a figure the first.
        path: The file to write.

    Raises:
        FileError: If the file cannot be written.
    """
    if path.suffix == ".html":
        matrices[0].report(path)
    elif path.suffix == ".json":
        _document(matrices).save(path)
    else:
        from svcca.io.files import write_atomically

        figure, _ = matrices[0].plot()
        write_atomically(path, lambda temporary: figure.savefig(temporary, dpi=160, bbox_inches="tight"))


def print_matrices(
    matrices: Sequence[SimilarityMatrix], outputs: Sequence[Path], *, as_json: bool, quiet: bool
) -> None:
    """Print a comparison: a table for each measure, the warnings, and the files that were written.

    Args:
        matrices: The matrices, one a measure.
        outputs: The files that were written.
        as_json: Whether to print the comparison as JSON and nothing else.
        quiet: Whether to print nothing at all.
    """
    if as_json:
        typer.echo(json.dumps(_document(matrices).to_dict(), allow_nan=False))
        return
    if quiet:
        return
    for matrix in matrices:
        _print_table(matrix)
    for warning in dict.fromkeys(note for matrix in matrices for note in matrix.warnings):
        typer.echo(f"Note: {warning}", err=True)
    for path in outputs:
        typer.echo(f"Wrote {path}")


def _document(matrices: Sequence[SimilarityMatrix]) -> SimilarityMatrix | ByMeasure[SimilarityMatrix]:
    """Return the one matrix, or all by their measures."""
    from svcca.compare.by_measure import ByMeasure

    return matrices[0] if len(matrices) == 1 else ByMeasure(matrices)


def _print_table(matrix: SimilarityMatrix) -> None:
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    console = Console()
    title = f"{matrix.measure} over {matrix.n_samples:,} samples; chance level up to {matrix.chance.max():.2f}"
    table = Table(title=title)
    table.add_column(Text(f"{matrix.row_title} \\ {matrix.column_title}"))
    for name in matrix.column_labels:
        table.add_column(Text(name), justify="right")
    for name, values in zip(matrix.row_labels, matrix.values, strict=True):
        table.add_row(Text(name), *(f"{value:.3f}" for value in values))
    # As wide as it needs: on a narrow terminal a wrapped line can be read, a squeezed column cannot.
    width = Measurement.get(console, console.options.update(max_width=10_000), table).maximum
    Console(width=max(console.width, width)).print(table)


@contextmanager
def warnings_kept_back() -> Iterator[None]:
    """Silence this library's warnings, which a matrix records and `print_matrices` prints."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SvccaWarning)
        yield


@contextmanager
def warnings_as_notes() -> Iterator[None]:
    """Print this library's warnings on standard error, one line each; let other warnings go where they would."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SvccaWarning)
        yield
    for each in caught:
        if issubclass(each.category, SvccaWarning):
            typer.echo(f"Note: {each.message}", err=True)
        else:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
