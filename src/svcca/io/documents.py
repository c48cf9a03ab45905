"""Results as JSON documents: written whole or not at all, read back with every field or a typed error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Self

from svcca.errors import FileError, message
from svcca.io.files import PathLike, read_json, unwrapped_document, write_text


class Document:
    """A result that is saved as JSON, with its format and version beside its fields."""

    _FORMAT: ClassVar[str]
    _VERSION: ClassVar[int]

    def _plain(self) -> dict[str, Any]:
        """Give the fields as plain JSON types."""
        raise NotImplementedError

    @classmethod
    def _from_plain(cls, plain: dict[str, Any], where: str) -> Self:
        """Build the result from what `_plain` gave; what it raises for a field that is missing becomes a FileError."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON types: what `save` writes and the command prints with `--json`."""
        return {"format": self._FORMAT, "version": self._VERSION, **self._plain()}

    def save(self, path: PathLike) -> Path:
        """Write the result as JSON (versioned; numbers to full precision); nothing half-written is left behind.

        Raises:
            FileError: If the file cannot be written.
        """
        return write_text(path, json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: PathLike) -> Self:
        """Read a result that `save` wrote.

        Raises:
            FileError: If the file is missing, is no such JSON, or comes from another version.
        """
        return cls.from_dict(read_json(path, cls.__name__), f"load {path}")

    @classmethod
    def from_dict(cls, plain: Any, where: str | None = None) -> Self:
        """Give the result that `to_dict` wrote; `where` leads the messages (default: this method).

        Raises:
            FileError: If it is no such document, or comes from another version.
        """
        where = where or f"{cls.__name__}.from_dict"
        fields = unwrapped_document(plain, cls._FORMAT, cls._VERSION, where)
        try:
            return cls._from_plain(fields, where)
        except (TypeError, KeyError, ValueError, OverflowError) as error:
            raise FileError(message(where, f"every field of a {cls.__name__}", str(error))) from error
