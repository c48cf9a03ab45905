"""Rows by key, in memory or in files, up to a limit."""

from __future__ import annotations

import math
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from svcca.errors import FileError, message
from svcca.io.files import PathLike

CHUNK_BYTES = 32 * 2**20
"""Rows are held in pieces of about this size: growing copies nothing."""


class StoreFullError(Exception):
    """The limit is reached."""


class RowStore:
    """Tensors of one shape and dtype by key, on the CPU or in memory-mapped files.

    Args:
        limit_bytes: How much it may hold.
        folder: Where its files are, in a folder of their own that goes with the store; None: in memory.

    Raises:
        FileError: If the folder cannot be written to.
    """

    def __init__(self, limit_bytes: int, folder: PathLike | None = None) -> None:
        self._limit = limit_bytes
        self._chunks: list[Tensor] = []
        self._places: dict[bytes, int] = {}
        self._rows_per_chunk = 0
        self._shape: torch.Size | None = None
        self._folder: Path | None = None
        if folder is not None:
            try:
                Path(folder).mkdir(parents=True, exist_ok=True)
                self._folder = Path(tempfile.mkdtemp(prefix="svcca-prefix-", dir=folder))
                self._finalizer = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
            except OSError as error:
                raise FileError(message(f"cache {folder}", "a folder for files", str(error.strerror))) from error

    def __len__(self) -> int:
        """Rows held."""
        return len(self._places)

    def knows(self, keys: Sequence[bytes]) -> bool:
        """Tell whether there is a row of each of these keys."""
        return all(key in self._places for key in keys)

    @property
    def n_bytes(self) -> int:
        """What the pieces take."""
        return sum(chunk.numel() * chunk.element_size() for chunk in self._chunks)

    def add(self, keys: Sequence[bytes], rows: Tensor) -> None:
        """Store rows. Left out are those whose key is there, and all of another shape or dtype than the first.

        Raises:
            StoreFullError: Beyond the limit.
            FileError: If a file cannot grow: the disk is full.
        """
        if self._shape is None:
            self._shape, self._dtype = rows.shape[1:], rows.dtype
            row_bytes = max(1, math.prod(self._shape) * rows.element_size())
            self._rows_per_chunk = max(1, min(CHUNK_BYTES, self._limit) // row_bytes)
        if rows.shape[1:] != self._shape or rows.dtype != self._dtype:
            return
        rows = rows.detach().cpu()
        for key, row in zip(keys, rows, strict=True):
            if key in self._places:
                continue
            place = len(self._places)
            if place // self._rows_per_chunk == len(self._chunks):
                self._grow()
            self._row(place).copy_(row)
            self._places[key] = place

    def take(self, keys: Sequence[bytes]) -> Tensor:
        """Give the rows of these keys, (n_keys, ...)."""
        return torch.stack([self._row(self._places[key]) for key in keys])

    def _row(self, place: int) -> Tensor:
        return self._chunks[place // self._rows_per_chunk][place % self._rows_per_chunk]

    def _grow(self) -> None:
        assert self._shape is not None, "set by the first row"
        shape = (self._rows_per_chunk, *self._shape)
        numel = math.prod(shape)
        size = numel * self._dtype.itemsize
        if self.n_bytes + size > self._limit:
            raise StoreFullError(f"it takes more than {self._limit / 2**30:.3g} GiB, after {len(self):,} samples")
        if self._folder is None:
            self._chunks.append(torch.empty(shape, dtype=self._dtype))
            return
        path = self._folder / f"{len(self._chunks)}.rows"
        try:
            with path.open("wb") as file:
                file.write(bytes(size))  # not a sparse file: a full disk is an error here, and a crash later
        except OSError as error:
            got, remedy = str(error.strerror), "Free space, name another folder, or lower the limit"
            raise FileError(message(f"cache {path}", f"room for {size:,} bytes", got, "", remedy)) from error
        self._chunks.append(torch.from_file(str(path), shared=True, size=numel, dtype=self._dtype).reshape(shape))
