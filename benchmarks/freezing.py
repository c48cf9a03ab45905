"""A transformer fine-tuned on fixed tokens, its lower three quarters frozen: what does the cache of those save?"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim import AdamW
from transformers import BertConfig, BertForSequenceClassification

import svcca
from benchmarks.work import Size, Values, Work

SIZES = {"quick": (4, 32, 16, 64, 4), "full": (8, 256, 64, 256, 10)}
"""Layers, units, tokens a sequence, sequences, epochs."""
BATCH = 16
VOCABULARY = 1_000


def freeze_cache(size: Size) -> Work:
    """Embeddings and three quarters of the layers freeze after the first epoch."""
    n_layers, width, n_tokens, n_sequences, epochs = SIZES[size]
    n_frozen, n_steps = 3 * n_layers // 4, n_sequences // BATCH
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(VOCABULARY, (n_sequences, n_tokens), generator=generator)
    labels = (tokens[:, 0] < VOCABULARY // 2).long()

    def network() -> BertForSequenceClassification:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            config = BertConfig(
                vocab_size=VOCABULARY,
                hidden_size=width,
                num_hidden_layers=n_layers,
                num_attention_heads=4,
                intermediate_size=4 * width,
                hidden_dropout_prob=0.0,
                attention_probs_dropout_prob=0.0,
            )
            return BertForSequenceClassification(config).train()

    def train(cache_gib: float) -> Values:
        model = network()
        optimizer = AdamW(model.parameters(), lr=1e-4)
        times, total = [n_steps] * (1 + n_frozen), epochs * n_steps
        freezer = svcca.FreezeTraining(model, optimizer, schedule=times, total_steps=total, cache_gib=cache_gib)
        for _, batch in _batches(n_sequences, epochs):
            loss = cross_entropy(model(input_ids=tokens[batch]).logits, labels[batch])
            _step(optimizer, loss)
            freezer.step()
        return {"loss": loss.item(), "parameters": _norm(model)}

    return Work(
        what=f"BERT of {n_layers} layers x {width}, {n_frozen} frozen after 1 of {epochs} epochs, "
        f"{n_sequences} x {n_tokens} tokens",
        ours=lambda: train(1.0),
        floor=lambda: _by_hand(network(), tokens, labels, n_frozen, epochs),
        literal=lambda _: train(0.0),
        bound=1.25,
        least_speedup=1.25 if size == "full" else None,
        warm_up=False,
        notes=(
            "Literal is the same training without the cache. The floor is written by hand: frozen layers run in the "
            "first two epochs, and their rows are stored by the number of the sequence.",
        ),
    )


def _by_hand(
    model: BertForSequenceClassification, tokens: Tensor, labels: Tensor, n_frozen: int, epochs: int
) -> Values:
    lower, upper = model.bert.encoder.layer[:n_frozen], model.bert.encoder.layer[n_frozen:]
    optimizer = AdamW(model.parameters(), lr=1e-4)
    stored: dict[int, Tensor] = {}
    for epoch, batch in _batches(len(tokens), epochs):
        if epoch == 1:
            for module in (model.bert.embeddings, lower):
                module.requires_grad_(False)
        if epoch < 2:
            rows = _through(lower, model.bert.embeddings(tokens[batch]))
            if epoch == 1:
                stored.update(zip(batch.tolist(), rows, strict=True))
        else:
            rows = torch.stack([stored[number] for number in batch.tolist()])
        rows = model.classifier(model.bert.pooler(_through(upper, rows)))
        _step(optimizer, loss := cross_entropy(rows, labels[batch]))
    return {"loss": loss.item(), "parameters": _norm(model)}


def _through(layers: Callable[..., Tensor], rows: Tensor) -> Tensor:
    for layer in layers:
        out = layer(rows)
        rows = out if isinstance(out, Tensor) else out[0]  # by the version of transformers
    return rows


def _batches(n: int, epochs: int) -> Iterator[tuple[int, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    for epoch in range(epochs):
        for batch in torch.randperm(n, generator=generator).split(BATCH):
            yield epoch, batch


def _step(optimizer: AdamW, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def _norm(model: torch.nn.Module) -> float:
    return torch.stack([parameter.detach().double().norm() for parameter in model.parameters()]).norm().item()
