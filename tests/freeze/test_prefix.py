import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification
from transformers.modeling_outputs import BaseModelOutput

from freeze.training import conv_net, data, differing, state_of
from svcca.errors import InputError
from svcca.freeze.prefix import FrozenPrefix, NoPrefixError


def call(*args, **keywords):
    return args, keywords


class Functional(nn.Module):
    """Layers with functions between them, and on request a connection around the second."""

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


def frozen(model, *modules):
    for module in modules:
        module.requires_grad_(False).eval()
    return list(modules)


def rest_of(model, prefix, x, **keywords):
    """Outputs of the whole network, and of the network with rows in place of its frozen blocks."""
    kept = []
    model.eval()
    with torch.no_grad():
        with prefix.watching(lambda rows: kept.append(rows.clone())):
            whole = model(x, **keywords)
        with prefix.serving(kept[0]):
            return whole, model(x, **keywords)


def test_the_rest_of_a_network_equals_the_whole_to_the_last_bit():
    model = conv_net().eval()
    x = data()[0]
    for last in (1, 5, 9):
        prefix = FrozenPrefix(model, frozen(model, *(m for m in model[: last + 1] if list(m.parameters()))), call(x))
        whole, rest = rest_of(model, prefix, x[:7])  # another batch size than the prefix was found with
        assert torch.equal(whole, rest)


def test_the_rest_uses_nothing_but_the_rows():
    model = conv_net().eval()
    x = data()[0]
    prefix = FrozenPrefix(model, frozen(model, *model[:2], *model[4:6]), call(x))
    with torch.no_grad(), prefix.watching(lambda rows: kept.append(rows.clone())):
        kept = []
        expected = model(x[:7])
    with torch.no_grad(), prefix.serving(kept[0]):
        assert torch.equal(model(torch.full_like(x[:7], float("nan"))), expected)


def test_functions_between_layers_keywords_and_outputs_that_are_dicts_are_no_obstacle():
    model = Functional()
    x = torch.randn(5, 4)
    prefix = FrozenPrefix(model, frozen(model, model.first, model.second), call(x, scale=2.0))
    whole, rest = rest_of(model, prefix, x[:3], scale=2.0)  # blanks are as long as the batch that is served
    assert torch.equal(whole["logits"], rest["logits"])
    assert rest["scale"] == 2.0


def test_dropout_above_the_prefix_stays_random():
    class Functional(nn.Sequential):
        def forward(self, x):
            return self[2](nn.functional.dropout(self[1](self[0](x)), training=self.training))

    for model in (
        Functional(nn.Linear(4, 60), nn.Identity(), nn.Linear(60, 2)),
        nn.Sequential(nn.Linear(4, 60), nn.Dropout(), nn.Linear(60, 2)),
    ):
        prefix = FrozenPrefix(model.train(), frozen(model, model[0]), call(torch.randn(9, 4)))
        outputs = []
        for _ in range(2):
            with prefix.serving(prefix.rows):
                outputs.append(model(torch.randn(9, 4)))
        assert not torch.equal(*outputs)


def test_dropout_between_frozen_layers_is_found_out():
    model = nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5), nn.Linear(6, 6), nn.Linear(6, 2)).train()
    x = torch.randn(9, 4)
    random_state = torch.get_rng_state()
    with pytest.raises(NoPrefixError, match=r"something else in training than in evaluation .*name it in their blocks"):
        FrozenPrefix(model, frozen(model, model[0], model[2]), call(x))
    assert torch.equal(torch.get_rng_state(), random_state)


def test_noise_that_is_drawn_in_evaluation_too_is_found_out():
    class Noisy(Functional):
        def forward(self, x):
            return super().forward(x + torch.randn_like(x))

    model = Noisy()
    with pytest.raises(NoPrefixError, match="something else in training than in evaluation"):
        FrozenPrefix(model, frozen(model, model.first), call(torch.randn(9, 4)))


