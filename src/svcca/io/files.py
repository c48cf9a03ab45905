"""Writing so that nothing half-written stays behind."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


def read_json(path: PathLike, name: str) -> Any:
    """Read a JSON file that the `save` of a result of this name wrote.

    Raises:
        FileError: If the file is missing or is no JSON.
    """
    where = f"load {path}"
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(message(where, "a readable file", str(error.strerror))) from error
    except ValueError as error:
        raise FileError(message(where, f"JSON that {name}.save wrote", str(error))) from error


def unwrapped_document(plain: Any, kind: str, version: int, where: str) -> dict[str, Any]:
    """Give a JSON object less its format and version, which must be these.

    Raises:
        FileError: If it is another kind of document, or of an older or newer version.
    """
    if not isinstance(plain, dict) or plain.get("format") != kind:
        raise FileError(message(where, f'JSON with "format": "{kind}"', "another kind of file"))
    found = plain.get("version")
    if found != version:
        older = isinstance(found, int) and found < version
        remedy = "Compute it again, or read it with the svcca that wrote it" if older else "Upgrade svcca to read it"
        got = f"{found}, of an older svcca" if older else str(found)
        raise FileError(message(where, f"format version {version}", got, remedy=remedy))
    return {key: value for key, value in plain.items() if key not in ("format", "version")}


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
