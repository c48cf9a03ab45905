"""A transformer encoder, trained briefly on WikiText-2 to fill in masked words, with its MLPs compressed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import BertConfig, BertForMaskedLM

import svcca
from reproduce.wikitext2 import MASK, PADDING, sequences, vocabulary

LENGTH, BATCH, WORDS = 64, 32, 3000
MLPS = ["bert.encoder.layer.*.intermediate.dense", "bert.encoder.layer.?.output.dense"]
RATIOS = (0.75, 0.5, 0.35, 0.25)


def network() -> BertForMaskedLM:
    """Build an encoder of four layers, 128 wide, with MLPs of 512."""
    sizes = {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 512}
    return BertForMaskedLM(BertConfig(vocab_size=WORDS, max_position_embeddings=LENGTH, pad_token_id=PADDING, **sizes))


def masked(tokens: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Hide 15% of the words; give what is left, and which were hidden."""
    hidden = torch.rand(tokens.shape, generator=generator) < 0.15
    return tokens.masked_fill(hidden, MASK), hidden


def loss_of(net: nn.Module, tokens: Tensor, generator: torch.Generator) -> Tensor:
    """Cross-entropy of the hidden words, in nats."""
    inputs, hidden = masked(tokens, generator)
    return cross_entropy(net(input_ids=inputs).logits[hidden], tokens[hidden])


def evaluate(net: nn.Module, tokens: Tensor) -> tuple[float, float]:
    """Cross-entropy of the hidden words, in nats, and the share of them that are filled in right."""
    generator = torch.Generator().manual_seed(0)
    loss, right, total = 0.0, 0, 0
    net.eval()
    with torch.no_grad():
        for batch in tokens.split(BATCH):
            inputs, hidden = masked(batch, generator)
            logits = net(input_ids=inputs).logits[hidden]
            loss += float(cross_entropy(logits, batch[hidden], reduction="sum"))
            right, total = right + int((logits.argmax(1) == batch[hidden]).sum()), total + len(logits)
    return loss / total, right / total


def trained(tokens: Tensor, seed: int, epochs: int) -> BertForMaskedLM:
    """Train an encoder with AdamW and a learning rate that falls to nothing."""
    torch.manual_seed(seed)
    net, generator = network(), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)
    total = epochs * -(-len(tokens) // BATCH)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total)
    net.train()
    for _ in range(epochs):
        for chosen in torch.randperm(len(tokens), generator=generator).split(BATCH):
            optimizer.zero_grad()
            loss_of(net, tokens[chosen], generator).backward()
            optimizer.step()
            scheduler.step()
    return net.eval()


def main(
    data: Annotated[Path, typer.Option(help="Folder with the texts of WikiText-2.")],
    epochs: int = 30,
    seed: int = 0,
) -> None:
    """Train on the larger text that is there, compress at several ratios, evaluate on the validation text."""
    source = next((data / name for name in ("train.txt", "test.txt") if (data / name).is_file()), data / "train.txt")
    numbers = vocabulary(source, WORDS)
    tokens, held_out = sequences(source, numbers, LENGTH), sequences(data / "valid.txt", numbers, LENGTH)[:1000]
    net = trained(tokens, seed, epochs)
    sizes = sum(parameter.numel() for parameter in net.parameters())
    loss, right = evaluate(net, held_out)
    typer.echo(f"{sizes:,} parameters: {loss:.3f} nats a hidden word, {right:.3f} of them right")
    generator = torch.Generator().manual_seed(1)
    seen = [{"input_ids": masked(batch, generator)[0]} for batch in tokens[:1000].split(BATCH)]
    for against in ("pca", "weights"):
        for ratio in RATIOS:
            smaller = svcca.compress(net, seen, layers=MLPS, ratio=ratio, against=against, progress=False)
            left = sum(parameter.numel() for parameter in smaller.parameters())
            more, right = evaluate(smaller, held_out)
            typer.echo(f"{against}, MLPs at {ratio}: {left:,} parameters, {more - loss:+.3f} nats, {right:.3f} right")


if __name__ == "__main__":
    typer.run(main)
