import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from svcca.capture.accumulate import kept_rows, run_pass
from svcca.capture.observations import Pixels
from svcca.capture.sources import ArraySource, ModelSource
from svcca.capture.stream import ObservedNetwork
from svcca.core.grid import GridAccumulator
from svcca.errors import InputError, LayerError, NonFiniteError, SampleError

X = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self, width=5):
        super().__init__()
        self.fc = nn.Linear(4, width)
        self.relu = nn.ReLU()
        self.out = nn.Linear(width, 3)

    def forward(self, x):
        return self.out(self.relu(self.fc(x)))


@pytest.fixture(autouse=True)
def rows_are_kept(monkeypatch):
    """Keep what was folded as rows, to look at."""
    monkeypatch.setattr(GridAccumulator, "_moment_bytes", lambda self: float("inf"))


def source(model, layers=None, title="a", forward=None):
    if isinstance(model, nn.Module):
        return ModelSource(model, layers, forward, f"{title} (Net)")
    return ArraySource(model, layers, title)


def run(a, data, b=None, *, layers=None, observe="auto", forward=None):
    left = source(a, layers, "a", forward)
    right = None if b is None else source(b, layers, "b", forward)
    return run_pass(left, right, data, observe, GridAccumulator(self_comparison=b is None), False)


def folded_rows(passed):
    """The rows a short pass has kept, layer by layer."""
    names = [layer.name for layer in passed.networks[0].layers]
    return {name: torch.cat([piece[i] for piece in passed.accumulator._pieces]) for i, name in enumerate(names)}


def by_hand(model, x):
    with torch.no_grad():
        fc = model.fc(x)
        return {"fc": fc, "relu": fc.relu(), "out": model.out(fc.relu())}


@pytest.mark.parametrize("sizes", [(4,), (1, 3), (2, 1, 1)], ids=str)
def test_rows_of_all_batches_are_folded_in_order(sizes):
    model = Net()
    rows = folded_rows(run(model, torch.split(X[:4], sizes)))
    for name, expected in by_hand(model, X[:4]).items():
        # float32 outputs of one layer or two, of order 1, from matrix products of another batch size
        torch.testing.assert_close(rows[name], expected, atol=1e-6, rtol=0)


def test_layers_carry_their_width_and_rule():
    passed = run({"map": np.ones((6, 2, 3, 3)), "fc": np.ones((6, 5))}, None)
    assert [(layer.name, layer.n_features, layer.observation) for layer in passed.networks[0].layers] == [
        ("map", 2, "pool"),
        ("fc", 5, "flatten"),
    ]


class Numbers(IterableDataset):
    def __iter__(self):
        return iter(X)


@pytest.mark.parametrize(
    "data",
    [
        lambda: [X[:30], X[30:]],
        lambda: (part for part in X.split(16)),
        lambda: DataLoader(TensorDataset(X, torch.zeros(40)), batch_size=16),
        lambda: DataLoader(Numbers(), batch_size=16),
        lambda: iter(DataLoader(X, batch_size=16)),
    ],
    ids=["list", "generator", "loader with labels", "loader over an iterable", "iterator of a loader"],
)
def test_any_iterable_of_batches_will_do(data):
    assert run(Net(), data()).accumulator.n_samples == 40


def test_both_networks_see_the_same_batch_in_one_pass():
    a, b, seen = Net(), Net(), []

    def forward(model, batch):
        seen.append((model, batch))
        return model(batch)

    run(a, iter(X.split(8)), b, forward=forward)
    assert [model for model, _ in seen] == [a, b] * 5
    for (_, left), (_, right) in zip(seen[::2], seen[1::2], strict=True):
        assert torch.equal(left, right)


def test_arrays_beside_a_model_are_cut_to_its_batches():
    model = Net()
    saved = {"fc": by_hand(model, X)["fc"]}
    passed = run(model, X[:9].split(2), {"fc": saved["fc"][:9]}, layers="fc")
    for left, right in passed.accumulator._pieces:
        torch.testing.assert_close(left, right, atol=1e-6, rtol=0)  # float32 products of another batch size
    assert len(passed.accumulator._pieces) == 5


def test_one_row_a_sample_is_asked_of_all_where_one_network_has_no_more():
    passed = run({"text": torch.randn(6, 5, 3)}, None, {"fc": torch.randn(6, 4)})
    assert passed.networks[0].layers[0].observation == "mean_token"
    alone = run({"text": torch.randn(6, 5, 3)}, None)
    assert alone.networks[0].layers[0].observation == "tokens"


def test_pixels_of_both_networks_stand_at_the_same_positions():
    where = torch.arange(36.0).reshape(1, 1, 6, 6).expand(4, -1, -1, -1)
    passed = run({"a": where}, None, {"b": torch.cat([where, -where], dim=1)}, observe=Pixels(5, seed=2))
    for left, right in passed.accumulator._pieces:
        assert torch.equal(left[:, 0], right[:, 0])


