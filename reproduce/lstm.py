"""Stacked LSTM language models: the net, and the trained ones that figures share."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reproduce.cache import plain
from reproduce.data.text import Text
from reproduce.language import mean_loss, next_word_loss, shuffled_windows, windows
from reproduce.study import Study, Trained
from reproduce.training import Training


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
        """Return logits (n, length, n_words) of the word that follows each of the words (n, length)."""
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
        """Read the text for training and evaluation."""
        return study.text(self.n_words, self.n_train, self.n_valid)

    def train(self, study: Study, text: Text, n_layers: int, seed: int) -> Trained:
        """Train a net with a seed, or take it from the cache; its facts include the validation perplexity."""

        def build() -> nn.Module:
            return StackedLSTM(text.n_words, self.width, n_layers).to(study.device)

        def batches(generator: torch.Generator) -> list[Tensor]:
            return shuffled_windows(text.train, self.length, self.training.batch, generator, study.device)

        def facts(net: nn.Module) -> dict[str, float]:
            return {"perplexity": math.exp(mean_loss(net, windows(text.valid, self.length).to(study.device)))}

        net = {"kind": "lstm", "width": self.width, "layers": n_layers, "length": self.length}
        config = {"net": net, "training": plain(self.training), "data": text.config, "seed": seed}
        name = f"lstm-{n_layers}x{self.width}"
        return study.train(name, config, build, batches, next_word_loss, self.training, seed, facts)


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
