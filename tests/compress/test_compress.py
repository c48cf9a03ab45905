import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import svcca
from compress.compressible import KINDS, Encoder, bert, dense, images, output, tokens
from svcca.compress.layer_inputs import input_moments
from svcca.core.directions import Directions
from svcca.core.subspace import WHOLE
from svcca.errors import InputError, LayerError, SampleError, SvccaWarning, UnknownOptionError

AGAINST = ["logits", "outputs", "pls", "pca", "weights", "other model"]


def target_of(against, make):
    return make(seed=5) if against == "other model" else against


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("against", AGAINST)
def test_with_all_directions_the_compressed_network_equals_the_original(kind, against):
    make, data = KINDS[kind]
    model, data = make(), data()
    full = svcca.compress(model, data, ranks=1.0, against=target_of(against, make))
    assert torch.allclose(output(full, data), output(model, data), rtol=0, atol=1e-8)
    assert len(list(full.modules())) > len(list(model.modules()))


def hooked(model, name, projections):
    """The network with the inputs of a layer projected, and nothing else changed."""
    model = copy.deepcopy(model)

    def project(module, args):
        x = args[0].movedim(1, -1) if isinstance(module, nn.Conv2d) else args[0]
        parts = x.chunk(len(projections), dim=-1)
        x = torch.cat([p(part) for p, part in zip(projections, parts, strict=True)], -1)
        return x.movedim(-1, 1) if isinstance(module, nn.Conv2d) else x

    model.get_submodule(name).register_forward_pre_hook(project)
    return model


@pytest.mark.parametrize(
    ("kind", "name", "width"),
    [
        ("dense", "2", 16),
        ("dense", "5", 12),
        ("convolutional", "0", 2),
        ("convolutional", "2", 8),
        ("convolutional", "4", 12),
        ("bert", "bert.encoder.layer.1.output.dense", 16),
        ("bert", "bert.encoder.layer.0.attention.self.query", 8),
        ("encoder", "encoder.layers.0.linear2", 16),
    ],
)
def test_the_compressed_network_equals_the_one_whose_inputs_are_projected_at_every_k(kind, name, width):
    make, data = KINDS[kind]
    model, data = make(), data()
    groups = getattr(model.get_submodule(name), "groups", 1)
    moments = input_moments(model, [name], [data], None, None, False)[name][0]
    for k in range(1, width // groups + 1):
        parts = [slice(i * width // groups, (i + 1) * width // groups) for i in range(groups)]
        inner = [
            type(moments)(moments.n_samples, moments.mean[p], moments.scatter[p, p], moments.source_eps) for p in parts
        ]
        expected = hooked(model, name, [Directions.principal(m).projection(k) for m in inner])
        found = svcca.compress(model, data, layers=name, ranks=k, against="pca", progress=False)
        assert torch.allclose(output(found, data), output(expected, data), rtol=0, atol=1e-9)


def test_layers_are_taken_one_after_the_other_and_measured_anew():
    model, data = dense(), images(300, 6)
    both = svcca.compress(model, data, layers=["2", "5"], ranks={"2": 4, "5": 3}, against="pca")
    one = svcca.compress(model, data, layers="2", ranks=4, against="pca")
    then = svcca.compress(one, data, layers="5", ranks=3, against="pca")
    assert torch.equal(output(both, data), output(then, data))
    at_once = svcca.compress(model, data, layers="5", ranks=3, against="pca")
    setattr(at_once, "2", one[2])
    assert not torch.allclose(output(at_once, data), output(both, data), atol=1e-4)


def test_directions_against_the_logits_are_those_of_cca_with_the_original_networks_output():
    model, data = dense(), images(300, 6)
    with torch.no_grad():
        hidden, logits = model[:5](data), model(data)
    from svcca.core.moments import JointMoments

    expected = Directions.canonical(JointMoments.from_rows(hidden, logits), target_step=WHOLE).projection(3)
    found = svcca.compress(model, data, layers="5", ranks=3, against="logits")
    assert torch.allclose(output(found, data), output(hooked(model, "5", [expected]), data), rtol=0, atol=1e-9)


def test_directions_for_the_outputs_change_them_least():
    model, data = dense(), images(300, 6)
    with torch.no_grad():
        hidden = model[:5](data)
        outputs = model[5](hidden)
    centred = outputs - outputs.mean(0)
    u, s, vh = torch.linalg.svd(centred, full_matrices=False)
    for k in (1, 2):
        found = svcca.compress(model, data, layers="5", ranks=k, against="outputs")
        best = (u[:, :k] * s[:k]) @ vh[:k] + outputs.mean(0)  # Eckart and Young: nothing of rank k is nearer
        assert torch.allclose(output(found, data), best, rtol=0, atol=1e-9)


def test_masked_tokens_do_not_count():
    model, data = bert(), tokens()
    name = "bert.encoder.layer.0.output.dense"
    found = input_moments(model, [name], [data], None, None, False)[name][0]
    kept = []
    handle = model.get_submodule(name).register_forward_pre_hook(lambda module, args: kept.append(args[0]))
    output(model, data)
    handle.remove()
    rows = kept[0][data["attention_mask"].bool()]
    assert found.n_samples == len(rows)
    assert torch.allclose(found.mean, rows.mean(0))


def test_a_linear_layer_fed_by_another_takes_its_factor_in():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 20), nn.Identity(), nn.Linear(20, 20), nn.Linear(20, 2)).double()
    data = images(300, 6)
    smaller = svcca.compress(model, data, layers=["2", "3"], ranks={"2": 5, "3": 2}, against="pca")
    assert [m.out_features for m in smaller.modules() if isinstance(m, nn.Linear)] == [5, 2, 2]
    apart = copy.deepcopy(model)
    for name, k in (("2", 5), ("3", 2)):
        moments = input_moments(apart, [name], [data], None, None, False)[name][0]
        apart = hooked(apart, name, [Directions.principal(moments).projection(k)])
    assert torch.allclose(output(smaller, data), output(apart, data), rtol=0, atol=1e-9)


def test_a_linear_layer_that_feeds_something_else_too_is_left_whole():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 6)

        def forward(self, x):
            hidden = self.a(x)
            return hidden + self.b(hidden)

    model, data = Branching().double(), images(200, 6)
    full = svcca.compress(model, data, layers="b", ranks=6)
    assert torch.allclose(output(full, data), output(model, data), rtol=0, atol=1e-9)
    assert isinstance(full.a, nn.Linear)
    assert full.a.out_features == 6


