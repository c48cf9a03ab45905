import itertools
import warnings
from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import reference
import svcca
from live_bytes import LiveBytes
from svcca.core.grid import GridAccumulator
from svcca.errors import InputError, LayerError, RankError, SampleError, SvccaWarning, UnknownOptionError
from svcca.measures.chance import cca_mean

MEASURES = {"svcca": svcca.svcca, "pwcca": svcca.measures.pwcca, "linear_cka": svcca.measures.linear_cka}
X = torch.randn(600, 6, generator=torch.Generator().manual_seed(0))
# Two float64 routes to one number over a few hundred samples, and layers of condition below 30.
ROUNDING = reference.rounding(600, condition=30)


class Net(nn.Module):
    def __init__(self, seed=0, width=8):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.out = nn.Linear(5, 3)
            self.fc1 = nn.Linear(6, width)
            self.relu = nn.ReLU(inplace=True)
            self.fc2 = nn.Linear(width, 5)

    def forward(self, x):
        return self.out(self.fc2(self.relu(self.fc1(x))))

    def by_hand(self, x):
        with torch.no_grad():
            fc1 = self.fc1(x)
            fc2 = self.fc2(fc1.relu())
            return {"fc1": fc1, "relu": fc1.relu(), "fc2": fc2, "out": self.out(fc2)}


def compare(*args, **options):
    """One call with no warning allowed."""
    return svcca.compare(*args, **options)


@contextmanager
def doubt():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SvccaWarning)
        yield


def close(a, b, atol=ROUNDING):
    assert (a.row_labels, a.column_labels) == (b.row_labels, b.column_labels)
    np.testing.assert_allclose(a.values, b.values, atol=atol, rtol=0)
    assert [layer.rank for layer in (*a.rows, *a.columns)] == [layer.rank for layer in (*b.rows, *b.columns)]


def identical(a, b):
    assert (a.row_labels, a.column_labels) == (b.row_labels, b.column_labels)
    assert a.values.tobytes() == b.values.tobytes()
    assert a.chance.tobytes() == b.chance.tobytes()


