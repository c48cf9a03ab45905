"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from svcca.errors import FileError, message

PathLike = str | os.PathLike[str]


def write_atomically(path: PathLike, write: Callable[[Path], object]) -> Path:
    """Let a function fill a temporary file beside the path, then move it into place.

    Args:
        path: File to write; replaced if it exists.
        write: Function that writes the file at the path it is given.

    Returns:
        The path written.

    Raises:
        FileError: If the folder does not exist or cannot be written to; nothing half-written is left behind.
    """
    target = Path(path)
    where = f"write {target}"
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=target.suffix, dir=target.parent)
    except OSError as error:
        expected, remedy = "a folder that can be written to", "Name another path"
        raise FileError(message(where, expected, str(error.strerror), remedy=remedy)) from error
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes it private; a report is for sharing
        temporary.replace(target)
    except OSError as error:
        raise FileError(message(where, "to write the file", str(error.strerror or error))) from error
    finally:
        temporary.unlink(missing_ok=True)
    return target


def write_text(path: PathLike, text: str) -> Path:
    """Write a text file in UTF-8 by `write_atomically`; return its path."""
    return write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _umask() -> int:
    """Return the process's umask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
