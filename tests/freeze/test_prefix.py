import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification
from transformers.modeling_outputs import BaseModelOutput

from freeze.training import conv_net, data, differing, state_of
from svcca.errors import InputError
from svcca.freeze.prefix import NoPrefixError, PrefixCut


def call(*args, **keywords):
    return args, keywords


class Functional(nn.Module):
    """Layers with functions between them, one module used twice, and a connection around a layer above the cut."""

    def __init__(self, leak=False):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.third = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 2)
        self.act = nn.Tanh()
        self.leak = leak

    def forward(self, x, *, scale=1.0):
        hidden = self.act(self.first(x) * scale)
        out = self.act(self.second(torch.relu(hidden).reshape(len(x), 6)))
        return {"logits": self.third(out + hidden if self.leak else out), "scale": scale}


def tail_of(model, cut, x, **keywords):
    """The network's output when it starts from what reaches the cut, after everything before it was destroyed."""
    kept = []
    handle = cut.module.register_forward_pre_hook(lambda module, inputs: kept.append(inputs[0].clone()))
    with torch.no_grad():
        whole = model(x, **keywords)
        handle.remove()
        with cut.serving(kept[0], len(x)):
            return whole, model(torch.full_like(x, float("nan")), **keywords)


def test_the_rest_of_a_network_from_the_cut_equals_the_whole_to_the_last_bit():
    model = conv_net().eval().requires_grad_(False)
    x = data()[0]
    for first in (4, 9, 11):
        cut = PrefixCut(model, [model[0]], [model[first], model[11]], call(x[:20]))
        assert cut.module is model[first]
        whole, rest = tail_of(model, cut, x[:7])  # another batch size than the cut was found with
        assert torch.equal(whole, rest)


def test_functions_between_layers_keywords_and_outputs_that_are_dicts_are_no_obstacle():
    model = Functional().eval().requires_grad_(False)
    x = torch.randn(5, 4)
    cut = PrefixCut(model, (), [model.second], call(x, scale=2.0))
    whole, rest = tail_of(model, cut, x[:3], scale=2.0)  # stand-ins are as long as the batch that is served
    assert torch.equal(whole["logits"], rest["logits"])
    assert rest["scale"] == 2.0


def test_the_cut_is_below_a_dropout_that_feeds_what_learns():
    model = conv_net().train()
    model[:8].requires_grad_(False).eval()
    cut = PrefixCut(model, [model[4], model[5]], [model[9], model[11]], call(data()[0]))
    assert cut.module is model[8]


def test_a_random_function_between_frozen_layers_and_what_learns_moves_the_cut_below_its_module():
    class Functional(nn.Sequential):
        def forward(self, x):
            return self[3](nn.functional.dropout(self[2](self[1](self[0](x))), training=self.training))

    model = Functional(nn.Linear(4, 6), nn.Tanh(), nn.Identity(), nn.Linear(6, 2)).train()
    model[0].requires_grad_(False)
    cut = PrefixCut(model, [model[0]], [model[3]], call(torch.randn(9, 4)))
    assert cut.module is model[2]


def test_dropout_between_frozen_layers_is_found_out():
    model = nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5), nn.Linear(6, 6), nn.Linear(6, 2)).train()
    model[:3].requires_grad_(False)
    with pytest.raises(NoPrefixError, match=r"something else in training than in evaluation .*name it in their blocks"):
        PrefixCut(model, [model[0], model[2]], [model[3]], call(torch.randn(9, 4)))


def test_statistics_of_a_normalisation_below_the_cut_are_left_alone():
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6, affine=False), nn.Linear(6, 2)).train()
    model[0].requires_grad_(False)
    before = state_of(model)
    assert PrefixCut(model, [model[0]], [model[2]], call(torch.randn(9, 4))).module is model[1]
    assert not differing(before, state_of(model))


def test_a_connection_around_the_cut_is_found_out():
    model = Functional(leak=True).eval().requires_grad_(False)
    with pytest.raises(NoPrefixError, match="the blocks that learn use more of the frozen ones than one tensor"):
        PrefixCut(model, (), [model.second], call(torch.randn(5, 4)))


def test_something_that_learns_below_the_cut_is_found_out():
    model = Functional().eval()
    with pytest.raises(NoPrefixError, match="something that learns runs before the first block that does"):
        PrefixCut(model, (), [model.second], call(torch.randn(5, 4)))


def test_blocks_that_never_run_are_found_out():
    model = Functional().eval().requires_grad_(False)
    with pytest.raises(NoPrefixError, match="no block that learns runs in its forward pass"):
        PrefixCut(model, (), [nn.Linear(2, 2)], call(torch.randn(5, 4)))


