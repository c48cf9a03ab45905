import pytest
import torch
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    ResNetConfig,
    ResNetForImageClassification,
)

import svcca
from svcca.errors import InputError, LayerError, SvccaWarning
from svcca.freeze.blocks import find_blocks, named_blocks, network_of, roots_of


def names(model):
    return [block.name for block in find_blocks(model)]


def conv_net():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Sequential(nn.Conv2d(4, 4, 3), nn.GroupNorm(2, 4), nn.ReLU()),
        nn.Flatten(),
        nn.Linear(4, 2),
    )


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.shortcut = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))


class Encoder(nn.Module):
    """A stack, and parameters outside of every module, as vision transformers have."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.zeros(4))
        self.embed = nn.Linear(3, 4)
        self.layers = nn.Sequential(Residual(), Residual())
        self.norm = nn.LayerNorm(4)


def test_sequences_are_opened_and_normalisation_goes_with_the_layer_before():
    blocks = find_blocks(conv_net())
    assert [block.modules for block in blocks] == [("0", "1"), ("3.0", "3.1"), ("5",)]
    assert blocks[0].parameters == ("0.weight", "0.bias", "1.weight", "1.bias")
    assert blocks[0].n_parameters == 3 * 4 * 9 + 4 + 8


def test_residual_blocks_stay_whole():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(Residual(), Residual()), nn.Linear(4, 2))
    assert names(net) == ["0", "1.0", "1.1", "2"]


def test_a_sequence_with_a_forward_of_its_own_is_a_block():
    class Shortcut(nn.Sequential):
        def forward(self, x):
            return x + super().forward(x)

    net = nn.Sequential(nn.Linear(4, 4), Shortcut(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)), nn.Linear(4, 2))
    assert names(net) == ["0", "1", "2"]


def test_a_module_that_holds_a_stack_is_opened_and_its_own_parameters_go_with_its_first_block():
    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.head = Encoder(), nn.Linear(4, 2)

    blocks = find_blocks(Classifier())
    assert [block.name for block in blocks] == ["encoder.embed", "encoder.layers.0", "encoder.layers.1", "head"]
    assert "encoder.token" in blocks[0].parameters
    assert blocks[2].modules == ("encoder.layers.1", "encoder.norm")


def test_a_wrapper_around_one_network_is_looked_through():
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2)

    class Wrapper(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.loss = Plain(), nn.CrossEntropyLoss()

    assert names(Wrapper()) == ["net.first", "net.second"]
    wrapper = Wrapper()
    assert network_of(wrapper) is wrapper.net


def test_every_parameter_of_real_networks_is_in_one_block():
    bert = BertForSequenceClassification(
        BertConfig(
            hidden_size=8, num_hidden_layers=3, num_attention_heads=2, intermediate_size=8, vocab_size=20, max_length=8
        )
    )
    resnet = ResNetForImageClassification(
        ResNetConfig(embedding_size=4, hidden_sizes=[8, 8], depths=[2, 2], layer_type="basic")
    )
    expected = {
        bert: ["bert.embeddings", *(f"bert.encoder.layer.{i}" for i in range(3)), "bert.pooler", "classifier"],
        resnet: [
            "resnet.embedder",
            *(f"resnet.encoder.stages.{i}.layers.{j}" for i in range(2) for j in range(2)),
            "classifier.1",
        ],
    }
    for model, wanted in expected.items():
        blocks = find_blocks(model)
        assert [block.name for block in blocks] == wanted
        inside = sorted(name for block in blocks for name in block.parameters)
        assert inside == sorted(name for name, _ in model.named_parameters())


def test_a_shared_parameter_goes_with_the_first_block_and_a_warning_says_so():
    model = GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=2, n_head=2, vocab_size=20, n_positions=8))
    with pytest.warns(SvccaWarning, match=r"'lm_head.weight' is shared with block 'transformer.wte'"):
        blocks = find_blocks(model)
    assert [block.name for block in blocks] == [
        "transformer.wte",
        "transformer.wpe",
        "transformer.h.0",
        "transformer.h.1",
    ]
    assert blocks[-1].modules == ("transformer.h.1", "transformer.ln_f")


def test_named_blocks_take_names_patterns_groups_and_bare_parameters():
    net = Encoder()
    blocks = named_blocks(net, [["token", "embed"], "layers.*", "norm"])
    assert [block.name for block in blocks] == ["embed", "layers.0", "norm"]
    assert blocks[0].parameters == ("token", "embed.weight", "embed.bias")
    assert blocks[1].modules == ("layers.0", "layers.1")
    assert roots_of(net, blocks[1]) == [net.layers[0], net.layers[1]]


def test_a_list_of_modules_is_never_called_and_so_stands_for_those_in_it():
    net = nn.ModuleDict({"first": nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)]), "last": nn.Linear(2, 1)})
    assert named_blocks(net, ["first", "last"])[0].modules == ("first.0", "first.1")


@pytest.mark.parametrize(
    ("blocks", "error", "text"),
    [
        (["0", "conv"], LayerError, r"blocks of Sequential: expected names or patterns .*; got 'conv'"),
        (["0", "2"], InputError, "expected parameters in every block; got none in '2'"),
        (["3", "3.0"], InputError, r"expected every parameter in one block; got '3.0.weight' in '3' and in '3.0'"),
        ([], InputError, "expected a sequence of names, from the input on"),
        ("0", InputError, "expected a sequence of names, from the input on; got '0'"),
    ],
)
def test_blocks_that_cannot_be_are_refused(blocks, error, text):
    with pytest.raises(error, match=text):
        named_blocks(conv_net(), blocks)


def test_a_network_without_parameters_is_refused():
    with pytest.raises(InputError, match="blocks of ReLU: expected a network with parameters; got none"):
        svcca.freeze.find_blocks(nn.ReLU())
