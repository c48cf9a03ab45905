"""Writing so that nothing half-written stays behind."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from svcca.errors import FileError, message

PathLike = str | os.PathLike[str]


def write_atomically(path: PathLike, write: Callable[[Path], object]) -> Path:
    """Let `write` fill a temporary file beside `path`, then move it into place; returns the path written.

    Raises:
        FileError: If the folder does not exist or cannot be written to; no file is left behind.
    """
    target = Path(path)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=target.suffix, dir=target.parent)
    except OSError as error:
        raise FileError(
            message(f"write {target}", "a folder that can be written to", str(error.strerror), "", "Name another path")
        ) from error
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes it private; a report is for sharing
        temporary.replace(target)
    except OSError as error:
        raise FileError(message(f"write {target}", "to write the file", str(error.strerror or error))) from error
    finally:
        temporary.unlink(missing_ok=True)
    return target


def write_text(path: PathLike, text: str) -> Path:
    """Write a text file atomically, in UTF-8."""
    return write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