class Shared(nn.Module):
    """Its layer b is fed by a alone, and a does more than that."""

    def __init__(self, use):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.use = nn.Linear(6, 6), nn.Linear(6, 6), use
        self.tied = nn.Linear(6, 6)
        if use == "tied":
            self.tied.weight = self.a.weight

    def forward(self, x):
        if self.use == "twice":
            return self.b(self.a(x)) + self.a(x + 1)
        if self.use == "weight":
            return self.b(self.a(x)) + nn.functional.linear(x, self.a.weight)
        return self.b(self.a(x)) + self.tied(x)


@pytest.mark.parametrize("use", ["twice", "weight", "tied"])
def test_a_linear_layer_that_runs_twice_or_whose_weights_are_used_elsewhere_is_left_whole(use):
    model, data = Shared(use).double(), images(200, 6)
    moments = input_moments(model, ["b"], [data], None, None, False)["b"][0]
    for k in (6, 3):
        expected = hooked(model, "b", [Directions.principal(moments).projection(k)])
        found = svcca.compress(model, data, layers="b", ranks=k, against="pca")
        assert torch.allclose(output(found, data), output(expected, data), rtol=0, atol=1e-9)
        assert torch.equal(found.a.weight, model.a.weight)
        assert (found.a.weight is found.tied.weight) == (use == "tied")


def test_a_layer_that_is_given_its_input_by_name_is_compressed_too():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b = nn.Linear(6, 16), nn.Linear(16, 6)

        def forward(self, x):
            return self.b(torch.relu(self.a(input=x)))

    model, data = Net().double(), images(200, 6)
    full = svcca.compress(model, data, layers="a", ranks=6)
    assert torch.allclose(output(full, data), output(model, data), rtol=0, atol=1e-9)
    assert isinstance(full.a, nn.Sequential)


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_is_in_evaluation_mode_and_the_model_keeps_its_own(training):
    model, data, modes = dense().train(training), images(300, 6), []

    def evaluate(candidate):
        modes.append(candidate.training)
        candidate.train(not training)
        return 1.0

    smaller = svcca.compress(model, data, max_loss=0.1, evaluate=evaluate)
    assert set(modes) == {False}
    assert {module.training for module in [*model.modules(), *smaller.modules()]} == {training}


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_original_is_left_alone_and_so_is_the_random_state(kind):
    make, data = KINDS[kind]
    model, data = make().train(), data()
    before, generator = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    smaller = svcca.compress(model, data, ratio=0.6)
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(module.training for module in [*model.modules(), *smaller.modules()])
    assert not any(len(m._forward_pre_hooks) + len(m._forward_hooks) for m in [*model.modules(), *smaller.modules()])


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("ratio", [0.8, 0.5, 0.3])
def test_a_ratio_is_kept_to(kind, ratio):
    make, data = KINDS[kind]
    model, data = make(), data()
    layers = ["2", "4", "7"] if kind == "convolutional" else None
    ratio = max(ratio, 0.4) if kind == "convolutional" else ratio  # one direction a layer takes 0.37
    smaller = svcca.compress(model, data, layers=layers, ratio=ratio, against="pca")
    names = layers or [n for n, m in model.named_modules() if isinstance(m, nn.Linear) and "self_attn" not in n]
    before = sum(model.get_submodule(name).weight.numel() for name in names)
    after = sum(p.numel() for n in names for k, p in smaller.get_submodule(n).named_parameters() if "weight" in k)
    assert after <= ratio * before
    assert after > 0.55 * ratio * before  # and made use of


