from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from svcca.capture.batches import Batch
from svcca.capture.hooks import Keep, LayerRecorder, preserved_rng
from svcca.errors import LayerError

X = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))


class AsItIs:
    """A rule that changes nothing: what it gives shares the memory of the output."""

    def rows(self, output, mask, where):
        return output


def batch(data, number):
    return Batch(data, number, slice(0, 7))


def kept(labels):
    return Keep(dict.fromkeys(labels, AsItIs()), batch(X, 1), "a (Net)")


def record(model, *batches, layers=None, forward=None, tap="output"):
    """What the recorder gives for each batch; rules are applied from the second on, as in a pass over data."""
    outputs = []
    with LayerRecorder(model, layers, forward, "a (Net)", tap=tap) as recorder:
        for number, data in enumerate(batches):
            keep = kept(outputs[0]) if number else None
            outputs.append(recorder.run(batch(data, number), keep))
    return outputs


def same(outputs, expected):
    assert list(outputs) == list(expected)
    for name, tensor in expected.items():
        assert torch.equal(outputs[name], tensor), name


class Backwards(nn.Module):
    """Its layers run in the opposite order to that in which they are defined."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(3, 2)
        self.middle = nn.Linear(5, 3)
        self.first = nn.Linear(4, 5)

    def forward(self, x):
        return self.last(self.middle(self.first(x)))

    def by_hand(self, x):
        first = self.first(x)
        middle = self.middle(first)
        return {"first": first, "middle": middle, "last": self.last(middle)}


def test_layers_come_in_order_of_execution_with_their_own_values():
    model = Backwards()
    with torch.no_grad():
        expected = [model.by_hand(X), model.by_hand(2 * X)]
    for outputs, truth in zip(record(model, X, 2 * X), expected, strict=True):
        same(outputs, truth)


def test_the_order_of_the_patterns_changes_nothing():
    one = record(Backwards(), X, layers=["last", "first"])[0]
    assert list(one) == ["first", "last"]


def test_the_default_is_every_leaf_that_gives_a_tensor():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.ReLU()))
            self.pick = ArgMax()
            self.idle = nn.Linear(4, 4)

        def forward(self, x):
            self.pick(x)
            return self.body(x)

    assert list(record(Net(), X)[0]) == ["body.0", "body.1.0"]


class ArgMax(nn.Module):
    def forward(self, x):
        return x.argmax(dim=1)


def test_a_container_can_be_asked_for_by_name():
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.Linear(4, 2))
    outputs = record(model, X, layers=["0", "0.0"])[0]
    assert list(outputs) == ["0.0", "0"]
    assert torch.equal(outputs["0"], outputs["0.0"].relu())


def test_exclusions_alone_leave_the_other_leaves():
    assert list(record(Backwards(), X, layers=["!last"])[0]) == ["first", "middle"]


def test_an_unknown_layer_offers_the_closest_names():
    with pytest.raises(LayerError, match=r"got 'midle'\. Closest: middle"):
        LayerRecorder(Backwards(), "midle", None, "a")


def test_a_pattern_that_fits_nothing_lists_what_there_is():
    with pytest.raises(LayerError, match=r"got 'conv\*'. There are: last, middle, first\."):
        LayerRecorder(Backwards(), "conv*", None, "a")


def test_a_pattern_that_fits_nothing_beside_one_that_does_is_remembered():
    assert LayerRecorder(Backwards(), ["first", "conv*"], None, "a").idle_patterns == ["conv*"]


def test_layers_that_give_no_tensor_at_all_are_an_error():
    with pytest.raises(LayerError, match="expected outputs that are tensors; got none from 'pick'"):
        record(nn.ModuleDict({"pick": ArgMax()}), X, forward=lambda model, batch: model["pick"](batch))


class Lstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 3, batch_first=True)

    def forward(self, x):
        return self.lstm(x[:, None])[0]


def test_a_module_of_several_outputs_gives_its_first_tensor():
    model = Lstm()
    with torch.no_grad():
        expected = model.lstm(X[:, None])[0]
    same(record(model, X)[0], {"lstm": expected})


def test_one_of_several_outputs_is_named_by_its_path():
    model = Lstm()
    with torch.no_grad():
        output, (hidden, cell) = model.lstm(X[:, None])
    same(record(model, X, layers="lstm:1.0")[0], {"lstm:1.0": hidden})
    same(record(model, X, layers=["lstm:0", "lstm:1.1"])[0], {"lstm:0": output, "lstm:1.1": cell})


@dataclass
class Output:
    logits: Tensor
    hidden: tuple


class Splits(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def forward(self, x):
        return {
            "tuple": lambda: (x, 2 * x, (3 * x,)),
            "dict": lambda: {"a": x, "b": 2 * x, "c": {"d": 3 * x}},
            "dataclass": lambda: Output(x, (2 * x, 3 * x)),
        }[self.kind]()


class Outer(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.split = Splits(kind)

    def forward(self, x):
        return self.split(x)


@pytest.mark.parametrize(
    ("kind", "second", "third"),
    [
        ("tuple", "split:1", "split:2.0"),
        ("dict", "split:b", "split:c.d"),
        ("dataclass", "split:hidden.0", "split:hidden.1"),
    ],
)
def test_tuples_dicts_and_dataclasses_are_looked_into(kind, second, third):
    same(record(Outer(kind), X)[0], {"split": X})
    same(record(Outer(kind), X, X, layers=[second, third])[1], {second: 2 * X, third: 3 * X})


def test_several_paths_of_one_module_come_in_the_order_of_its_output():
    paths = [f"split:{name}" for name in "abcdefgh"]

    class Many(nn.Module):
        def forward(self, x):
            return dict.fromkeys("abcdefgh", x)

    # Eight names: an order taken from a set, which differs between processes, is right once in 40,320.
    model = nn.ModuleDict({"split": Many()})
    assert list(record(model, X, layers=paths[::-1], forward=lambda m, b: m["split"](b))[0]) == paths


def test_a_path_that_the_output_does_not_have_is_an_error_even_beside_one_it_has():
    with pytest.raises(LayerError, match="split:7"):
        record(Outer("tuple"), X, layers=["split:1", "split:7"])


class WithIdle(Backwards):
    def __init__(self):
        super().__init__()
        self.idle = nn.Linear(4, 4)


def test_a_layer_asked_for_by_name_that_never_runs_is_an_error():
    with pytest.raises(LayerError, match="idle"):
        record(WithIdle(), X, layers=["first", "idle"])


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        return self.relu(-self.fc(self.relu(x)))


def test_a_module_that_fires_twice_gives_two_layers():
    model = Twice()
    with torch.no_grad():
        first = X.relu()
        middle = model.fc(first)
        expected = {"relu#1": first, "fc": middle, "relu#2": (-middle).relu()}
    for outputs in record(model, X, X):
        same(outputs, expected)


class InPlace(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 5)
        self.relu = nn.ReLU(inplace=True)
        self.out = nn.Linear(5, 2)

    def forward(self, x):
        y = self.relu(self.fc(x))
        y += 10
        return self.out(y)


def test_an_in_place_step_after_a_layer_changes_nothing_that_was_captured():
    model = InPlace()
    with torch.no_grad():
        fc = model.fc(X)
        expected = {"fc": fc, "relu": fc.relu(), "out": model.out(fc.relu() + 10)}
    for outputs in record(model, X, X):
        same(outputs, expected)


def test_the_same_module_under_two_names_is_one_layer():
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    assert list(record(model, X)[0]) == ["0#1", "1", "0#2"]


def test_a_module_under_two_names_can_be_asked_for_by_either():
    shared = nn.Linear(4, 4)
    assert list(record(nn.Sequential(shared, shared), X, layers="1")[0]) == ["1#1", "1#2"]


def test_half_precision_comes_in_its_own_type():
    model = Backwards().bfloat16()
    assert {o.dtype for o in record(model, X.bfloat16())[0].values()} == {torch.bfloat16}


def test_autocast_is_recorded_as_the_layer_gave_it():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = record(Backwards(), X, X)
    assert {o.dtype for batch in outputs for o in batch.values()} == {torch.bfloat16}


class Compiled(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self._orig_mod = inner

    def forward(self, x):
        return self._orig_mod(x)


@pytest.mark.parametrize("wrap", [nn.DataParallel, Compiled], ids=["data parallel", "compiled"])
def test_wrapped_models_give_the_names_and_values_of_what_is_inside(wrap):
    model = Backwards()
    same(record(wrap(model), X)[0], record(model, X)[0])


def test_a_distributed_model_gives_the_names_and_values_of_what_is_inside(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        model = Backwards()
        same(record(nn.parallel.DistributedDataParallel(model), X)[0], record(model, X)[0])
    finally:
        torch.distributed.destroy_process_group()


class Counting(nn.Module):
    def __init__(self, fail_from=10**9):
        super().__init__()
        self.calls = 0
        self.fail_from = fail_from

    def forward(self, x):
        self.calls += 1
        if self.calls >= self.fail_from:
            raise RuntimeError("reached")
        return x


def test_from_the_second_batch_on_nothing_runs_after_the_last_wanted_layer():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), Counting(fail_from=2))
    outputs = record(model, X, X, X, layers=["0", "1"])
    assert model[2].calls == 1
    assert len(outputs) == 3


def test_the_last_wanted_layer_itself_runs_in_every_batch():
    model = nn.Sequential(Counting(), Counting(), Counting())
    outputs = record(model, X, 2 * X, layers=["0", "1"])
    assert [layer.calls for layer in model] == [2, 2, 1]
    assert torch.equal(outputs[1]["1"], 2 * X)


def test_the_pass_goes_on_to_the_last_call_of_a_module_used_twice():
    relu, tail = nn.ReLU(), Counting(fail_from=2)
    outputs = record(nn.Sequential(relu, nn.Linear(4, 4), relu, tail), X, X, layers="0")
    assert list(outputs[1]) == ["0#1", "0#2"]
    assert tail.calls == 1


def test_the_early_stop_does_not_meet_a_models_own_except():
    class Careful(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)
            self.tail = Counting()

        def forward(self, x):
            try:
                x = self.fc(x)
            except Exception:
                self.tail(x)
            return self.tail(x)

    model = Careful()
    record(model, X, X, layers="fc")
    assert model.tail.calls == 1


def test_a_layer_missing_in_a_later_batch_is_an_error_that_names_both():
    class Sometimes(nn.Module):
        def __init__(self):
            super().__init__()
            self.always, self.seldom = nn.Identity(), nn.Identity()

        def forward(self, x):
            x = self.always(x)
            return self.seldom(x) if x.shape[0] == 7 else x

    with pytest.raises(LayerError, match=r"a \(Net\), batch 1: expected every layer .*; got no output of 'seldom'"):
        record(Sometimes(), X, X[:3])


def test_only_what_is_to_be_kept_is_kept_and_by_the_rule_given():
    seen = []

    class Sum:
        def rows(self, output, mask, where):
            seen.append((mask.tolist(), where))
            return output.sum()

    data = {"x": X, "attention_mask": torch.ones(7, 1)}
    keep = Keep(dict.fromkeys(["first", "last"], Sum()), batch(data, 1), "a")
    with LayerRecorder(Backwards(), None, lambda model, data: model(data["x"]), "a") as recorder:
        recorder.run(batch(data, 0))
        assert [o.ndim for o in recorder.run(batch(data, 1), keep).values()] == [0, 0]
    assert seen == [([[True]] * 7, "a 'first', batch 1"), ([[True]] * 7, "a 'last', batch 1")]
    assert keep.shapes == {"first": (7, 5), "last": (7, 2)}


def test_inputs_are_tapped_by_position_or_name_and_the_layer_itself_need_not_run():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.tail = nn.Linear(4, 4), Counting(fail_from=2)

        def forward(self, x):
            return self.tail(x=self.fc(x))

    model = Net()
    with torch.no_grad():
        expected = model.fc(X)
    for outputs in record(model, X, X, layers=["fc", "tail"], tap="input"):
        same(outputs, {"fc": X, "tail": expected})
    assert model.tail.calls == 1


def test_an_in_place_layer_changes_nothing_of_the_inputs_that_were_captured():
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(inplace=True))
    with torch.no_grad():
        expected = model[0](X)
    for outputs in record(model, X, X, layers="1", tap="input"):
        same(outputs, {"1": expected})


def test_the_models_own_output_is_there_where_it_ran_to_its_end():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        expected = model(X)
    with LayerRecorder(model, "0", None, "a") as recorder:
        recorder.run(batch(X, 0))
        assert torch.equal(recorder.output, expected)
        recorder.run(batch(X, 1), kept(["0"]))
        assert recorder.output is None
        recorder.to_the_end = True
        recorder.run(batch(X, 2), kept(["0"]))
        assert torch.equal(recorder.output, expected)


def test_a_layer_that_runs_more_often_in_a_later_batch_is_an_error():
    class Again(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.tail = nn.Linear(4, 4), nn.Identity()

        def forward(self, x):
            x = self.fc(x)
            return self.tail(x if x.shape[0] == 7 else self.fc(x))

    with pytest.raises(LayerError, match=r"a \(Net\), batch 1: .*; got more runs than in the first batch of 'fc'"):
        record(Again(), X, X[:3])


def test_the_users_forward_runs_the_model():
    outputs = record(Backwards(), {"pixels": X}, forward=lambda model, batch: model(batch["pixels"]))
    assert list(outputs[0]) == ["first", "middle", "last"]


def test_the_users_forward_gets_the_model_without_its_wrapper():
    seen = []
    model = Backwards()
    record(nn.DataParallel(model), X, forward=lambda m, b: (seen.append(m), m(b)))
    assert seen == [model]


class Fragile(nn.Module):
    """Dropout, batch norm and a frozen part in evaluation mode, as in fine-tuning."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 5)
        self.norm = nn.BatchNorm1d(5)
        self.drop = nn.Dropout(0.5)
        self.tail = Counting()
        self.train()
        self.norm.eval()
        self.fc.weight.grad = torch.ones_like(self.fc.weight)
        self.fc.bias.requires_grad_(False)

    def forward(self, x):
        return self.tail(self.drop(self.norm(self.fc(x))))