def test_maps_of_two_sizes_do_not_line_up_as_pixels():
    # As many chosen positions on both sides, but other places of the image: no row belongs to its partner.
    with pytest.raises(InputError, match="positions"):
        run({"a": torch.randn(6, 2, 8, 8)}, None, {"b": torch.randn(6, 2, 4, 4)}, observe=Pixels(5))


def test_maps_of_one_area_and_two_shapes_do_not_line_up_as_pixels():
    with pytest.raises(InputError, match="positions"):
        run({"a": torch.randn(6, 2, 8, 8)}, None, {"b": torch.randn(6, 2, 4, 16)}, observe="pixels")


class Padded(nn.Module):
    """Passes tokens on; what stands at the padding is whatever it was."""

    def __init__(self):
        super().__init__()
        self.tokens = nn.Identity()

    def forward(self, x, attention_mask):
        return self.tokens(x)


def test_each_batchs_own_mask_is_used():
    x = torch.randn(6, 5, 3)
    mask = torch.ones(6, 5, dtype=torch.long)
    mask[0, 3:] = mask[4, :2] = mask[5, 1:] = 0
    batches = [{"x": x[part], "attention_mask": mask[part]} for part in (slice(0, 3), slice(3, 6))]
    passed = run(Padded(), batches, observe="tokens")
    assert torch.equal(folded_rows(passed)["tokens"], x[mask.bool()])


class TimeMajor(nn.Module):
    def __init__(self):
        super().__init__()
        self.turn = Turn()
        self.out = nn.Linear(4, 2)

    def forward(self, x):
        self.turn(x)
        return self.out(x)


class Turn(nn.Module):
    def forward(self, x):
        return x.T


def test_a_layer_that_does_not_put_samples_first_is_left_out_and_named():
    passed = run(TimeMajor(), X.split(8))
    assert [layer.name for layer in passed.networks[0].layers] == ["out"]
    assert passed.warnings == ("a (Net): left out, since their outputs do not put samples first: turn.",)


def test_a_layer_asked_for_that_does_not_put_samples_first_is_refused():
    with pytest.raises(InputError, match=r"a \(Net\) 'turn', batch 0: .*8 samples .*; got shape \(4, 8\)"):
        run(TimeMajor(), X.split(8), layers=["out", "turn"])


def test_a_layer_that_puts_samples_first_by_chance_is_refused_at_the_next_batch():
    # Four inputs of four features: the first batch cannot tell, and all layers of later ones give four rows.
    with pytest.raises(InputError, match=r"a \(Net\) 'turn', batch 1: .*8 samples .*; got shape \(4, 8\)"):
        run(TimeMajor(), [X[:4], X[4:12]], layers="turn")


# Bad input


@pytest.mark.parametrize("data", [[], iter([])], ids=["empty list", "used-up iterator"])
def test_no_batch_at_all_is_refused_with_its_likely_cause(data):
    text = r"data for a \(Net\): expected at least 2 samples; got 0 samples. The loader is empty or was used up before"
    with pytest.raises(SampleError, match=text):
        run(Net(), data)


def test_a_generator_that_was_used_up_by_a_first_pass_is_refused():
    data = (part for part in X.split(8))
    run(Net(), data)
    with pytest.raises(SampleError, match="The loader is empty or was used up before"):
        run(Net(), data)


def test_one_sample_is_refused():
    with pytest.raises(
        SampleError, match=r"data for a \(Net\) and b \(Net\): expected at least 2 samples; got 1 sample\."
    ):
        run(Net(), [X[:1]], Net())


@pytest.mark.parametrize(
    ("value", "word"), [(float("nan"), "NaN"), (float("inf"), "infinity"), (-float("inf"), "infinity")]
)
@pytest.mark.parametrize("number", [0, 1, 3])
def test_nan_and_infinity_name_network_layer_and_batch(value, word, number):
    batches = [part.clone() for part in X.split(8)]
    batches[number][2, 1] = value
    model = nn.Sequential(nn.Identity(), nn.Identity())
    with pytest.raises(
        NonFiniteError, match=rf"^a \(Net\) '0', batch {number}: .*got 1 that are not \(first: {word} at \(2, 1\)\)"
    ):
        run(model, batches)


def test_nan_in_the_second_network_names_the_second():
    with torch.no_grad():
        broken = Net()
        broken.out.weight.fill_(float("nan"))
    with pytest.raises(NonFiniteError, match=r"^b \(Net\) 'out', batch 0"):
        run(Net(), X.split(8), broken)


def test_nan_in_captured_arrays_names_the_layer():
    bad = np.ones((9, 2))
    bad[4, 1] = np.nan
    with pytest.raises(NonFiniteError, match=r"^b 'two', batch 0"):
        run({"one": np.ones((9, 2))}, None, {"two": bad})


class Resized(nn.Module):
    def __init__(self):
        super().__init__()
        self.fit = nn.Identity()

    def forward(self, x):
        return self.fit(x)


