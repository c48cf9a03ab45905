"""One behaviour of every verb that reads data: the same hazards end in the same error, which names layer and batch."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import one_hot

import svcca
from svcca.compress import compression_curve
from svcca.errors import InputError, LayerError, NonFiniteError, SampleError

pytestmark = pytest.mark.filterwarnings("ignore::svcca.SvccaWarning")
QUIET = {"progress": False}
X = torch.randn(80, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
MARK = 1e9
"""A value that makes the net below raise."""


class Net(nn.Module):
    """Two layers with a step between that can be in place; it wraps its logits as asked, and raises at a mark."""

    def __init__(self, seed=0, wrap=lambda logits: logits, inplace=False):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.fc, self.act, self.norm = nn.Linear(4, 6), nn.LeakyReLU(inplace=inplace), nn.BatchNorm1d(6)
            self.drop, self.out, self.wrap = nn.Dropout(0.5), nn.Linear(6, 3), wrap
        self.double()

    def forward(self, x):
        if bool((x == MARK).any()):
            raise RuntimeError("half way")
        return self.wrap(self.out(self.drop(self.norm(self.act(self.fc(x))))))


def weights(model):
    return np.concatenate([parameter.detach().numpy().ravel() for parameter in model.parameters()])


def recorded(model, data, layer):
    recorder = svcca.DynamicsRecorder(model, data, layers=layer)
    recorder.record(0)
    with torch.no_grad():
        before = [parameter.clone() for parameter in model.parameters()]
        for parameter in model.parameters():
            parameter.add_(0.1)
    recorder.record(1)
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), before, strict=True):
            parameter.copy_(value)
    return recorder.result(progress=False).values


def states(model):
    first = model.state_dict()
    return [first, {name: value + 0.1 if value.is_floating_point() else value for name, value in first.items()}]


def directions(against):
    def verb(model, data, layer):
        found = svcca.directions(model, data, layer or "fc", against=against, **QUIET)
        return np.append(found.measured.moments.scatter.numpy(), found.correlations)

    return verb


def compress(against):
    return lambda model, data, layer: weights(
        svcca.compress(model, data, layers=layer or "out", ranks=1, against=against, **QUIET)
    )


VERBS = {
    "compare": lambda m, d, layer: svcca.compare(m, None, d, layers=layer, **QUIET).values,
    "compare two": lambda m, d, layer: svcca.compare(m, type(m)(1), d, layers=layer, **QUIET).values,
    "compare targets": lambda m, d, layer: svcca.compare(m, None, d, layers=layer, targets="logits", **QUIET).values,
    "activations": lambda m, d, layer: np.concatenate(
        [rows.numpy().ravel() for rows in svcca.activations(m, d, layers=layer, **QUIET).values()]
    ),
    "class_sensitivity": lambda m, d, layer: svcca.class_sensitivity(m, d, layers=layer, **QUIET).values,
    "class_dynamics": lambda m, d, layer: (
        svcca.class_dynamics(m, states(m), d, layers=layer, steps=[0, 1], **QUIET).values
    ),
    "learning_dynamics": lambda m, d, layer: (
        svcca.learning_dynamics(m, states(m), d, layers=layer, steps=[0, 1], **QUIET).values
    ),
    "recorder": recorded,
    "directions": directions("pca"),
    "directions of logits": directions("logits"),
    "intrinsic_dimensions": lambda m, d, layer: np.array(
        [[row.width, row.rank] for row in svcca.intrinsic_dimensions(m, d, layer, **QUIET).layers]
    ),
    "compress": compress("pca"),
    "compress by logits": compress("logits"),
    "compression_curve": lambda m, d, layer: np.array(
        [
            point.accuracy
            for point in compression_curve(
                m, d, lambda each: weights(each).sum(), ratios=(0.9,), against=["pca"], layers=layer or "out", **QUIET
            ).points
        ]
    ),
}
every_verb = pytest.mark.parametrize("name", VERBS)
of_logits = pytest.mark.parametrize(
    "name", ["compare targets", "class_sensitivity", "class_dynamics", "directions of logits", "compress by logits"]
)
by_input = {"compress", "compress by logits", "compression_curve"}


def run(name, model, data, layer=None):
    return VERBS[name](model.eval(), data, layer)


def batches(size=16):
    return [part.clone() for part in X.split(size)]


@every_verb
def test_nan_in_a_batch_names_layer_and_batch(name):
    data = batches()
    data[3][2, 1] = torch.nan
    layer = "out" if name in by_input else "fc"
    with pytest.raises(NonFiniteError, match=rf"Net.* '{layer}', batch 3: expected finite activations; got \d+ that"):
        run(name, Net(), data)


class Pooled(nn.Module):
    """Takes inputs of any width."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.fit, self.out = nn.Identity(), nn.Linear(1, 3).double()

    def forward(self, x):
        return self.out(self.fit(x).mean(dim=1, keepdim=True))


