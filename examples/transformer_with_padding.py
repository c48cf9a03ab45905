"""Compare Hugging Face encoders on their own batches: the attention mask excludes padding, so it changes nothing."""

import numpy as np
import torch
from transformers import BertConfig, BertModel

import svcca

torch.manual_seed(0)
config = BertConfig(vocab_size=500, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64)
model_a, model_b = BertModel(config), BertModel(config)  # random weights: nothing is downloaded
sentences = [torch.randint(5, 500, (int(length),)) for length in torch.randint(5, 15, (600,))]


def batches(padded_length):
    for start in range(0, len(sentences), 100):
        ids = torch.zeros(100, padded_length, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, sentence in enumerate(sentences[start : start + 100]):
            ids[row, : len(sentence)], mask[row, : len(sentence)] = sentence, 1
        yield {"input_ids": ids, "attention_mask": mask}  # dicts are passed to the model as keywords


layers = "encoder.layer.?"  # the output of each block; "*" would be every module
short, long = (svcca.compare(model_a, model_b, batches(length), layers=layers) for length in (16, 40))
print(short.to_frame().round(4))
print("observed by", short.rows[0].observation, "over", short.n_samples, "real tokens")

# Attention over masked positions leaves rounding at the level of float32.
assert short.n_samples == sum(len(sentence) for sentence in sentences)
assert np.abs(short.values - long.values).max() < 1e-4, "padding changes nothing"
