"""What language models share: windows of a text, the loss of the next word, and what counting words reaches."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from reproduce.data.text import Text

EVALUATED = 50
"""Windows a batch when the loss is measured: their logits are the largest thing in memory."""
PSEUDOCOUNTS = (10.0, 25.0, 50.0, 100.0, 200.0)
"""How much, in counts, the words seen after a word are smoothed towards the frequencies of all words."""


def windows(stream: Tensor, length: int, offset: int = 0) -> Tensor:
    """Cut a stream into windows (n, length + 1): `length` words and the one after each, which the next starts with."""
    n = (len(stream) - 1 - offset) // length
    starts = offset + length * torch.arange(n)
    return stream[starts[:, None] + torch.arange(length + 1)]


def shuffled_windows(
    stream: Tensor, length: int, batch: int, generator: torch.Generator, device: torch.device
) -> list[Tensor]:
    """Cut an epoch's batches from a random first word on, in random order; always as many."""
    offset = int(torch.randint(length, (1,), generator=generator))
    found = windows(stream, length, offset)
    n = (len(stream) - length) // length // batch * batch
    order = torch.randperm(len(found), generator=generator)[:n]
    return list(found[order].to(device).split(batch))


def next_word_loss(net: nn.Module, batch: Tensor) -> Tensor:
    """Cross-entropy of each next word of the windows, in nats; a net gives logits, or an output that has them."""
    output = net(batch[:, :-1])
    return cross_entropy(getattr(output, "logits", output).flatten(0, 1), batch[:, 1:].flatten())


def mean_loss(net: nn.Module, found: Tensor) -> float:
    """Mean cross-entropy over windows, nats a token."""
    with torch.no_grad():
        return sum(float(next_word_loss(net, part)) * len(part) for part in found.split(EVALUATED)) / len(found)


def unigram_loss(text: Text) -> float:
    """Nats a token of the validation text under the frequencies of words, one added to each count."""
    return float(-_frequencies(text).log()[text.valid].mean())


def bigram_loss(text: Text) -> float:
    """Nats a token under what follows the word before, smoothed by as much as is best for the validation text."""
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