@pytest.mark.parametrize("inside", [True, False])
def test_statistics_of_a_normalisation_without_parameters_are_left_alone(inside):
    norm = nn.BatchNorm1d(6, affine=False)
    model = nn.Sequential(nn.Linear(4, 6), norm, nn.Linear(6, 6), nn.Linear(6, 2)).train()
    before = state_of(model)
    if inside:
        with pytest.raises(NoPrefixError, match="dropout or normalisation between them"):
            FrozenPrefix(model, frozen(model, model[0], model[2]), call(torch.randn(9, 4)))
    else:
        FrozenPrefix(model, frozen(model, model[0]), call(torch.randn(9, 4)))
    assert not differing(before, state_of(model))


def test_a_connection_around_the_last_frozen_block_is_found_out():
    model = Functional(leak=True)
    with pytest.raises(NoPrefixError, match="the rest of the network uses more of them than one tensor"):
        FrozenPrefix(model, frozen(model, model.first, model.second), call(torch.randn(5, 4)))


def test_a_connection_from_the_last_frozen_block_is_no_obstacle():
    model, x = Functional(leak=True), torch.randn(5, 4)
    whole, rest = rest_of(model, FrozenPrefix(model, frozen(model, model.first), call(x)), x)
    assert torch.equal(whole["logits"], rest["logits"])


def test_something_that_learns_below_a_frozen_block_is_found_out():
    class Detached(Functional):
        def forward(self, x):
            return self.third(self.second(self.first(x).detach()))

    for model in (Functional(), Detached()):
        for blocks in (["second"], ["first", "third"]):
            modules = frozen(model, *map(model.get_submodule, blocks))
            with pytest.raises(NoPrefixError, match="something that learns runs before them"):
                FrozenPrefix(model, modules, call(torch.randn(5, 4)))
            model.requires_grad_(True)


def test_a_parameter_outside_of_modules_that_learns_below_is_found_out():
    class Shifted(Functional):
        def __init__(self):
            super().__init__()
            self.shift = nn.Parameter(torch.zeros(4))

        def forward(self, x):
            return super().forward(x + self.shift)

    model = Shifted()
    with pytest.raises(NoPrefixError, match="something that learns runs before them"):
        FrozenPrefix(model, frozen(model, model.first), call(torch.randn(5, 4)))


def test_a_parameter_outside_of_modules_that_learns_above_is_no_obstacle():
    class Scaled(Functional):
        def __init__(self):
            super().__init__()
            self.factor = nn.Parameter(torch.ones(()))

        def forward(self, x):
            return super().forward(x)["logits"] * self.factor

    model, x = Scaled(), torch.randn(5, 4)
    whole, rest = rest_of(model, FrozenPrefix(model, frozen(model, model.first), call(x)), x)
    assert torch.equal(whole, rest)


def test_blocks_that_never_run_are_found_out():
    with pytest.raises(NoPrefixError, match="or they return no floating-point tensor"):
        FrozenPrefix(Functional(), [nn.Linear(2, 2)], call(torch.randn(5, 4)))


def test_a_block_that_returns_no_row_a_sample_is_found_out():
    class Transposed(nn.Linear):
        def forward(self, x):
            return super().forward(x).T

    model = nn.Sequential(Transposed(4, 6), nn.Linear(5, 2))
    with pytest.raises(NoPrefixError, match=r"they return \(6, 5\), not a row a sample"):
        FrozenPrefix(model, frozen(model, model[0]), call(torch.randn(5, 4)))


def test_a_block_that_returns_no_floating_point_tensor_is_found_out():
    class Rounded(nn.Linear):
        def forward(self, x):
            return super().forward(x).abs().int()

    model = nn.Sequential(Rounded(3, 3), nn.Embedding(50, 3))
    with pytest.raises(NoPrefixError, match="they return no floating-point tensor"):
        FrozenPrefix(model, frozen(model, model[0]), call(torch.rand(5, 3)))


def test_finding_the_prefix_leaves_the_network_and_the_random_state_alone():
    model = conv_net()
    model.train()
    modules = frozen(model, *model[:2])
    before, modes = state_of(model), [module.training for module in model.modules()]
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    FrozenPrefix(model, modules, call(data()[0]))
    assert torch.equal(torch.rand(3), expected)
    assert not differing(before, state_of(model))
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())
    assert not any("forward" in vars(module) for module in model.modules())


