"""A small causal transformer over words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from reproduce.cache import plain
from reproduce.data.text import Text
from reproduce.language import mean_loss, next_word_loss, shuffled_windows, windows
from reproduce.study import Study, Trained
from reproduce.training import Training


@dataclass(frozen=True, kw_only=True)
class Transformer:
    """A Llama of Hugging Face's: normed before each block, rotary positions, gated MLPs, words in and out tied.

    Attributes:
        width: The width of a token; the MLPs are 8/3 as wide.
        n_layers: The number of blocks of attention and MLP.
        context: The largest number of tokens that it sees.
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

        def batches(generator: torch.Generator) -> list[Tensor]:
            return shuffled_windows(text.train, self.context, training.batch, generator, study.device)

        def facts(net: nn.Module) -> dict[str, Any]:
            return {"loss": mean_loss(net, windows(text.valid, self.context).to(study.device))}

        config = {"net": plain(self), "training": plain(training), "data": text.config, "seed": seed}
        name = f"llama-{self.n_layers}x{self.width}"
        return study.train(
            name,
            config,
            lambda: self.build(text.n_words).to(study.device),
            batches,
            next_word_loss,
            training,
            seed,
            facts,
        )


def last_hidden(net: nn.Module, words: Tensor) -> Tensor:
    """Return the last hidden state (n_windows, context, width), of which the logits are a linear image.

    CCA with the hidden state is CCA with the logits, since both span the same space; the logits are many times as wide.
    """
    found: Tensor = net.get_submodule("model")(input_ids=words).last_hidden_state
    return found