@pytest.mark.parametrize("b", [None, nn.Sequential(nn.Identity())], ids=["alone", "beside another"])
def test_a_width_that_changes_between_batches_is_refused(b):
    with pytest.raises(
        InputError, match=r"a \(Net\) 'fit', batch 1: expected 4 features, as in the first batch; got 3\."
    ):
        run(Resized(), [X[:8], X[8:16, :3]], b)


def test_rules_that_give_unequal_rows_are_refused_with_both_counts():
    arrays = {"map": torch.randn(6, 2, 3, 3), "fc": torch.randn(6, 4)}
    text = r"got 54 from a 'map' \(pixels \(all 9 positions\)\) and 6 from a 'fc' \(flatten\)"
    with pytest.raises(SampleError, match=text):
        run(arrays, None, observe={"map": "pixels"})


@pytest.mark.parametrize(("n_a", "n_b"), [(6, 5), (5, 6)])
def test_networks_captured_over_unequal_samples_are_refused(n_a, n_b):
    with pytest.raises(SampleError, match="as many samples on both sides; got"):
        run({"fc": np.ones((n_a, 2))}, None, {"fc": np.ones((n_b, 2))})


@pytest.mark.parametrize("n_saved", [39, 41, 16, 80])
def test_data_of_another_length_than_the_captured_arrays_are_refused(n_saved):
    with pytest.raises(SampleError, match="as many samples on both sides; got"):
        run(Net(), X.split(8), {"fc": np.random.default_rng(0).normal(size=(n_saved, 2))})


def test_an_empty_batch_is_refused_by_its_number():
    with pytest.raises(SampleError, match="batch 1: expected at least one sample in a batch; got none"):
        run(Net(), [X, X[:0]])


def test_a_layer_missing_in_a_later_batch_is_refused():
    class Sometimes(Net):
        def forward(self, x):
            return self.fc(x) if len(x) < 8 else super().forward(x)

    with pytest.raises(LayerError, match=r"a \(Net\), batch 1: .*got no output of 'relu', 'out'"):
        run(Sometimes(), [X[:8], X[8:12]])


@pytest.mark.parametrize("fails", [False, True])
def test_the_random_state_is_given_back_whatever_loader_and_model_drew(fails):
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Identity()

        def forward(self, x):
            x = self.fc(x) + torch.rand(4)
            if fails:
                raise RuntimeError("half way")
            return x

    model, loader = Noisy(), DataLoader(X, batch_size=8, shuffle=True)
    before = torch.get_rng_state()
    try:
        run(model, loader)
    except RuntimeError:
        assert fails
    assert torch.equal(torch.get_rng_state(), before)


def test_a_model_is_left_as_it_was_when_an_observation_fails_inside_a_hook():
    model = Net().train()
    mask = {"x": torch.randn(6, 5, 4), "attention_mask": torch.ones(6, 5)}
    short = mask | {"attention_mask": torch.zeros(6, 5)}
    with pytest.raises(InputError, match=r"a \(Net\) 'fc', batch 1: expected at least one real token"):
        run(model, [mask, short], observe="tokens", forward=lambda m, b: m(b["x"]))
    assert all(module.training and not module._forward_hooks for module in model.modules())


def test_a_model_is_handed_back_at_once_when_folding_fails(monkeypatch):
    def fail(self, rows, columns=()):
        raise MemoryError("no room")

    monkeypatch.setattr(GridAccumulator, "update", fail)
    model = Net().train()
    before = torch.get_rng_state()
    with pytest.raises(MemoryError, match="no room"):
        run(model, DataLoader(X, batch_size=8, shuffle=True))
    assert all(module.training and not module._forward_hooks for module in model.modules())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("size", [40, 7])
def test_rows_are_collected_layer_by_layer_in_order_and_in_their_own_type(size):
    model = Net().bfloat16()
    rows = kept_rows(ObservedNetwork(source(model)), X.bfloat16().split(size), "auto", False)
    expected = by_hand(model, X.bfloat16())
    assert list(rows) == ["fc", "relu", "out"]
    for name, block in rows.items():
        assert block.dtype == torch.bfloat16
        # bfloat16 products of another batch size: two units in the last place, 2 x 2^-8, of values below 4
        torch.testing.assert_close(block, expected[name], atol=0.035, rtol=0)


def test_rows_collected_stay_as_they_were_when_an_in_place_step_follows():
    model = Net()
    model.relu.inplace = True
    rows = kept_rows(ObservedNetwork(source(model)), X.split(8), "auto", False)
    with torch.no_grad():
        fc = torch.cat([model.fc(part) for part in X.split(8)])
    assert torch.equal(rows["fc"], fc)
    assert torch.equal(rows["relu"], fc.relu())


def test_no_data_to_collect_are_refused():
    with pytest.raises(SampleError, match="The loader is empty or was used up before"):
        kept_rows(ObservedNetwork(source(Net())), [], "auto", False)
