"""Keep what has been computed, keyed by its whole configuration: trained weights and the numbers of an analysis."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from reproduce.errors import ReproduceError, message

VERSION = 1
"""Version of the stored results. Raise it when the same configuration would give other nets, data or training."""

LATER = {"later": True}
"""Metadata of a field that was added to a configuration later; see `plain`."""


class Cache:
    """Results in an existing folder, each named by a hash of its configuration, which it also contains.

    A file is written beside its place and moved there when it is complete, so that an interrupted run or a full disk
    leaves nothing that would be read. One of another version, or one that cannot be read, is made again.
    """

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self.folder = folder
        self._say = say

    def path(self, name: str, config: dict[str, Any], suffix: str) -> Path:
        """Return the path of the result of this configuration, whether or not it exists."""
        key = hashlib.sha256(_canonical(config).encode()).hexdigest()[:16]
        return self.folder / f"{name}-{key}{suffix}"

    def values(self, name: str, config: dict[str, Any], make: Callable[[], Any]) -> tuple[Any, bool]:
        """Return the plain data (as JSON holds it) of a configuration, and whether it was there already."""
        path = self.path(name, config, ".json")
        if path.exists():
            with suppress(ValueError, OSError):
                stored = json.loads(path.read_text(encoding="utf-8"))
                if _is_current(stored):
                    return stored["values"], True
            self._say_again(path)
        plain = json.loads(json.dumps(make()))  # what a later run will read, also in this one
        text = json.dumps({"version": VERSION, "config": config, "values": plain})
        write(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
        return plain, False

    def tensors(
        self, name: str, config: dict[str, Any], make: Callable[[], tuple[dict[str, Tensor], dict[str, Any]]]
    ) -> tuple[dict[str, Tensor], dict[str, Any], bool]:
        """Return tensors by name and plain facts about them, and whether they were there already."""
        path = self.path(name, config, ".safetensors")
        if path.exists():
            with suppress(SafetensorError, OSError, ValueError), safe_open(path, "pt") as file:
                facts = _facts(file)
                if facts is not None:
                    return {key: file.get_tensor(key) for key in file.keys()}, facts, True  # noqa: SIM118
            self._say_again(path)
        tensors, facts = make()
        plain = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
        about = {"reproduce": json.dumps({"version": VERSION, "config": config, "facts": facts})}
        write(path, lambda temporary: save_file(plain, temporary, metadata=about))
        return plain, facts, False

    def facts(self, name: str, config: dict[str, Any]) -> dict[str, Any] | None:
        """Read the facts about tensors without reading these; None if there are none, or none that would be used."""
        with (
            suppress(SafetensorError, OSError, ValueError),
            safe_open(self.path(name, config, ".safetensors"), "pt") as file,
        ):
            return _facts(file)
        return None

    def _say_again(self, path: Path) -> None:
        self._say(f"{path.name} is damaged or from another version; it is computed again")


def plain(value: Any) -> Any:
    """Return what a configuration is keyed by: a data class as a dictionary, also inside other values.

    A field with the metadata LATER came when results were in caches already. It is left out where it has its default,
    so that they keep their keys.
    """
    if is_dataclass(value):
        kept = [
            field for field in fields(value) if field.metadata != LATER or getattr(value, field.name) != field.default
        ]
        return {field.name: plain(getattr(value, field.name)) for field in kept}
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    return [plain(part) for part in value] if isinstance(value, list | tuple) else value


def write(path: Path, fill: Callable[[Path], Any]) -> Path:
    """Let `fill` write a temporary file beside `path`, then move it there; nothing stays behind if it fails.

    Raises:
        ReproduceError: If the file cannot be written; the message names it.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{path.suffix}")
    try:
        fill(temporary)
        temporary.replace(path)
    except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors word a full disk in their own way
        remedy = "Free space there, or name another folder with --out"
        raise ReproduceError(message(f"write {path}", "to write the file", str(error), remedy)) from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _facts(file: Any) -> dict[str, Any] | None:
    stored = json.loads((file.metadata() or {}).get("reproduce", "{}"))
    return stored["facts"] if _is_current(stored) else None


def _is_current(stored: Any) -> bool:
    return isinstance(stored, dict) and stored.get("version") == VERSION


def _canonical(config: Any) -> str:
    return json.dumps(config, sort_keys=True)
