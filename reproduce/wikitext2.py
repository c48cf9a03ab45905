"""WikiText-2: texts of one paragraph a line, tokens split by spaces."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import torch
from torch import Tensor

PADDING, UNKNOWN, MASK = 0, 1, 2
SPECIAL = ("<pad>", "<unk>", "<mask>")


def vocabulary(path: Path, size: int) -> dict[str, int]:
    """Number the most frequent tokens of a text, after the special ones."""
    counts = Counter(token for token in _tokens(path) if token not in SPECIAL)
    return {token: number for number, token in enumerate((*SPECIAL, *(t for t, _ in counts.most_common(size - 3))))}


def sequences(path: Path, numbers: dict[str, int], length: int) -> Tensor:
    """Give a text as sequences of one length, (n, length) int64; what is left at its end is dropped."""
    tokens = torch.tensor([numbers.get(token, UNKNOWN) for token in _tokens(path)])
    return tokens[: len(tokens) // length * length].reshape(-1, length)


def _tokens(path: Path) -> list[str]:
    if not path.is_file():
        raise FileNotFoundError(f"no {path.name} in {path.parent}: WikiText-2 as test.txt and valid.txt, or train.txt")
    return path.read_text(encoding="utf-8").split()
