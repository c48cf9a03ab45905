"""Stacked LSTM language models: the net, windows of a text, perplexity, and the models that figures share."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from reproduce.data.text import Text
from reproduce.study import Study, Trained
from reproduce.training import Training

EVALUATED = 50
"""Windows a batch when perplexity is measured: their logits are the largest thing in memory."""


class StackedLSTM(nn.Module):
    """Embedding, LSTM layers of one width one on top of the other, and a linear decoder to the words.

    Each LSTM is a module of its own (`lstm1`, `lstm2`, ...), so that each is a layer with a name. The state of every
    layer is zero at the start of a sequence. First weights keep the size of what passes through, and forget gates are
    open: with torch's own a stack of five gets stuck at the words' frequencies.
    """

    def __init__(self, n_words: int, width: int, n_layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_words, width)
        self.lstms = [f"lstm{number}" for number in range(1, n_layers + 1)]
        for name in self.lstms:
            self.add_module(name, _open_lstm(width))
        self.decoder = nn.Linear(width, n_words)
        # Embeddings of torch's default size, 1, would hardly move where a word is rare.
        for weight in (self.embedding.weight, self.decoder.weight):
            nn.init.uniform_(weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, words: Tensor) -> Tensor:
        """Give logits (n, length, n_words) of the word that follows each of the words (n, length)."""
        states = self.embedding(words)
        for name in self.lstms:
            states, _ = self.get_submodule(name)(states)
        return self.decoder(states)  # type: ignore[no-any-return]


def _open_lstm(width: int) -> nn.LSTM:
    lstm = nn.LSTM(width, width, batch_first=True)
    for gate_in, gate_on in zip(lstm.weight_ih_l0.chunk(4), lstm.weight_hh_l0.chunk(4), strict=True):
        with torch.no_grad():
            nn.init.xavier_uniform_(gate_in)
            nn.init.orthogonal_(gate_on)
    nn.init.zeros_(lstm.bias_ih_l0)
    nn.init.zeros_(lstm.bias_hh_l0)
    with torch.no_grad():
        lstm.bias_ih_l0[width : 2 * width] = 1  # torch's order of gates: input, forget, cell, output
    return lstm


@dataclass(frozen=True, kw_only=True)
class LanguageModels:
    """Stacked LSTMs of one width on one text: what a trained one is keyed by, beside its depth and seed.

    Attributes:
        n_words: Words that are told apart.
        n_train: Tokens to train on.
        n_valid: Tokens to evaluate on.
        width: Units of the embedding and of each LSTM.
        length: Words of a window, through which gradients go back.
        training: How; a batch counts windows.
    """

    n_words: int
    n_train: int
    n_valid: int
    width: int
    length: int
    training: Training

    def text(self, study: Study) -> Text:
        """Read the text that they are trained and evaluated on."""
        return study.text(self.n_words, self.n_train, self.n_valid)

    def train(self, study: Study, text: Text, n_layers: int, seed: int) -> Trained:
        """Train a net with a seed, or take it from the cache; its facts say the perplexity on the validation text."""

        def build() -> nn.Module:
            return StackedLSTM(text.n_words, self.width, n_layers).to(study.device)

        def batches(generator: torch.Generator) -> list[Tensor]:
            return shuffled_windows(text.train, self.length, self.training.batch, generator, study.device)

        def facts(net: nn.Module) -> dict[str, float]:
            return {"perplexity": perplexity(net, windows(text.valid, self.length).to(study.device))}

        net = {"kind": "lstm", "width": self.width, "layers": n_layers, "length": self.length}
        config = {"net": net, "training": asdict(self.training), "data": text.config, "seed": seed}
        name = f"lstm-{n_layers}x{self.width}"
        return study.train(name, config, build, batches, next_word_loss, self.training, seed, facts)


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
    """Cross-entropy of each next word of the windows, in nats."""
    return cross_entropy(net(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())


def perplexity(net: nn.Module, found: Tensor) -> float:
    """Give exp of the mean cross-entropy over windows."""
    with torch.no_grad():
        sums = [float(next_word_loss(net, part)) * len(part) for part in found.split(EVALUATED)]
    return math.exp(sum(sums) / len(found))


def unigram_perplexity(text: Text) -> float:
    """Perplexity on the validation text of a model that knows how frequent each word is in training, and no more.

    Each word is counted once more than it was seen, so that none has the probability 0.
    """
    counts = torch.bincount(text.train, minlength=text.n_words).double() + 1
    return math.exp(-float((counts / counts.sum()).log()[text.valid].mean()))


LANGUAGE = {
    "quick": LanguageModels(
        n_words=20,
        n_train=12_000,
        n_valid=7_000,
        width=16,
        length=16,
        training=Training(epochs=3, batch=10, learning_rate=2e-2, snapshots=6, clip=1.0),
    ),
    "cpu": LanguageModels(
        n_words=2000,
        n_train=250_000,
        n_valid=220_000,
        width=100,
        length=35,
        training=Training(epochs=12, batch=20, learning_rate=3e-3, snapshots=20, clip=1.0),
    ),
    "full": LanguageModels(
        n_words=33_278,
        n_train=2_200_000,
        n_valid=220_000,
        width=400,
        length=35,
        training=Training(epochs=20, batch=20, learning_rate=1e-3, snapshots=20, clip=1.0),
    ),
}
"""For each preset. The full one has all words of WikiText-2; the papers do not say how wide theirs were."""