class Sized(nn.Module):
    """Its layer is not run again once its input is known."""

    def __init__(self):
        super().__init__()
        self.fit = nn.Linear(4, 3).double()

    def forward(self, x):
        return self.fit(x)


@every_verb
def test_a_width_that_changes_names_layer_and_batch(name):
    data = batches()
    data[3] = data[3][:, :3]
    text = r"'fit', batch 3: expected 4 features, as in the first batch; got 3\. The layer's size changes"
    with pytest.raises(InputError, match=text):
        run(name, Sized() if name in by_input else Pooled(), data, "fit")


@every_verb
@pytest.mark.parametrize("used", [False, True])
def test_an_empty_loader_and_one_that_was_used_up_are_told_so(name, used):
    data = iter(batches()) if used else []
    for _ in data:
        pass
    with pytest.raises(SampleError, match=r"^data for .*: expected at least 2 samples; got 0 samples\. The loader is"):
        run(name, Net(), data)


@every_verb
def test_one_sample_is_too_few(name):
    with pytest.raises(SampleError, match=r"^data for .*Net.*: expected at least 2 samples; got 1 sample\.$"):
        run(name, Net(), [X[:1]])


@every_verb
def test_a_name_that_selects_nothing_is_refused_beside_one_that_does(name):
    good = "out" if name in by_input else "fc"
    with pytest.raises(LayerError, match=r"layers of .*Net.*: .*; got 'fcc'\. Closest: fc"):
        run(name, Net(), batches(), [good, "fcc"])


@every_verb
def test_a_network_in_training_gives_what_it_gives_in_evaluation(name):
    model = Net().train()
    training = VERBS[name](model, batches(), None)
    np.testing.assert_array_equal(training, run(name, model, batches()))


class Masked(nn.Module):
    """What stands at the padding is whatever it was; the logits do not see it."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.fc, self.tokens, self.out = nn.Linear(4, 6), nn.Linear(6, 5), nn.Linear(5, 3)
        self.double()

    def forward(self, x, attention_mask):
        tokens = self.tokens(torch.tanh(self.fc(x)))
        real = torch.where(attention_mask[..., None].bool(), tokens, 0.0)
        return self.out(real.sum(dim=1) / attention_mask.sum(dim=1, keepdim=True))


@every_verb
def test_padding_may_hold_anything(name):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(60, 5, 4, generator=generator, dtype=torch.float64)
    mask = (torch.arange(5) < torch.randint(1, 6, (60, 1), generator=generator)).long()
    results = []
    for filler in (0.0, torch.nan):
        filled = torch.where(mask[..., None].bool(), x, filler)
        data = [{"x": part, "attention_mask": own} for part, own in zip(filled.split(20), mask.split(20), strict=True)]
        results.append(run(name, Masked(), data, "tokens"))
    assert np.isfinite(results[0]).all()
    np.testing.assert_array_equal(*results)


@every_verb
def test_an_in_place_step_changes_nothing(name):
    # compression_curve evaluates the weights, which hold no module that works in place.
    np.testing.assert_array_equal(run(name, Net(inplace=True), batches()), run(name, Net(), batches()))


def found(model):
    return {
        "modes": [module.training for module in model.modules()],
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in model.modules()],
        "flags": [parameter.requires_grad for parameter in model.parameters()],
        "gradients": [None if p.grad is None else p.grad.tolist() for p in model.parameters()],
        "values": {name: tensor.tolist() for name, tensor in model.state_dict().items()},
        "random state": torch.get_rng_state().tolist(),
        "grad mode": torch.is_grad_enabled(),
    }


@every_verb
@pytest.mark.parametrize("fails", [True, False])
def test_a_model_is_left_as_it_was_found_also_when_it_raises_half_way(name, fails):
    model = Net().train()
    model.norm.eval()
    model.fc.bias.requires_grad_(False)
    model.fc.weight.grad = torch.ones_like(model.fc.weight)
    data = batches()
    before = found(model)
    if fails:
        data[2][0, 0] = MARK
        with pytest.raises(RuntimeError, match="half way") as caught:
            VERBS[name](model, data, None)
        assert any(note.startswith("svcca: raised by ") and "batch 2" in note for note in caught.value.__notes__)
    else:
        VERBS[name](model, data, None)
    assert found(model) == before


class Twice(Net):
    def forward(self, x):
        return self.out(self.act(self.norm(self.act(self.fc(x)))))


def test_the_calls_of_a_module_that_runs_twice_are_told_apart_or_left_out():
    model, data = Twice().eval(), batches()
    apart = ["fc", "act#1", "norm", "act#2", "out"]
    dynamics = svcca.learning_dynamics(model, states(model), data, steps=[0, 1], **QUIET)
    assert list(svcca.compare(model, None, data, **QUIET).row_labels) == apart
    assert list(svcca.activations(model, data, **QUIET)) == apart
    assert list(svcca.class_sensitivity(model, data, **QUIET).layers) == apart
    assert [layer.name for layer in dynamics.layers] == apart
    dimensions = svcca.intrinsic_dimensions(model, data, **QUIET)
    assert [row.layer for row in dimensions.layers] == ["fc", "norm", "out"]
    assert dimensions.warnings[0].endswith("do not put samples first: act#1, act#2.")


def test_layers_none_of_which_can_be_used_are_refused_by_name():
    class Repeated(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = nn.Tanh()

        def forward(self, x):
            return self.act(self.act(x))

    with pytest.raises(
        InputError, match="layers of Repeated: expected a layer that can be observed; got 'act#1', 'act#2'"
    ):
        svcca.intrinsic_dimensions(Repeated(), X, **QUIET)


class Answer(dict):
    """As Hugging Face's: a mapping whose entries are attributes too, and whose loss comes first."""

    __getattr__ = dict.__getitem__


