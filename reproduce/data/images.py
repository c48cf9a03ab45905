"""Read labelled images: scikit-learn's digits, and CIFAR-10 in any of its three layouts."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image, UnidentifiedImageError
from sklearn.datasets import load_digits
from torch import Tensor

from reproduce.errors import ReproduceError, message

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
LAYOUTS = (
    "train-*.parquet and test-*.parquet (the hub's uoft-cs/cifar10), "
    "data_batch_1 to 5 and test_batch (cifar-10-batches-py), or train/CLASS/*.png and test/CLASS/*.png (or .jpg)"
)
N_DIGITS_TRAIN = 1200
Read = Callable[[str, int], tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]


@dataclass(frozen=True, eq=False)
class Images:
    """Images (n, channels, height, width) in [-1, 1], float32, and their labels (n,), int64, in two splits."""

    name: str
    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor
    classes: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return channels, height and width."""
        _, channels, height, width = self.train.shape
        return channels, height, width

    @property
    def config(self) -> dict[str, Any]:
        """Return what identifies these images in the key of a cache."""
        digest = hashlib.sha256(self.train_labels.cpu().numpy().tobytes())
        digest.update(self.train[:64].cpu().numpy().tobytes())
        return {"name": self.name, "n_train": len(self.train), "digest": digest.hexdigest()[:16]}

    def first(self, n_train: int, n_test: int) -> Images:
        """Keep the first images of both splits, as if no more had been read."""
        train, test = slice(n_train), slice(n_test)
        kept = (self.train[train], self.train_labels[train], self.test[test], self.test_labels[test])
        return Images(self.name, *kept, self.classes)

    def to(self, device: torch.device) -> Images:
        """Move everything to a device."""
        moved = (part.to(device) for part in (self.train, self.train_labels, self.test, self.test_labels))
        return Images(self.name, *moved, self.classes)


def digits(n_train: int, n_test: int) -> Images:
    """Return scikit-learn's 1,797 handwritten digits of 8 x 8: at most 1,200 for training and 597 for testing."""
    bunch = load_digits()
    order = torch.randperm(len(bunch.images), generator=torch.Generator().manual_seed(0))
    images = torch.tensor(bunch.images, dtype=torch.float32)[order, None] / 8 - 1
    labels = torch.tensor(bunch.target)[order]
    n_train = min(n_train, N_DIGITS_TRAIN)
    test = slice(N_DIGITS_TRAIN, N_DIGITS_TRAIN + n_test)
    return Images("digits", images[:n_train], labels[:n_train], images[test], labels[test], tuple("0123456789"))


def cifar10(data: Path | None, n_train: int, n_test: int) -> Images:
    """Read the first images of both splits of CIFAR-10.

    Args:
        data: A folder that holds one of the three layouts, or a folder with such a folder in it.
        n_train: The number of training images; all of them if there are fewer.
        n_test: The number of test images; all of them if there are fewer.

    Raises:
        ReproduceError: If no layout is found in or below `data`, or a file is damaged; the message names it.
    """
    read = _reader(data)
    splits = [_tensors(*read(split, n)) for split, n in (("train", n_train), ("test", n_test))]
    (train, train_labels), (test, test_labels) = splits
    return Images("cifar10", train, train_labels, test, test_labels, CLASSES)


def _tensors(pixels: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> tuple[Tensor, Tensor]:
    images = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))).float() / 127.5 - 1
    return images, torch.from_numpy(labels.astype(np.int64))


def _reader(data: Path | None) -> Read:
    """Find the folder and its layout; return a reader of a split, as arrays (n, 32, 32, 3) of bytes and labels."""
    where = "read CIFAR-10"
    if data is None:
        raise ReproduceError(message(where, "a folder with the data", "none", "Pass it as --data or in SVCCA_DATA"))
    if not data.is_dir():
        raise ReproduceError(message(where, "a folder", f"{data}, which is not a folder", "Pass the folder as --data"))
    for folder in (data, *sorted(path for path in data.iterdir() if path.is_dir())):
        for present, read in (
            (any(folder.glob("train-*.parquet")) and any(folder.glob("test-*.parquet")), _parquet),
            ((folder / "data_batch_1").is_file() and (folder / "test_batch").is_file(), _pickles),
            ((folder / "train" / CLASSES[0]).is_dir() and (folder / "test" / CLASSES[0]).is_dir(), _folders),
        ):
            if present:
                return lambda split, n, folder=folder, read=read: read(folder, split, n)  # type: ignore[misc]
    got = f"none of them in {data} or in the folders below it"
    raise ReproduceError(message(where, LAYOUTS, got, "Pass the folder that holds one of them as --data"))


def _parquet(folder: Path, split: str, n: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    pixels: list[np.ndarray[Any, Any]] = []
    labels: list[int] = []
    for path in sorted(folder.glob(f"{split}-*.parquet")):
        try:
            rows = pq.read_table(path, columns=["img", "label"]).slice(0, n - len(labels)).to_pydict()
        except (OSError, pa.ArrowException) as error:
            raise _damaged(path, "columns img and label", error) from error
        pixels += [_decoded(image["bytes"], f"{path}, row {row}") for row, image in enumerate(rows["img"], len(pixels))]
        labels += rows["label"]
    return np.stack(pixels), np.array(labels)


def _pickles(folder: Path, split: str, n: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    names = [f"data_batch_{number}" for number in range(1, 6)] if split == "train" else ["test_batch"]
    pixels, labels = [], []
    for path in (folder / name for name in names):
        try:
            batch = _ArraysOnly(io.BytesIO(path.read_bytes()), encoding="bytes").load()
            pixels.append(batch[b"data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
            labels += batch[b"labels"]
        except (OSError, pickle.UnpicklingError, EOFError, KeyError, ValueError, AttributeError, TypeError) as error:
            raise _damaged(path, "a batch of cifar-10-batches-py", error) from error
        if len(labels) >= n:
            break
    return np.concatenate(pixels)[:n], np.array(labels[:n])


class _ArraysOnly(pickle.Unpickler):
    """An unpickler of plain data and NumPy arrays only: other pickles can call any function."""

    ALLOWED = frozenset(
        {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("_codecs", "encode"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        """Return a class or function that arrays need."""
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no array needs")
        return super().find_class(module, name)


def _folders(folder: Path, split: str, n: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Take the classes in turn, so that the first n images hold each of them."""
    lists = []
    for name in CLASSES:
        files = sorted(path for path in (folder / split / name).glob("*") if path.suffix in (".png", ".jpg", ".jpeg"))
        if not files:
            raise _damaged(folder / split / name, "images .png or .jpg", "none")
        lists.append(files)
    turns = [
        (files[turn], label)
        for turn in range(max(map(len, lists)))
        for label, files in enumerate(lists)
        if turn < len(files)
    ][:n]
    return np.stack([_decoded(path.read_bytes(), str(path)) for path, _ in turns]), np.array(
        [label for _, label in turns]
    )


def _decoded(content: bytes, where: str) -> np.ndarray[Any, Any]:
    try:
        pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise _damaged(where, "an image", error) from error
    if pixels.shape != (32, 32, 3):
        raise _damaged(where, "an image of 32 x 32", f"{pixels.shape[1]} x {pixels.shape[0]}")
    return pixels


def _damaged(where: Any, expected: str, got: Any) -> ReproduceError:
    return ReproduceError(message(f"read {where}", expected, str(got), "Download it again, or remove the file"))
