"""Common parts of language models: windows of a text, the loss of the next word, and word-count baselines."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from reproduce.data.text import Text

EVALUATED = 50
"""Windows a batch when the loss is measured: their logits are the largest thing in memory."""
PSEUDOCOUNTS = (10.0, 25.0, 50.0, 100.0, 200.0)
"""Amounts of smoothing, in counts, of the words seen after a word towards the frequencies of all words."""


def windows(stream: Tensor, length: int, offset: int = 0) -> Tensor:
    """Cut a stream into windows (n, length + 1): `length` words and the next one, which starts the next window."""
    n = (len(stream) - 1 - offset) // length
    starts = offset + length * torch.arange(n)
    return stream[starts[:, None] + torch.arange(length + 1)]


def shuffled_windows(
    stream: Tensor, length: int, batch: int, generator: torch.Generator, device: torch.device
) -> list[Tensor]:
    """Cut an epoch's batches from a random first word on, in random order; the number of batches is fixed."""
    offset = int(torch.randint(length, (1,), generator=generator))
    found = windows(stream, length, offset)
    n = (len(stream) - length) // length // batch * batch
    order = torch.randperm(len(found), generator=generator)[:n]
    return list(found[order].to(device).split(batch))


def next_word_loss(net: nn.Module, batch: Tensor) -> Tensor:
    """Return the cross-entropy of each next word, in nats; the net returns logits, or an output that holds them."""
    output = net(batch[:, :-1])
    return cross_entropy(getattr(output, "logits", output).flatten(0, 1), batch[:, 1:].flatten())


def mean_loss(net: nn.Module, found: Tensor) -> float:
    """Return the mean cross-entropy over windows, in nats per token."""
    with torch.no_grad():
        return sum(float(next_word_loss(net, part)) * len(part) for part in found.split(EVALUATED)) / len(found)


def unigram_loss(text: Text) -> float:
    """Return the nats per token of the validation text under word frequencies, with one added to each count."""
    return float(-_frequencies(text).log()[text.valid].mean())


def bigram_loss(text: Text) -> float:
    """Return the nats per token under word pairs, smoothed by the amount that is best for the validation text."""
    pairs, counts = (text.train[:-1] * text.n_words + text.train[1:]).unique(return_counts=True)
    before, after = text.valid[:-1], text.valid[1:]
    wanted = before * text.n_words + after
    place = torch.searchsorted(pairs, wanted).clamp(max=len(pairs) - 1)
    seen = torch.where(pairs[place] == wanted, counts[place], 0).double()
    totals = torch.bincount(text.train[:-1], minlength=text.n_words)[before].double()
    words = _frequencies(text)[after]
    return min(float(-((seen + c * words) / (totals + c)).log().mean()) for c in PSEUDOCOUNTS)


def _frequencies(text: Text) -> Tensor:
    counts = torch.bincount(text.train, minlength=text.n_words).double() + 1
    return counts / counts.sum()