def test_a_larger_ratio_is_nearer_to_the_original():
    model, data = dense(), images(300, 6)
    errors = []
    for ratio in (0.3, 0.5, 0.7, 0.9):
        smaller = svcca.compress(model, data, ratio=ratio, against="pca")
        errors.append(float((output(smaller, data) - output(model, data)).square().mean()))
    assert errors == sorted(errors, reverse=True)


def test_the_loss_that_is_accepted_is_not_exceeded_and_made_use_of():
    model, data = dense(), images(300, 6)
    expected = output(model, data)
    calls = []

    def evaluate(candidate):
        calls.append(candidate)
        return 1 - float((output(candidate, data) - expected).square().mean() / expected.var())

    sizes = []
    for max_loss in (0.2, 0.05, 0.02):
        smaller = svcca.compress(model, data, max_loss=max_loss, evaluate=evaluate)
        assert evaluate(smaller) >= 1 - max_loss
        sizes.append(sum(parameter.numel() for parameter in smaller.parameters()))
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]
    assert len(calls) <= 3 * 10


def test_a_loss_that_cannot_be_kept_leaves_the_network_and_says_so():
    model, data = dense(), images(300, 6)
    values = iter([1.0, *[0.0] * 20])
    with pytest.warns(SvccaWarning, match="No layer was compressed: the least that was tried costs more than 0.1"):
        same = svcca.compress(model, data, max_loss=0.1, evaluate=lambda _: next(values))
    assert same is not model
    assert torch.equal(output(same, data), output(model, data))


def test_a_loss_that_no_smaller_network_keeps_says_so_too():
    model, data = dense(), images(300, 6)
    size = sum(parameter.numel() for parameter in model.parameters())

    def evaluate(candidate):
        return float(sum(parameter.numel() for parameter in candidate.parameters()) >= size)

    text = "No layer was compressed: the least that was tried costs more than 0.1"
    with pytest.warns(SvccaWarning, match=text):
        same = svcca.compress(model, data, layers="5", max_loss=0.1, evaluate=evaluate)
    assert torch.equal(output(same, data), output(model, data))


def test_finetuning_is_done_before_evaluation():
    model, data = dense(), images(300, 6)
    seen = []

    def evaluate(candidate):
        seen.append(float(candidate[5][1].bias.detach().sum()) if isinstance(candidate[5], nn.Sequential) else None)
        return 1.0

    def finetune(candidate):
        with torch.no_grad():
            candidate[5][1].bias.zero_()

    smaller = svcca.compress(model, data, layers="5", max_loss=0.1, evaluate=evaluate, finetune=finetune)
    assert set(seen) == {None, 0.0}  # None: the layer is whole
    assert not smaller[5][1].bias.any()


def test_it_trains_on_and_its_gradients_flow():
    model, data = dense(), images(300, 6)
    smaller = svcca.compress(model, data, ratio=0.5).train()
    optimizer = torch.optim.SGD(smaller.parameters(), lr=0.1)
    labels = torch.arange(300) % 3
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = cross_entropy(smaller(data), labels)
        loss.backward()
        assert all(parameter.grad is not None for parameter in smaller.parameters())
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("kind", ["dense", "convolutional", "encoder"])
def test_it_is_exported_by_torch_and_needs_nothing_of_this_package(kind):
    make, data = KINDS[kind]
    model, data = make(), data()
    smaller = svcca.compress(model, data, ratio=0.6)
    assert {type(m).__module__.partition(".")[0] for m in smaller.modules() if m is not smaller} == {"torch"}
    exported = torch.export.export(smaller, (data[:4],)).module()
    assert torch.allclose(exported(data[:4]), output(smaller, data[:4]), rtol=0, atol=1e-12)