def test_skipped_operations_are_counted_per_sample():
    model = conv_net()
    prefix = FrozenPrefix(model, frozen(model, *model[:2]), call(data()[0]))
    assert prefix.skipped_flops_per_sample == 2 * 4 * 2 * 9 * 64  # out channels, in channels, kernel, positions
    prefix = FrozenPrefix(model, frozen(model, *model[:2], *model[4:6]), call(data()[0]))
    assert prefix.skipped_flops_per_sample == 2 * 4 * 2 * 9 * 64 + 2 * 6 * 4 * 9 * 16


def test_another_path_than_the_first_is_an_error_and_no_nan():
    class Turns(Functional):
        def forward(self, x):
            if x[0, 0] > 10:
                return self.third(self.first(self.second(x @ torch.ones(4, 6))[:, :4]))
            hidden = self.first(x)
            return self.third(self.second(hidden) if x[0, 0] > 0 else hidden)

    model = Turns()
    x = torch.ones(3, 4)
    prefix = FrozenPrefix(model, frozen(model, model.first, model.second), call(x))
    refused = r"frozen blocks: .* got another order. The model's path .* Pass cache_gib=0"
    for other in (-x, 20 * x):
        with pytest.raises(InputError, match=refused), prefix.serving(torch.ones(3, 6)):
            model(other)
    assert torch.isfinite(model(x)).all()


def test_a_block_that_runs_again_above_the_prefix_is_itself_there():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.shared, self.learns = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            return self.shared(self.learns(self.shared(self.shared(x))))

    model, x = Twice(), torch.randn(3, 4)
    prefix = FrozenPrefix(model, frozen(model, model.shared), call(x))
    whole, rest = rest_of(model, prefix, x)
    assert torch.equal(whole, rest)
    assert torch.equal(prefix.rows, model.shared(model.shared(x)))


def test_a_forward_that_someone_put_in_place_comes_back():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    own = model[0].forward
    model[0].forward = lambda x: own(x) + 1
    placed = model[0].forward
    x = torch.randn(3, 4)
    whole, rest = rest_of(model, FrozenPrefix(model, frozen(model, model[0]), call(x)), x)
    assert torch.equal(whole, rest)
    assert model[0].forward is placed


def test_a_transformer_runs_without_its_lower_layers():
    torch.manual_seed(0)
    config = BertConfig(hidden_size=8, num_hidden_layers=3, num_attention_heads=2, intermediate_size=8, vocab_size=20)
    model = BertForSequenceClassification(config)
    tokens = torch.randint(0, 20, (4, 6))
    mask = torch.tensor([[1] * 6, [1] * 4 + [0] * 2, [1] * 6, [1] * 3 + [0] * 3])
    modules = frozen(model, model.bert.embeddings, *model.bert.encoder.layer[:2])
    prefix = FrozenPrefix(model, modules, call(input_ids=tokens, attention_mask=mask))
    model.eval()
    whole = model(input_ids=tokens, attention_mask=mask).logits
    with prefix.serving(prefix.rows):
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
            self.odd, self.second, self.last = Odd(), Odd(), nn.Linear(4, 1)

        def forward(self, x):
            out = self.second(self.odd(x).last_hidden_state)
            assert out.attentions is None
            return self.last(out.last_hidden_state + 0 * len(out.hidden_states))

    model = Net()
    x = torch.randn(3, 4)
    whole, rest = rest_of(model, FrozenPrefix(model, frozen(model, model.odd, model.second), call(x)), x)
    assert torch.equal(whole, rest)


def test_a_second_tensor_of_the_last_block_that_is_used_is_found_out():
    class Pair(nn.Linear):
        def forward(self, x):
            return super().forward(x), x.clone()

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.pair, self.last = Pair(4, 4), nn.Linear(4, 1)

        def forward(self, x):
            return self.last(sum(self.pair(x)))

    model = Net()
    with pytest.raises(NoPrefixError, match="uses more of them than one tensor"):
        FrozenPrefix(model, frozen(model, model.pair), call(torch.randn(3, 4)))
