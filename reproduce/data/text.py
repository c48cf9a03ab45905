"""Read words as numbers: WikiText-2 from its plain text files, and a small made-up language that needs no file."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reproduce.errors import ReproduceError, message

UNKNOWN, END = "<unk>", "<eos>"
TRAIN_NAMES = ("train.txt", "wiki.train.tokens", "wikitext2-train.txt", "test.txt", "wiki.test.tokens")
"""Files to train on; the first that exists is used: the official training text, otherwise the test text."""
VALID_NAMES = ("valid.txt", "wiki.valid.tokens", "wikitext2-valid.txt")


@dataclass(frozen=True, eq=False)
class Text:
    """Two streams of word numbers (n,), int64, below `n_words`; the words by number."""

    name: str
    train: Tensor
    valid: Tensor
    words: tuple[str, ...]

    @property
    def n_words(self) -> int:
        """Return the number of different words, including the unknown one."""
        return len(self.words)

    @property
    def config(self) -> dict[str, Any]:
        """Return what identifies this text in the key of a cache."""
        digest = hashlib.sha256(self.train.numpy().tobytes()).hexdigest()[:16]
        return {"name": self.name, "n_train": len(self.train), "n_words": self.n_words, "digest": digest}


def wikitext2(data: Path | None, n_words: int, n_train: int, n_valid: int) -> Text:
    """Read WikiText-2, its most frequent words by number and all others as one.

    Args:
        data: A folder that holds a text for training and one for evaluation, or a folder that contains such a folder.
        n_words: The number of different words, including the unknown one.
        n_train: The number of tokens for training; all of them if there are fewer.
        n_valid: The number of tokens for evaluation; all of them if there are fewer.

    Raises:
        ReproduceError: If the files are missing or are not text.
    """
    where, remedy = "read WikiText-2", "Pass the folder that holds them as --data or in SVCCA_DATA"
    expected = f"one of {', '.join(TRAIN_NAMES)} and, in the same folder, one of {', '.join(VALID_NAMES)}"
    if data is None or not data.is_dir():
        got = "none" if data is None else f"{data}, which is not a folder"
        raise ReproduceError(message(where, "a folder with the data", got, remedy))
    folders = (data, *sorted(path for path in data.iterdir() if path.is_dir()))
    pairs = ((folder / train, folder / valid) for train in TRAIN_NAMES for folder in folders for valid in VALID_NAMES)
    for train, valid in pairs:
        if train.is_file() and valid.is_file():
            return _numbered(train.stem, _tokens(train)[:n_train], _tokens(valid)[:n_valid], n_words)
    raise ReproduceError(message(where, expected, f"no such pair in {data} or a folder below it", remedy))


def made_up(n_words: int, n_train: int, n_valid: int, seed: int = 0) -> Text:
    """Draw a text from a random Markov chain of order one, in which each word is followed by few others."""
    generator = torch.Generator().manual_seed(seed)
    chances = torch.rand(n_words, n_words, generator=generator) ** 8
    chances /= chances.sum(dim=1, keepdim=True)
    sums, draws = chances.cumsum(dim=1), torch.rand(n_train + n_valid, generator=generator)
    stream, word = [], torch.tensor(0)
    for draw in draws:
        word = torch.searchsorted(sums[word], draw).clamp(max=n_words - 1)
        stream.append(word)
    numbers = torch.stack(stream)
    return Text("made up", numbers[:n_train], numbers[n_train:], tuple(f"word{i}" for i in range(n_words)))


def _tokens(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ReproduceError(message(f"read {path}", "text in UTF-8", str(error), "Download it again")) from error
    tokens = [token for line in lines if line.strip() for token in [*line.split(), END]]
    if not tokens:
        raise ReproduceError(message(f"read {path}", "words", "an empty file", "Download it again"))
    return tokens


def _numbered(stem: str, train: list[str], valid: list[str], n_words: int) -> Text:
    frequent = [word for word, _ in Counter(train).most_common() if word != UNKNOWN][: n_words - 1]
    words = (UNKNOWN, *frequent)
    number = {word: i for i, word in enumerate(words)}
    streams = (torch.tensor([number.get(token, 0) for token in tokens]) for tokens in (train, valid))
    return Text(f"wikitext2 {stem}", *streams, words)
