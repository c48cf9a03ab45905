"""The page of a result: asked for below, where results are defined, and written above, in `svcca.report`.

A result's `.report(path)` calls `write_page`, which knows no page. `svcca.report` registers one for each type that has
one, and is imported with `svcca`.
"""

from __future__ import annotations

from functools import singledispatch
from pathlib import Path

from svcca.errors import InputError, message
from svcca.io.files import PathLike


@singledispatch
def write_page(result: object, path: PathLike) -> Path:
    """Write the HTML page of a result.

    Args:
        result: A result of a type that has a page.
        path: File to write; replaced if it exists.

    Returns:
        The path written.

    Raises:
        InputError: If results of this type have no page; those that have one are listed.
        FileError: If the file cannot be written; nothing half-written is left behind.
    """
    pages = ", ".join(sorted(kind.__name__ for kind in write_page.registry if kind is not object))
    expected = f"a result that has a page: {pages or 'none is registered'}"
    raise InputError(message(f"write {path}", expected, type(result).__name__))
