"""CIFAR-10 from the parquet files of the Hugging Face hub's `uoft-cs/cifar10`."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor


def load(folder: Path, split: str, n: int) -> tuple[Tensor, Tensor]:
    """Read the first images and labels of a split.

    Args:
        folder: Holds train-*.parquet and test-*.parquet.
        split: "train" or "test".
        n: How many; all where there are fewer.

    Returns:
        Images (n, 3, 32, 32) in [-1, 1], float32, and labels (n,), int64.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    files = sorted(Path(folder).glob(f"{split}-*.parquet"))
    if not files:
        raise FileNotFoundError(f"no {split}-*.parquet in {folder}: the layout of the hub's uoft-cs/cifar10")
    rows = pq.read_table(files[0]).slice(0, n).to_pydict()
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(image["bytes"])).convert("RGB")) for image in rows["img"]])
    return torch.tensor(pixels).permute(0, 3, 1, 2) / 127.5 - 1, torch.tensor(rows["label"])