def state(model):
    return {
        "modes": [(name, module.training) for name, module in model.named_modules()],
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in model.modules()],
        "flags": [parameter.requires_grad for parameter in model.parameters()],
        "gradients": [None if p.grad is None else p.grad.tolist() for p in model.parameters()],
        "values": {name: tensor.tolist() for name, tensor in model.state_dict().items()},
        "grad mode": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
    }


@pytest.mark.parametrize("fail_from", [1, 2, 10**9], ids=["first batch raises", "second raises", "nothing raises"])
def test_a_model_comes_back_as_it_was(fail_from):
    model = Fragile()
    model.tail.fail_from = fail_from
    before = state(model)
    try:
        record(model, X, X, X)
    except RuntimeError:
        assert fail_from < 10
    assert state(model) == before


def test_it_runs_in_evaluation_mode_and_without_gradients():
    model = Fragile()
    seen = []
    model.tail.register_forward_hook(lambda m, i, o: seen.append((model.training, m.training, torch.is_grad_enabled())))
    outputs = record(model, X)
    assert seen == [(False, False, False)]
    assert not outputs[0]["fc"].requires_grad
    assert torch.equal(outputs[0]["drop"], outputs[0]["norm"])


def test_hooks_of_the_users_own_are_kept():
    model, calls = Backwards(), []
    model.first.register_forward_hook(lambda m, i, o: calls.append("hook"))
    record(model, X)
    model(X)
    assert calls == ["hook", "hook"]


