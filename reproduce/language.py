"""A small causal transformer over words, and what counting words and pairs of words reaches without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from reproduce.data.text import Text
from reproduce.study import Study, Trained
from reproduce.training import Training

Windows = tuple[Tensor, Tensor]
"""Words (n_windows, context), and for each the word that follows it."""

EVALUATED = 50
"""Windows a batch when the loss is measured."""
PSEUDOCOUNTS = (10.0, 25.0, 50.0, 100.0, 200.0)
"""How much, in counts, the words seen after a word are smoothed towards the frequencies of all words."""


@dataclass(frozen=True, kw_only=True)
class Transformer:
    """A Llama of Hugging Face's: normed before each block, rotary positions, gated MLPs, words in and out tied.

    Attributes:
        width: Of a token; the MLPs are 8/3 as wide.
        n_layers: Blocks of attention and MLP.
        context: Tokens that it sees at most.
    """

    width: int = 128
    n_layers: int = 3
    context: int = 64

    def build(self, n_words: int) -> nn.Module:
        """Build it with fresh weights."""
        from transformers import LlamaConfig, LlamaForCausalLM  # seconds, which other figures need not wait for

        config = LlamaConfig(
            vocab_size=n_words,
            hidden_size=self.width,
            intermediate_size=8 * self.width // 3 // 8 * 8,
            num_hidden_layers=self.n_layers,
            num_attention_heads=4,
            max_position_embeddings=self.context,
            tie_word_embeddings=True,
            use_cache=False,
        )
        return LlamaForCausalLM(config)

    def train(self, study: Study, text: Text, training: Training, seed: int) -> Trained:
        """Train it with a seed, or take it from the cache; each epoch cuts its windows at another place."""
        n_batches = (len(text.train) // self.context - 1) // training.batch

        def batches(generator: torch.Generator) -> Sequence[Windows]:
            start = int(torch.randint(self.context, (), generator=generator))
            inputs, targets = (part.to(study.device) for part in windows(text.train, self.context, start))
            order = torch.randperm(len(inputs), generator=generator).to(study.device)
            return [(inputs[part], targets[part]) for part in order.split(training.batch)[:n_batches]]

        def facts(net: nn.Module) -> dict[str, Any]:
            return {"loss": loss(net, windows(text.valid.to(study.device), self.context))}

        config = {"net": asdict(self), "training": asdict(training), "data": text.config, "seed": seed}
        name = f"llama-{self.n_layers}x{self.width}"
        return study.train(
            name, config, lambda: self.build(text.n_words).to(study.device), batches, batch_loss, training, seed, facts
        )


def windows(tokens: Tensor, context: int, start: int = 0) -> Windows:
    """Cut a text into windows; what does not fill one is left out."""
    end = start + (len(tokens) - 1 - start) // context * context
    return tokens[start:end].view(-1, context), tokens[start + 1 : end + 1].view(-1, context)


def batch_loss(net: nn.Module, batch: Windows) -> Tensor:
    """Cross-entropy of the words that follow, nats a token."""
    return cross_entropy(net(input_ids=batch[0]).logits.flatten(0, 1), batch[1].flatten())


def loss(net: nn.Module, judged: Windows) -> float:
    """Mean cross-entropy over windows, nats a token."""
    pairs = zip(*(part.split(EVALUATED) for part in judged), strict=True)
    with torch.no_grad():
        return sum(float(batch_loss(net, pair)) * len(pair[0]) for pair in pairs) / len(judged[0])


def last_hidden(net: nn.Module, words: Tensor) -> Tensor:
    """Give the last hidden state (n_windows, context, width), of which the logits are a linear image.

    CCA with the one is CCA with the other, since both span the same space; the logits are many times as wide.
    """
    found: Tensor = net.get_submodule("model")(input_ids=words).last_hidden_state
    return found


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
