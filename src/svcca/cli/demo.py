"""`svcca demo`: two small nets trained and compared in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from svcca.cli.output import check_output, print_matrices, warnings_kept_back, write_matrices
from svcca.errors import FileError, message


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the report and the figure.")] = Path(
        "svcca-demo"
    ),
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar, no table.")] = False,
) -> None:
    """Train two small nets on the bundled digits, compare them, and write a report. Takes less than a minute."""
    from svcca.cli import digits

    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(message(f"write {output}", "a folder that can be made", str(error.strerror))) from error
    outputs = [output / "report.html", output / "heatmap.png"]
    for path in outputs:
        check_output(path)
    with warnings_kept_back():
        result = digits.run(progress=False if quiet else None)
    for path in outputs:
        write_matrices([result.matrix], path)
    if not quiet:
        first, second = result.accuracies
        typer.echo(f"Two nets from two seeds read {first:.1%} and {second:.1%} of unseen digits correctly.")
        hits, total = result.matrix.twin_matches()
        typer.echo(f"{hits} of {total} blocks are most similar to their twin in the other net; chance would give 1.")
    print_matrices([result.matrix], outputs, as_json=False, quiet=quiet)