def test_a_block_that_is_given_no_row_a_sample_is_found_out():
    class Transposed(Functional):
        def forward(self, x):
            return self.third(self.second(self.first(x).T @ x @ torch.ones(4, 6)))

    model = Transposed().requires_grad_(False)
    with pytest.raises(NoPrefixError, match=r"the blocks that learn are given \(6, 6\), not a row a sample"):
        PrefixCut(model, (), [model.second], call(torch.randn(5, 4)))


def test_a_block_that_is_given_no_floating_point_tensor_is_found_out():
    model = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 1)).requires_grad_(False)
    with pytest.raises(NoPrefixError, match="given no floating-point tensor"):
        PrefixCut(model, (), [model[0]], call(torch.tensor([1, 2])))


def test_finding_the_cut_leaves_the_network_and_the_random_state_alone():
    model = conv_net()
    model[:4].requires_grad_(False)
    model.train()
    model[5].eval()
    before, modes = state_of(model), [module.training for module in model.modules()]
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    PrefixCut(model, (), [model[4]], call(data()[0]))
    assert torch.equal(torch.rand(3), expected)
    assert not differing(before, state_of(model))
    assert [module.training for module in model.modules()] == modes
    assert not any(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())
    assert not any("forward" in vars(module) for module in model.modules())


def test_what_is_skipped_is_counted_a_sample():
    model = conv_net().requires_grad_(False).eval()
    cut = PrefixCut(model, (), [model[4]], call(data()[0]))
    assert cut.skipped_flops_per_sample == 2 * 4 * 2 * 9 * 64  # out channels, in channels, kernel, positions
    cut = PrefixCut(model, (), [model[9]], call(data()[0]))
    assert cut.skipped_flops_per_sample == 2 * 4 * 2 * 9 * 64 + 2 * 6 * 4 * 9 * 16


def test_another_path_than_the_first_is_an_error_and_no_nan():
    class Turns(Functional):
        def forward(self, x):
            hidden = self.first(x)
            if x[0, 0] > 10:
                return self.third(self.first(hidden[:, :4]))
            return self.third(self.second(hidden)) if x[0, 0] > 0 else self.third(hidden)

    model = Turns().requires_grad_(False)
    x = torch.ones(3, 4)
    cut = PrefixCut(model, (), [model.second], call(x))
    refused = r"got none of those that learn. The model's path .* Pass cache=None"
    with pytest.raises(InputError, match=refused), cut.serving(torch.ones(3, 6), 3):
        model(-x)
    with pytest.raises(InputError, match="more calls of a layer than at first"), cut.serving(torch.ones(3, 6), 3):
        model(20 * x)
    assert torch.isfinite(model(x)).all()


def test_a_forward_that_someone_put_in_place_comes_back():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)).requires_grad_(False)
    own = model[0].forward
    model[0].forward = lambda x: own(x) + 1
    placed = model[0].forward
    cut = PrefixCut(model, (), [model[1]], call(torch.randn(3, 4)))
    whole, rest = tail_of(model, cut, torch.randn(3, 4))
    assert torch.equal(whole, rest)
    assert model[0].forward is placed


def test_a_transformer_is_cut_between_its_layers():
    torch.manual_seed(0)
    config = BertConfig(hidden_size=8, num_hidden_layers=3, num_attention_heads=2, intermediate_size=8, vocab_size=20)
    model = BertForSequenceClassification(config).eval().requires_grad_(False)
    tokens = torch.randint(0, 20, (4, 6))
    mask = torch.tensor([[1] * 6, [1] * 4 + [0] * 2, [1] * 6, [1] * 3 + [0] * 3])
    inputs = {"input_ids": tokens, "attention_mask": mask}
    cut = PrefixCut(model, (), list(model.bert.encoder.layer[2:]), call(**inputs))
    kept = []
    handle = cut.module.register_forward_pre_hook(
        lambda module, args, keywords: kept.append(next(v for v in (*args, *keywords.values()) if torch.is_tensor(v))),
        with_kwargs=True,
    )
    whole = model(**inputs).logits
    handle.remove()
    with cut.serving(kept[0], 4):
        rest = model(input_ids=torch.zeros_like(tokens), attention_mask=mask).logits
    assert torch.equal(whole, rest)


def test_modules_that_return_dataclasses_tuples_and_none_are_stood_in_for():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(4, 4)

        def forward(self, x):
            return BaseModelOutput(last_hidden_state=self.inner(x), hidden_states=(x, x))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.odd, self.last = Odd(), nn.Linear(4, 1)

        def forward(self, x):
            out = self.odd(x)
            assert out.attentions is None
            return self.last(out.last_hidden_state + 0 * len(out.hidden_states))

    model = Net().requires_grad_(False)
    x = torch.randn(3, 4)
    cut = PrefixCut(model, (), [model.last], call(x))
    whole, rest = tail_of(model, cut, x)
    assert torch.equal(whole, rest)
