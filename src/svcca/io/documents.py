"""Results as JSON documents: written whole or not at all, read back with every field or a typed error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Self

from svcca.errors import FileError, message
from svcca.io.files import PathLike, write_text


class Document:
    """A result that is saved as JSON, with its format and version beside its fields."""

    _FORMAT: ClassVar[str]
    _VERSION: ClassVar[int]

    def _plain(self) -> dict[str, Any]:
        """Return the fields as plain JSON types."""
        raise NotImplementedError

    @classmethod
    def _from_plain(cls, plain: dict[str, Any], where: str) -> Self:
        """Build the result from what `_plain` returned.

        A TypeError, KeyError, ValueError or OverflowError that it raises becomes a FileError.
        """
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON types: what `save` writes and the command prints with `--json`."""
        return {"format": self._FORMAT, "version": self._VERSION, **self._plain()}

    def save(self, path: PathLike) -> Path:
        """Write the result as JSON, versioned and with numbers to full precision; return the path written.

        Raises:
            FileError: If the file cannot be written; nothing half-written is left behind.
        """
        return write_text(path, json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: PathLike) -> Self:
        """Read a result that `save` wrote.

        Raises:
            FileError: If the file is missing, is not such a document, or comes from a another version.
        """
        where = f"load {path}"
        return cls.from_dict(_read_json(path, where, f"JSON that {cls.__name__}.save wrote"), where)

    @classmethod
    def from_dict(cls, plain: Any, where: str | None = None) -> Self:
        """Build the result from what `to_dict` returned.

        Args:
            plain: The dictionary.
            where: What leads the messages; default: this method.

        Raises:
            FileError: If it is not such a document, or comes from a another version.
        """
        where = where or f"{cls.__name__}.from_dict"
        if not isinstance(plain, dict) or plain.get("format") != cls._FORMAT:
            raise FileError(message(where, f'JSON with "format": "{cls._FORMAT}"', "another kind of file"))
        found = plain.get("version")
        if found != cls._VERSION:
            older = isinstance(found, int) and found < cls._VERSION
            remedy = (
                "Compute it again, or read it with the svcca that wrote it" if older else "Upgrade svcca to read it"
            )
            got = f"{found}, of an older svcca" if older else str(found)
            raise FileError(message(where, f"format version {cls._VERSION}", got, remedy=remedy))
        fields = {key: value for key, value in plain.items() if key not in ("format", "version")}
        try:
            return cls._from_plain(fields, where)
        except (TypeError, KeyError, ValueError, OverflowError) as error:
            raise FileError(message(where, f"every field of a {cls.__name__}", str(error))) from error


def _read_json(path: PathLike, where: str, expected: str) -> Any:
    """Read a JSON file.

    Raises:
        FileError: If the file is missing or holds something else.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(message(where, "a readable file", str(error.strerror))) from error
    except ValueError as error:
        raise FileError(message(where, expected, str(error))) from error
