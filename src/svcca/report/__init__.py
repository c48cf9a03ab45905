"""Pages made from results; importing this room registers them for `.report(path)`.

What a page takes (jinja2, the colours of matplotlib) is imported when one is written.
"""

from __future__ import annotations

from pathlib import Path

from svcca.compare.result import SimilarityMatrix
from svcca.io.files import PathLike, write_text
from svcca.io.pages import write_page


@write_page.register(SimilarityMatrix)
def write_similarity_page(matrix: SimilarityMatrix, path: PathLike) -> Path:
    """Write one self-contained HTML page of a similarity matrix.

    Args:
        matrix: The matrix.
        path: File to write; replaced if it exists.

    Returns:
        The path written.

    Raises:
        FileError: If the file cannot be written; nothing half-written is left behind.
    """
    from svcca.report.html import render

    return write_text(path, render(matrix))
