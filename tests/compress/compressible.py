"""Networks that can be compressed, one of every kind, and their data."""

import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification


def dense(seed=0):
    torch.manual_seed(seed)
    layers = [nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 3)]
    return nn.Sequential(*layers).double().eval()


def convolutional(seed=0):
    torch.manual_seed(seed)
    layers = [nn.Conv2d(2, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 12, 3, padding=1, groups=2), nn.ReLU()]
    layers += [nn.Conv2d(12, 6, 1), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 25, 4)]
    return nn.Sequential(*layers).double().eval()


class Encoder(nn.Module):
    """Torch's own transformer layer, whose fast path reads weights, and attention, which reads those of its output."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.encoder(x).mean(1))


def bert(seed=0):
    torch.manual_seed(seed)
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    return BertForSequenceClassification(BertConfig(vocab_size=30, **sizes)).double().eval()


def tokens(n=120):
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 30, (n, 6), generator=generator)
    mask = (torch.arange(6) < torch.randint(2, 7, (n, 1), generator=generator)).long()
    return {"input_ids": ids, "attention_mask": mask}


def images(n=300, *shape, seed=1):
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 1


KINDS = {
    "dense": (dense, lambda: images(300, 6)),
    "convolutional": (convolutional, lambda: images(150, 2, 5, 5)),
    "encoder": (lambda seed=0: Encoder(seed).double().eval(), lambda: images(200, 5, 8)),
    "bert": (bert, tokens),
}


def output(model, data):
    with torch.no_grad():
        return model(**data).logits if isinstance(data, dict) else model(data)