def test_a_keyboard_interrupt_leaves_the_model_as_it_was_too():
    model = Fragile()
    before = state(model)

    def stop(model, batch):
        model(batch)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record(model, X, forward=stop)
    assert state(model) == before


def test_what_a_model_raises_says_which_network_and_batch():
    model = Fragile()
    model.tail.fail_from = 2
    with pytest.raises(RuntimeError, match="reached") as caught:
        record(model, X, X)
    assert caught.value.__notes__ == ["svcca: raised by a (Net) on batch 1"]


def test_a_model_run_inside_another_records_only_its_own_run():
    inner = Backwards()
    outer = nn.Sequential(inner, nn.ReLU())
    with LayerRecorder(inner, None, None, "a") as first, LayerRecorder(outer, None, None, "b") as second:
        keeps = [None, None]
        for number in range(2):
            outputs = [
                recorder.run(batch(data, number), keep)
                for recorder, data, keep in zip((first, second), (X, 2 * X), keeps, strict=True)
            ]
            keeps = [kept(own) for own in outputs]
    with torch.no_grad():
        same(outputs[0], inner.by_hand(X))
        same(
            outputs[1],
            {f"0.{name}": o for name, o in inner.by_hand(2 * X).items()} | {"1": outer(2 * X)},
        )


def test_a_model_under_inference_mode_is_recorded():
    def forward(model, batch):
        with torch.inference_mode():
            return model(batch)

    outputs = record(Backwards(), X, X, forward=forward)
    with torch.no_grad():
        assert torch.equal(outputs[1]["first"], outputs[0]["first"])


def test_the_layers_of_a_transformer_are_recorded_though_torch_has_a_fast_path():
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    outputs = record(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), X[:, None], X[:, None])
    assert {name for name in outputs[0] if "linear" in name} == {
        f"layers.{block}.linear{n}" for block in (0, 1) for n in (1, 2)
    }


def test_the_random_state_is_given_back_after_an_error_too():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    with preserved_rng([torch.device("cpu")]):
        torch.rand(5)
        F.dropout(X, training=True)
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(RuntimeError, match="size"), preserved_rng([torch.device("cpu")]):
        torch.rand(5) + torch.rand(4)
    assert torch.equal(torch.get_rng_state(), before)