# The numbers


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("n_samples", [600, 40], ids=["moments", "rows"])
def test_every_pair_has_the_value_that_its_two_layers_alone_give(measure, n_samples):
    a, b = Net(0).double(), Net(1, width=9).double()
    x = X[:n_samples].double()
    with doubt():
        matrix = compare(a, b, x.split(n_samples // 3), measure=measure)
        assert matrix.row_labels == matrix.column_labels == ("fc1", "relu", "fc2", "out")
        for (i, left), (j, right) in itertools.product(
            enumerate(a.by_hand(x).values()), enumerate(b.by_hand(x).values())
        ):
            alone = MEASURES[measure](left, right)
            assert matrix.values[i, j] == pytest.approx(alone.similarity, abs=ROUNDING)
            assert matrix.chance[i, j] == pytest.approx(alone.chance, abs=ROUNDING)


def test_every_pair_has_the_oracles_value():
    a, b = Net(0).double(), Net(1, width=9).double()
    x = X.double()
    matrix = compare(a, b, x.split(250))
    for (i, left), (j, right) in itertools.product(enumerate(a.by_hand(x).values()), enumerate(b.by_hand(x).values())):
        expected, x_rank, y_rank = reference.svcca(left.numpy(), right.numpy())
        assert matrix.values[i, j] == pytest.approx(expected, abs=ROUNDING)
        assert (matrix.rows[i].rank, matrix.columns[j].rank) == (x_rank, y_rank)


def test_the_matrix_is_not_turned():
    wide = {"a": reference.gaussian(0, 400, 12), "b": reference.gaussian(1, 400, 3)}
    narrow = {"c": wide["a"][:, :2] + reference.gaussian(2, 400, 2) / 2}
    matrix = compare(wide, narrow)
    assert matrix.values.shape == (2, 1)
    assert matrix.values[0, 0] > 0.8 > 0.3 > matrix.values[1, 0]
    np.testing.assert_allclose(compare(narrow, wide).values, matrix.values.T, atol=ROUNDING)


def test_the_diagonal_of_a_self_comparison_is_one():
    for measure in MEASURES:
        matrix = compare(Net(), data=X, measure=measure)
        np.testing.assert_allclose(np.diag(matrix.values), 1, atol=1e-6)  # the tolerance that is promised
        assert matrix.rows == matrix.columns


def test_a_model_with_itself_is_a_self_comparison():
    model = Net()
    identical(compare(model, model, X), compare(model, None, X))


def test_a_model_with_a_copy_of_itself_has_a_diagonal_of_one():
    np.testing.assert_allclose(np.diag(compare(Net(), Net(), X).values), 1, atol=1e-6)


def test_two_runs_give_the_same_bits():
    identical(compare(Net(0), Net(1), X), compare(Net(0), Net(1), X))


def test_retained_variance_cuts_the_ranks_of_svcca_alone():
    low, high = (compare(Net(0), Net(1), X, retained_variance=share) for share in (0.6, 1.0))
    assert all(x.rank < y.rank for x, y in zip(low.rows, high.rows, strict=True))
    assert (low.retained_variance, high.retained_variance) == (0.6, 1.0)
    identical(*(compare(Net(0), Net(1), X, measure="pwcca", retained_variance=share) for share in (0.6, 1.0)))
    assert compare(Net(0), Net(1), X, measure="pwcca", retained_variance=0.6).retained_variance == 1.0


def test_rows_and_moments_give_the_same_numbers(monkeypatch):
    arrays = {
        "a": reference.gaussian(0, 100, 30),
        "b": reference.gaussian(1, 100, 60) @ np.diag(np.geomspace(1, 30, 60)),
    }
    with doubt():
        by_rows = compare(arrays)
        monkeypatch.setattr(GridAccumulator, "_moment_bytes", lambda self: -1)
        close(compare(arrays), by_rows)


@pytest.mark.parametrize(("n_samples", "decompositions"), [(600, 7), (20, 7)], ids=["moments", "rows"])
def test_each_layer_is_decomposed_once(monkeypatch, n_samples, decompositions):
    calls = []
    eigh = torch.linalg.eigh
    monkeypatch.setattr(torch.linalg, "eigh", lambda matrix: (calls.append(len(matrix)), eigh(matrix))[1])
    a = {f"a{i}": reference.gaussian(i, n_samples, 5 + i) for i in range(4)}
    b = {f"b{i}": reference.gaussian(9 + i, n_samples, 5 + i) for i in range(3)}
    with doubt():
        compare(a, b)
        assert len(calls) == decompositions
        calls.clear()
        compare(a)
        assert len(calls) == 4


# The same numbers by every way in


class Elementwise(nn.Module):
    """Its layers work on each number alone, so that a batch's size changes none of its bits."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Hardtanh(), nn.Softsign()

    def forward(self, x):
        return self.two(self.one(x) + x**2)


@pytest.mark.parametrize("size", [1, 7, 64, 599])
def test_the_size_of_the_batches_changes_no_bit(size):
    identical(compare(Elementwise(), None, X.split(size)), compare(Elementwise(), None, [X]))


@pytest.mark.parametrize("observe", ["flatten", "pool", "pixels", svcca.Pixels(4, seed=1)], ids=str)
def test_the_size_of_the_batches_changes_no_bit_by_any_rule(observe):
    maps = torch.randn(96, 2, 3, 3, generator=torch.Generator().manual_seed(1))
    with doubt():
        whole, parts = (compare(Elementwise(), None, maps.split(n), observe=observe) for n in (96, 5))
    identical(whole, parts)


class Stream(IterableDataset):
    def __iter__(self):
        return iter(X)


@pytest.mark.parametrize(
    "data",
    [
        lambda: X,
        lambda: X.numpy(),
        lambda: {"x": X},
        lambda: [{"x": part} for part in X.split(100)],
        lambda: (part for part in X.split(100)),
        lambda: ((part, torch.zeros(len(part))) for part in X.split(100)),
        lambda: DataLoader(X, batch_size=100),
        lambda: DataLoader(TensorDataset(X, torch.zeros(600)), batch_size=100),
        lambda: DataLoader(Stream(), batch_size=100),
    ],
    ids=["tensor", "array", "dict", "dicts", "generator", "pairs", "loader", "loader with labels", "stream"],
)
@pytest.mark.parametrize("show", [False, True], ids=["quiet", "bar"])
def test_data_of_every_kind_give_the_same_matrix(data, show):
    identical(compare(Elementwise(), None, data(), progress=show), compare(Elementwise(), None, [X]))


@pytest.fixture
def saved(tmp_path):
    """Two nets and their activations as a mapping, .npz and .safetensors."""
    nets = [Net(0), Net(1)]
    kinds = []
    for name, net in zip("ab", nets, strict=True):
        mapping = {layer: rows.numpy() for layer, rows in net.by_hand(X).items()}
        paths = [svcca.save_activations(tmp_path / f"{name}{suffix}", mapping) for suffix in (".npz", ".safetensors")]
        kinds.append({"model": net, "mapping": mapping, "npz": paths[0], "safetensors": str(paths[1])})
    return kinds


@pytest.mark.parametrize("left", ["model", "mapping", "npz", "safetensors"])
@pytest.mark.parametrize("right", ["model", "mapping", "npz", "safetensors"])
def test_models_mappings_and_files_mix(saved, left, right):
    live = "model" in (left, right)
    mixed = compare(saved[0][left], saved[1][right], [X] if live else None)
    identical(mixed, compare(saved[0]["mapping"], saved[1]["mapping"]))


def test_files_are_titled_by_their_paths_and_models_by_their_class(saved):
    matrix = compare(saved[0]["npz"], saved[1]["model"], [X])
    assert (matrix.row_title, matrix.column_title) == (str(saved[0]["npz"]), "b (Net)")


def test_arrays_are_observed_by_the_same_rules():
    maps = torch.randn(90, 3, 4, 4)
    a, b = compare({"0": maps}, observe="pool"), compare({"0": maps.mean(dim=(2, 3)).double()})
    np.testing.assert_allclose(a.values, b.values, atol=1e-6)  # float32 means on one side
    assert a.rows[0].observation == "pool"


def test_layers_are_chosen_on_both_sides_alike():
    assert compare(Net(0), Net(1), X, layers=["fc?", "!fc2"]).row_labels == ("fc1",)


def test_a_layer_that_one_network_alone_has_may_be_asked_for():
    matrix = compare({"stem": X.numpy(), "fc": X.numpy()}, {"fc": X.numpy(), "neck": X.numpy()}, layers=["stem", "fc"])
    assert (matrix.row_labels, matrix.column_labels) == (("stem", "fc"), ("fc",))


def test_a_network_that_shares_modules_with_the_other_is_recorded_apart():
    a = Net(0)
    b = nn.Sequential(a.fc1, nn.Tanh())
    with torch.no_grad():
        expected = compare(a.by_hand(X), {"0": a.fc1(X), "1": a.fc1(X).tanh()})
    identical(compare(a, b, [X]), expected)
    assert all(module.training for model in (a, b) for module in model.modules())


def test_a_part_of_a_model_can_be_compared_with_the_whole():
    whole = nn.Sequential(nn.Sequential(nn.Linear(6, 4), nn.Tanh()), nn.Linear(4, 3)).train()
    matrix = compare(whole, whole[0], X)
    assert (matrix.row_labels, matrix.column_labels) == (("0.0", "0.1", "1"), ("0", "1"))
    np.testing.assert_allclose([matrix.values[0, 0], matrix.values[1, 1]], 1, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_models_are_compared(dtype):
    half = Net(0).to(dtype)
    matrix = compare(half, None, X.to(dtype), layers="fc?")
    np.testing.assert_allclose(np.diag(matrix.values), 1, atol=1e-6)
    full = compare(Net(0), None, X, layers="fc?")
    # bfloat16 keeps 8 bits: 0.4% of each value, which moves a correlation by about as much
    np.testing.assert_allclose(matrix.values, full.values, atol=0.02)


def test_autocast_around_the_call_does_not_reach_the_sums():
    plain = compare(Net(0), None, X, layers="fc?")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        matrix = compare(Net(0), None, X, layers="fc?")
    np.testing.assert_allclose(np.diag(matrix.values), 1, atol=1e-6)
    np.testing.assert_allclose(matrix.values, plain.values, atol=0.02)  # as above


def test_activations_far_from_the_origin_lose_nothing():
    x = torch.randn(5000, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    y = x @ torch.randn(4, 4, dtype=torch.float64) + torch.randn(5000, 4, dtype=torch.float64)
    near, far = (compare({"x": x + shift}, {"y": y + shift}) for shift in (0, 1e6))
    # The data themselves are rounded at 1e6 x eps, over a spread of order 1.
    np.testing.assert_allclose(near.values, far.values, atol=ROUNDING + 1e6 * reference.EPS * 100)


# What a model finds when it comes back


@pytest.mark.parametrize("fails", [False, True])
def test_models_gradients_and_random_state_come_back_as_they_were(fails):
    class Noisy(Net):
        def forward(self, x):
            if fails and len(x) < 70:
                raise RuntimeError("the last batch")
            return super().forward(x) + torch.rand(())

    a, b = Noisy(0), Noisy(1)
    a.fc1.eval()
    a.fc2.weight.grad = torch.ones_like(a.fc2.weight)
    modes = [module.training for model in (a, b) for module in model.modules()]
    values = [parameter.clone() for model in (a, b) for parameter in model.parameters()]
    random_state = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="the last batch") if fails else nullcontext() as caught:
        compare(a, b, DataLoader(X, batch_size=70, shuffle=True))
    if fails:
        assert caught.value.__notes__ == ["svcca: raised by a (Noisy) on batch 8"]
    assert [module.training for model in (a, b) for module in model.modules()] == modes
    assert not any(module._forward_hooks for model in (a, b) for module in model.modules())
    assert torch.equal(torch.get_rng_state(), random_state)
    assert torch.equal(a.fc2.weight.grad, torch.ones_like(a.fc2.weight))
    assert a.fc1.weight.grad is None
    after = [parameter for model in (a, b) for parameter in model.parameters()]
    assert all(torch.equal(old, new) for old, new in zip(values, after, strict=True))
    assert torch.is_grad_enabled()


def test_callers_arrays_are_neither_changed_nor_frozen():
    held = {"a": np.arange(60.0).reshape(20, 3) ** 2 % 17, "b": np.cos(np.arange(40.0)).reshape(20, 2)}
    before = {name: array.copy() for name, array in held.items()}
    with doubt():
        compare(held)
    assert all(np.array_equal(held[name], before[name]) and held[name].flags.writeable for name in held)


# Text


def bert(**options):
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=40,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=12,
        max_position_embeddings=24,
        **options,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return transformers.BertModel(config).double()


def sentences(length, filler, n=240):
    """The same sentences of 3 to 9 tokens, padded on the right to a length with a filler."""
    generator = torch.Generator().manual_seed(0)
    sizes = torch.randint(3, 10, (n, 1), generator=generator)
    words = torch.randint(1, 40, (n, 9), generator=generator)
    ids = torch.full((n, length), filler)
    ids[:, :9] = words
    mask = torch.arange(length) < sizes
    return {"input_ids": torch.where(mask, ids, filler), "attention_mask": mask.long()}


@pytest.mark.parametrize("observe", ["auto", "mean_token", "last_token"])
def test_pad_tokens_change_nothing_in_a_hugging_face_encoder(observe):
    layers = ["encoder.layer.*", "!*.intermediate_act_fn"]
    model = bert()
    with doubt():
        short, long = (
            compare(model, None, sentences(*padding), layers=layers, observe=observe) for padding in ((9, 0), (20, 7))
        )
    assert len(short.rows) > 8
    assert short.n_samples == long.n_samples
    # float64, but attention sums over other lengths round otherwise; layers of condition of order 100
    close(short, long, atol=1e-9)


def test_an_encoder_is_compared_by_default_with_what_it_left_out_named():
    with pytest.warns(SvccaWarning) as caught:
        matrix = svcca.compare(bert(), None, sentences(9, 0))
    assert {layer.observation for layer in matrix.rows} == {"mean_token", "flatten"}
    text = " ".join(map(str, matrix.warnings))
    assert "do not put samples first: embeddings.position_embeddings" in text
    assert "constant over all samples: embeddings.token_type_embeddings" in text
    assert [str(warning.message) for warning in caught] == [str(doubt) for doubt in matrix.warnings]


def test_labels_in_a_batch_do_not_reach_an_encoder_or_change_a_number():
    batch = sentences(9, 0)
    labelled = batch | {"labels": torch.zeros(240, dtype=torch.long)}
    with doubt():
        results = [
            compare(bert(), None, data, layers="encoder.layer.?")
            for data in ([batch], [labelled], [(batch, labelled["labels"])], labelled)
        ]
    for other in results[1:]:
        identical(results[0], other)


def test_two_encoders_are_compared_token_by_token():
    a, b = bert(), bert(hidden_act="relu")
    matrix = compare(a, b, sentences(9, 0), layers="encoder.layer.?.output.dense")
    assert {layer.observation for layer in matrix.rows} == {"tokens"}
    assert matrix.n_samples == int(sentences(9, 0)["attention_mask"].sum())


# Memory


def peak(n_batches):
    def batches():
        generator = torch.Generator().manual_seed(0)
        for _ in range(n_batches):
            yield torch.randn(32, 6, generator=generator)

    a, b = Net(0, 16), Net(1, 12)
    with LiveBytes() as memory:
        compare(a, b, batches())
    return memory.peak


def test_memory_does_not_grow_with_the_number_of_batches():
    few, many = peak(160), peak(640)  # the former fills one chunk already
    assert 0 < many <= few


def test_the_measure_of_memory_sees_rows_that_are_kept(monkeypatch):
    monkeypatch.setattr(GridAccumulator, "_moment_bytes", lambda self: float("inf"))
    assert peak(160) > 3 * peak(40)


# What a reader must know


def test_a_result_says_how_it_was_made():
    matrix = compare(Net(0), Net(1), X, layers="fc?", measure="linear_cka")
    assert (matrix.measure, matrix.n_samples, matrix.row_title, matrix.column_title) == (
        "linear_cka",
        600,
        "a (Net)",
        "b (Net)",
    )
    assert [(layer.name, layer.n_features, layer.observation) for layer in matrix.rows] == [
        ("fc1", 8, "flatten"),
        ("fc2", 5, "flatten"),
    ]
    assert matrix.warnings == ()


def test_rules_by_pattern_are_recorded_layer_by_layer():
    maps = {"conv1": torch.randn(90, 3, 4, 4), "conv2": torch.randn(90, 2, 4, 4), "fc": torch.randn(90, 5)}
    with doubt():
        matrix = compare(maps, observe={"conv1": "pool", "conv*": "flatten"})
    assert [layer.observation for layer in matrix.rows] == ["pool", "flatten", "flatten"]
    assert [layer.n_features for layer in matrix.rows] == [3, 32, 5]


def test_fewer_samples_than_features_are_warned_of_and_recorded_where_the_user_called():
    arrays = {"a": reference.gaussian(0, 20, 30), "b": reference.gaussian(1, 20, 30)}
    with pytest.warns(SvccaWarning, match="are 1 whatever the layers hold, because 20 samples cannot tell") as caught:
        matrix = svcca.compare(arrays)
    assert [str(warning.message) for warning in caught] == [str(doubt) for doubt in matrix.warnings]
    assert caught[0].filename == __file__
    assert "holds for 4 of 4 pairs" in matrix.warnings[0].text
    assert matrix.chance[0, 1] > 0.9


def test_a_high_chance_level_is_warned_of():
    with pytest.warns(SvccaWarning, match="unrelated layers would already give"):
        svcca.compare({"a": reference.gaussian(0, 60, 20)}, {"b": reference.gaussian(1, 60, 20)})


def test_enough_samples_raise_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert svcca.compare(Net(0), Net(1), X).warnings == ()


def test_a_constant_layer_of_a_model_is_left_out_and_named():
    model = Net()
    with torch.no_grad():
        model.out.weight.zero_()
    with pytest.warns(SvccaWarning, match=r"a \(Net\): left out, since they are constant over all samples: out\."):
        matrix = svcca.compare(model, None, X)
    assert matrix.row_labels == matrix.column_labels == ("fc1", "relu", "fc2")
    identical_values = compare(model, None, X, layers="!out").values
    np.testing.assert_allclose(matrix.values, identical_values, atol=ROUNDING)


def test_a_constant_layer_beside_another_network_is_left_out_of_its_own_side():
    model = Net()
    with torch.no_grad():
        model.fc2.weight.zero_()
    with doubt():
        matrix = svcca.compare(Net(1), model, X)
    assert matrix.row_labels == ("fc1", "relu", "fc2", "out")
    assert matrix.column_labels == ("fc1", "relu")
    clean = compare(Net(1), model, X, layers=["fc1", "relu"]).values
    np.testing.assert_allclose(matrix.values[:2], clean, atol=ROUNDING)


@pytest.mark.parametrize("n_samples", [600, 8], ids=["moments", "rows"])
def test_a_constant_layer_asked_for_by_name_is_refused(n_samples):
    model = Net()
    with torch.no_grad():
        model.out.weight.zero_()
    with doubt(), pytest.raises(RankError, match=r"a \(Net\) 'out': .*got a constant layer \(rank 0"):
        compare(model, None, X[:n_samples], layers=["fc1", "out"])


def test_a_constant_array_is_refused_by_name():
    with pytest.raises(RankError, match=r"b 'dead': .*got a constant layer"):
        compare({"x": reference.gaussian(0, 50, 3)}, {"x": reference.gaussian(0, 50, 3), "dead": np.full((50, 3), 0.1)})


def test_a_network_of_constant_layers_alone_is_refused():
    model = nn.Sequential(nn.Linear(6, 3), nn.ReLU())
    with torch.no_grad():
        model[0].weight.zero_()
    with pytest.raises(RankError, match=r"a \(Sequential\): expected a layer that varies"):
        compare(model, None, X)


# Bad input


@pytest.mark.parametrize(
    ("a", "b", "data", "text"),
    [
        (Net(), None, None, r"compare: expected data to run a \(Net\) on; got none"),
        (Net(), Net(), None, r"compare: expected data to run a \(Net\) and b \(Net\) on; got none"),
        ({"x": X}, None, X, "compare: expected no data beside captured activations; got Tensor"),
        (X, None, None, r"compare a: expected a model, a mapping .*; got Tensor. For two arrays use svcca.svcca"),
        (Net(), DataLoader(X), None, "compare b: expected a model, a mapping from layer name to array, or a path; got"),
        (Net(), None, 5, "data: expected an iterable of batches, a tensor or a dict of tensors; got int"),
        (Net(), {}, X, "b: expected at least one layer; got an empty mapping"),
        ({"x": np.ones((5, 0))}, None, None, "a 'x': expected at least 1 feature; got 0"),
    ],
    ids=range(8),
)
def test_a_call_that_makes_no_sense_is_refused(a, b, data, text):
    with pytest.raises(InputError, match=text):
        compare(a, b, data)


def test_an_unknown_layer_offers_the_closest():
    with pytest.raises(LayerError, match=r"layers of a \(Net\): .*; got 'fc3'. Closest: fc2, fc1"):
        compare(Net(), None, X, layers="fc3")


def test_a_pattern_that_fits_nothing_beside_one_that_does_is_refused():
    with pytest.raises(LayerError, match=r"layers of a \(Net\) or b \(Net\): .*; got 'conv\*'"):
        compare(Net(), Net(), X, layers=["fc1", "conv*"])


def test_a_pattern_of_observe_that_fits_no_layer_is_refused():
    with pytest.raises(LayerError, match="convv"):
        compare({"conv": X, "fc": X}, observe={"convv": "pool"})


@pytest.mark.parametrize("options", [{"measure": "svca"}, {"observe": "pixel"}], ids=str)
def test_an_unknown_choice_lists_the_known(options):
    known = "cca, svcca, r2_cca, svcca_r2" if "measure" in options else "auto, flatten, fourier, interpolate, pixels"
    with pytest.raises(UnknownOptionError, match=f"one of {known}"):
        compare(Net(), None, X, **options)


@pytest.mark.parametrize("share", [0, -1, 1.01, float("nan")])
def test_a_share_of_variance_outside_its_range_is_refused_before_any_work(share):
    model = Net()
    model.forward = None
    with pytest.raises(InputError, match=r"retained_variance: expected a share in \(0, 1\]"):
        compare(model, None, X, retained_variance=share)


def test_an_empty_loader_is_refused():
    with pytest.raises(SampleError, match="The loader is empty or was used up before"):
        compare(Net(), None, DataLoader(X[:0]))


def test_rows_that_do_not_match_are_refused():
    with pytest.raises(SampleError, match="as many samples on both sides; got 599 in b and"):
        compare(Net(), {"fc1": X[1:]}, X.split(100))


def test_layers_of_one_sample_are_refused():
    with pytest.raises(SampleError, match="expected at least 2 samples; got 1 sample"):
        compare({"a": np.ones((1, 3))})


def test_dependent_rows_are_remarked_with_the_chance_level_of_the_inputs_alone():
    maps = {"a": torch.randn(40, 3, 4, 4, generator=torch.Generator().manual_seed(0))}
    by_pixel, by_image = compare(maps, observe="pixels"), compare(maps, observe="pool")
    (doubt,) = by_pixel.warnings
    remark = doubt.text
    assert doubt.kind == "dependence"
    assert "640 rows come from 40 inputs" in remark
    assert f"up to {by_pixel.chance.max():.2f}" in remark
    assert f"only the inputs it would be up to {cca_mean(3, 3, 40):.2f}." in remark
    assert by_image.warnings == ()