def with_loss(logits):
    return Answer(loss=logits.float().square().mean(), logits=logits)


@of_logits
@pytest.mark.parametrize(
    "wrap",
    [
        with_loss,
        lambda logits: {"loss": logits.sum(), "logits": logits},
        lambda logits: (logits.sum(), logits),
        lambda logits: {"loss": logits.sum(), "prediction": logits},
    ],
    ids=["Hugging Face", "dict", "tuple", "dict without logits"],
)
def test_logits_are_found_behind_a_loss(name, wrap):
    np.testing.assert_array_equal(run(name, Net(wrap=wrap), batches()), run(name, Net(), batches()))


@of_logits
def test_logits_that_are_none_name_the_network_and_the_batch(name):
    with pytest.raises(InputError, match=r"Net.*, batch 0: expected an output \(n_samples, n_classes\); got shape"):
        run(name, Net(wrap=lambda logits: logits.sum(dim=1)), batches())


# One grammar of targets

LABELS = torch.arange(80) % 3
TARGETS = {
    "labels": ("labels", lambda logits: one_hot(LABELS, 3).double()),
    "array": (one_hot(LABELS, 3).double().numpy(), lambda logits: one_hot(LABELS, 3).double()),
    "function": (lambda batch: one_hot(batch[1], 3).double(), lambda logits: one_hot(LABELS, 3).double()),
    "logits": ("logits", lambda logits: logits),
    "layer": ((Net(7).eval(), "fc"), lambda logits: Net(7).fc(X)),
    "column": (X[:, 0], lambda logits: X[:, :1]),
}
TAKES_TARGETS = {
    "compare": lambda m, d, t: svcca.compare(m, None, d, targets=t, **QUIET).values,
    "class_sensitivity": lambda m, d, t: svcca.class_sensitivity(m, d, targets=t, **QUIET).values,
    "class_dynamics": lambda m, d, t: (
        svcca.class_dynamics(m, states(m)[:1] * 2, d, steps=[0, 1], targets=t, **QUIET).values
    ),
    "directions": lambda m, d, t: svcca.directions(m, d, "fc", against=t, **QUIET).correlations,
    "intrinsic_dimensions": lambda m, d, t: [
        row.needed for row in svcca.intrinsic_dimensions(m, d, "fc", lambda _: 1.0, against=t, **QUIET).layers
    ],
    "compress": lambda m, d, t: weights(svcca.compress(m, d, layers="out", ranks=1, against=t, **QUIET)),
}


@pytest.mark.parametrize("verb", TAKES_TARGETS)
@pytest.mark.parametrize("kind", TARGETS)
def test_every_verb_reads_the_same_targets(verb, kind):
    model = Net().eval()
    targets, by_hand = TARGETS[kind]
    data = list(zip(X.split(16), LABELS.split(16), strict=True))
    with torch.no_grad():
        array = by_hand(model(X)).numpy()
    got, expected = (TAKES_TARGETS[verb](model, data, each) for each in (targets, array))
    # one-hot labels come as float32, whose machine epsilon sets another cut-off of ranks; the numbers are the same
    np.testing.assert_allclose(got, expected, atol=1e-9)