def test_by_default_what_cannot_be_compressed_is_left_as_it_is():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.depthwise, self.wide = nn.Conv2d(4, 4, 3, groups=4), nn.Linear(36, 8)
            self.tied, self.twin, self.unused = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
            self.twin.weight = self.tied.weight

        def forward(self, x):
            return self.twin(self.tied(self.wide(self.depthwise(x).flatten(1))).relu())

    model, data = Net().double(), images(200, 4, 5, 5)
    smaller = svcca.compress(model, data, ranks=3)
    assert [name for name, module in smaller.named_children() if isinstance(module, nn.Sequential)] == ["wide"]
    with pytest.raises(InputError, match=r"weights of its own; got weights shared with 'twin.weight'"):
        svcca.compress(model, data, layers="tied", ranks=3)
    with pytest.raises(InputError, match="compress 'unused': expected a layer that runs; got one that does not"):
        svcca.compress(model, data, layers="unused", ranks=3)


def test_attentions_own_projection_is_refused_with_the_reason():
    with pytest.raises(InputError, match="another module uses its weights, as attention does"):
        svcca.compress(Encoder().double(), images(50, 5, 8), layers="encoder.layers.0.self_attn.out_proj", ranks=3)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({}, InputError, "one of ratio, ranks and max_loss; got none of them"),
        ({"ratio": 0.5, "ranks": 3}, InputError, "one of ratio, ranks and max_loss; got ratio, ranks"),
        ({"ratio": 0.0}, InputError, r"compress ratio: expected a share in \(0, 1\]; got 0.0"),
        ({"ratio": 1.5}, InputError, "got 1.5"),
        ({"ratio": 0.001}, InputError, "One direction a layer takes 0.201 of the weights already"),
        (
            {"ranks": 17, "layers": "2"},
            InputError,
            "compress ranks of '2': expected a number of directions from 1 to its 16",
        ),
        ({"ranks": 0}, InputError, "got 0"),
        ({"ranks": 1.5}, InputError, "got 1.5"),
        ({"ranks": True}, InputError, "got True"),
        ({"ranks": {"fc": 3}}, LayerError, "compress ranks: expected names of layers; got 'fc'. There are: 0, 2, 5"),
        ({"max_loss": 0.1}, InputError, "max_loss of at least 0, and evaluate= to measure it"),
        ({"max_loss": -0.1, "evaluate": len}, InputError, "max_loss of at least 0"),
        ({"max_loss": 0.1, "evaluate": lambda _: None}, InputError, "evaluate: expected a finite number .*; got None"),
        ({"max_loss": 0.1, "evaluate": lambda _: float("nan")}, InputError, "got nan"),
        ({"ratio": 0.5, "against": "logit"}, UnknownOptionError, "Did you mean 'logits'"),
        ({"ratio": 0.5, "layers": "7"}, LayerError, "layers of Sequential: expected names or patterns"),
        ({"ratio": 0.5, "layers": "1"}, InputError, "compress '1': expected a Linear or Conv2d layer; got Tanh"),
    ],
)
def test_what_cannot_be_is_refused(options, error, text):
    with pytest.raises(error, match=text):
        svcca.compress(dense(), images(50, 6), **options)


def test_data_that_cannot_be_is_refused():
    with pytest.raises(
        SampleError, match=r"data for Sequential: expected at least 2 samples; got 0 samples\. The loader is"
    ):
        svcca.compress(dense(), [], ratio=0.5)
    with pytest.raises(InputError, match="inputs of Sequential '0', batch 1: expected finite"):
        svcca.compress(dense(), [images(20, 6), images(20, 6) * float("nan")], layers="0", ranks=2, against="pca")
    with pytest.raises(SampleError):
        svcca.compress(dense(), images(1, 6), layers="0", ranks=2, against="pca")
    model = dense()
    model[0].weight.data.zero_()
    with pytest.raises(InputError, match="compress '2', its inputs: expected activations that vary"):
        svcca.compress(model, images(50, 6), layers="2", ranks=2)


def test_a_network_in_half_precision_stays_in_it():
    model = dense().to(torch.bfloat16)
    smaller = svcca.compress(model, images(300, 6).to(torch.bfloat16), ratio=0.8)
    assert {parameter.dtype for parameter in smaller.parameters()} == {torch.bfloat16}


def test_wrappers_are_taken_off_and_loaders_with_labels_understood():
    model, data = dense(), images(64, 6)
    loader = [(data[:32], torch.zeros(32)), (data[32:], torch.zeros(32))]
    from_wrapper = svcca.compress(nn.DataParallel(model), loader, ranks=3)
    assert torch.equal(output(from_wrapper, data), output(svcca.compress(model, data.split(32), ranks=3), data))
