"""Targets: what is read as one, which rows stand beside a layer's, and what is refused."""

import numpy as np
import pytest
import torch
from torch import nn

import reference as ref
import svcca
from svcca.capture.batches import Batch
from svcca.capture.observations import Flatten, Pixels, Tokens
from svcca.capture.sources import ModelSource
from svcca.capture.targets import LogitsSource, labels_in, logits_in, read_targets, rows_beside
from svcca.errors import InputError, LayerError, NonFiniteError, SampleError, UnknownOptionError
from svcca.measures import chance

X = torch.randn(60, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.arange(60) % 3
QUIET = {"progress": False}


def net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double().eval()


def loader(x=X, labels=LABELS, size=20):
    return list(zip(x.split(size), labels.split(size), strict=True))


def compare(data, targets, model=None, **options):
    return svcca.compare(model or net(), None, data, targets=targets, **QUIET, **options)


# -- as the columns of a comparison -----------------------------------------------------------------------------------


def test_each_layer_is_held_against_the_targets_as_columns():
    model = net()
    with torch.no_grad():
        hidden, logits = model[0](X), model(X)
    got = compare(loader(), "logits", model, layers=["0", "2"], retained_variance=1.0)
    assert (got.row_labels, got.column_labels, got.column_title) == (("0", "2"), ("logits",), "targets")
    expected = [[svcca.svcca(rows, logits, retained_variance=1.0).similarity] for rows in (hidden, logits)]
    np.testing.assert_allclose(got.values, expected, atol=1e-12)
    assert [layer.n_features for layer in got.columns] == [3]


def test_targets_are_not_cut_by_variance_so_that_their_units_do_not_count():
    model = net()
    hidden = model[0](X).detach()
    age, income = X[:, 0] + X[:, 1], X[:, 2] * X[:, 3]
    basis = ref.basis(hidden.numpy(), ref.kept_rank(hidden.numpy(), 0.99))[0]
    expected = svcca.svcca(basis, torch.stack([age, income], 1), retained_variance=1.0).similarity
    for measure in ("svcca", ["svcca", "pwcca"]):  # the second takes layers as a whole, and cuts pair by pair
        for scale in (1.0, 1e3):
            targets = torch.stack([age, scale * income], 1)
            got = compare(loader(), targets, model, layers="0", measure=measure, observe="flatten")
            got = got if measure == "svcca" else got["svcca"]
            assert got.columns[0].rank == 2
            np.testing.assert_allclose(got.values, [[expected]], atol=1e-9)
            assert got.chance[0, 0] == pytest.approx(chance.cca_mean(got.rows[0].rank, 2, 60), abs=1e-12)


def test_targets_of_maps_are_not_cut_by_variance():
    model = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1, padding_mode="circular")).double()
    images = torch.randn(200, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    targets = torch.stack([images.mean(dim=(1, 2, 3)), 1e3 * images[:, 0, 0, 0]], 1)
    for measure in ("svcca", ["svcca", "linear_cka"]):
        got = compare(images, targets, model, observe="fourier", measure=measure)
        assert (got if measure == "svcca" else got["svcca"]).columns[0].rank == 2


def test_layers_are_cut_and_so_is_a_layer_of_another_model():
    model, other = net(), net(1)
    for scaled in (model[0], other[0]):
        with torch.no_grad():
            scaled.weight[0] *= 1e3
            scaled.bias[0] *= 1e3
    for targets, n_columns in (((other, "0"), 1), (other[0](X).detach(), 4)):
        got = compare(loader(), targets, model, layers="0")
        assert (got.rows[0].rank, got.columns[0].rank) == (1, n_columns)


def test_a_mapping_names_its_columns_and_layers_stay_apart_from_them():
    targets = {"0": X[:, 0], "!2": X[:, :2].numpy()}
    got = compare(loader(), targets, layers=["0", "!1"], observe={"0": "flatten"}, retained_variance=1.0)
    assert (got.row_labels, got.column_labels) == (("0",), ("0", "!2"))
    np.testing.assert_allclose(got.values, [[1.0, 1.0]], atol=1e-9)  # the layer is an invertible map of the inputs


def test_tokens_are_averaged_beside_targets_and_rules_are_for_layers_alone():
    class Text(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens = nn.Identity()

        def forward(self, x):
            return self.tokens(x)

    text = torch.randn(200, 3, 4, generator=torch.Generator().manual_seed(0))
    for observe in ("auto", "mean_token"):
        got = compare(text, text[:, 0], Text(), observe=observe)
        assert got.rows[0].observation == "mean_token"
    with pytest.raises(SampleError, match=r"same number of rows from every layer; got 600 from .* and 200 from"):
        compare(text, text[:, 0], Text(), observe="tokens")


def test_targets_go_with_the_mean_of_maps_by_frequency():
    model = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1, padding_mode="circular")).double()
    images = torch.randn(200, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    target = images.mean(dim=(1, 2, 3))
    by_frequency, by_mean = (compare(images, target, model, observe=rule).values for rule in ("fourier", "pool"))
    assert by_frequency.shape == by_mean.shape == (1, 1)
    np.testing.assert_allclose(by_frequency, by_mean, atol=1e-9)


def test_arrays_are_held_against_arrays():
    arrays = {"x": X.numpy()}
    got = svcca.compare(arrays, targets=X[:, :2], **QUIET)
    np.testing.assert_allclose(got.values, [[1.0]], atol=1e-9)
    with pytest.raises(InputError, match=r"arrays as targets of arrays; got 'logits'. There is no model to run"):
        svcca.compare(arrays, targets="logits")
    with pytest.raises(InputError, match=r"got a function of the batch"):
        svcca.compare(arrays, targets=lambda batch: batch)


def test_a_forward_pass_is_enough_and_stops_early_where_no_output_is_needed():
    calls = []
    model = net()
    model[2].register_forward_hook(lambda *_: calls.append(1))
    for targets, n_calls in (("logits", 3), ("labels", 1), (X, 1)):
        calls.clear()
        compare(loader(), targets, model, layers="0")
        assert len(calls) == n_calls
    calls.clear()
    svcca.class_sensitivity(model, loader(), layers="0", **QUIET)
    assert len(calls) == 3


def test_a_user_tells_its_labels_by_a_function_where_there_are_no_logits():
    encoder = nn.Sequential(nn.Linear(4, 6), nn.Unflatten(1, (2, 3))).double()
    with pytest.raises(InputError, match=r"an output \(n_samples, n_classes\); got shape \(20, 2, 3\). Pass targets="):
        compare(loader(), "labels", encoder, layers="0")
    got = compare(loader(), lambda batch: nn.functional.one_hot(batch[1], 3).double(), encoder, layers="0")
    assert got.columns[0].n_features == 3


@pytest.mark.parametrize(
    ("targets", "error", "text"),
    [
        ("logit", UnknownOptionError, "compare: expected targets to be one of logits, labels, .*Did you mean 'logits'"),
        (net(), InputError, r"compare targets: expected a layer of another model; .*Pass \(model, 'layer'\)"),
        ((net(), "*"), LayerError, "compare targets: expected one layer; got '0', '1', '2'"),
        ((net(), "fc"), LayerError, "layers of the other Sequential: .*got 'fc'"),
        (LABELS, InputError, "compare targets: expected floating-point activations; got dtype int64"),
        ({"a": X, "b": LABELS}, InputError, "compare targets 'b': expected floating-point"),
        (torch.ones(60, 2, 2), InputError, r"a real array \(n_samples,\) or \(n_samples, n_targets\); got shape"),
        (X[:50], SampleError, "as many samples on both sides; got 50 in targets and at least 60 on the other side"),
        (torch.cat([X, X]), SampleError, "as many samples on both sides; got 120 in targets and 60 on the other side"),
        (torch.full((60,), torch.nan), NonFiniteError, "targets 'targets', batch 0: expected finite"),
        (lambda batch: batch[0][:5], InputError, "targets, batch 0: expected targets of the batch's 20 samples"),
        (lambda batch: "none", InputError, "targets, batch 0: expected an array; got str"),
        (lambda batch: batch[0][:, None], InputError, r"targets 'targets': expected shape \(n_samples, n_targets\)"),
        (5, InputError, "compare targets: expected an array; got int"),
    ],
    ids=range(14),
)
def test_what_is_no_target_is_refused(targets, error, text):
    with pytest.raises(error, match=text):
        compare(loader(), targets)


@pytest.mark.parametrize("targets", [(net(1), "2"), X, {"a": X[:, 0]}, "logits"], ids=["layer", "array", "map", "name"])
def test_a_layer_that_is_not_there_is_told_whatever_the_targets(targets):
    with pytest.raises(LayerError, match=r"layers of a \(Sequential\): .*got 'typo'\. There are: 0, 1, 2"):
        compare(loader(), targets, layers=["0", "typo"])


def test_targets_whose_names_are_equal_as_text_are_refused():
    with pytest.raises(InputError, match="compare targets: expected names that differ as text; got 1 and '1'"):
        compare(loader(), {1: X[:, 0], "1": X[:, 1], "2": X[:, 2]})


@pytest.mark.parametrize("targets", [LABELS, LABELS.numpy(), {"a": LABELS}, lambda batch: batch[1]], ids=range(4))
def test_integer_labels_are_told_what_to_do(targets):
    remedy = "For class labels pass {}='labels', or one-hot columns as floats"
    with pytest.raises(InputError, match=remedy.format("targets")):
        compare(loader(), targets)
    if not isinstance(targets, dict):
        with pytest.raises(InputError, match=remedy.format("against")):
            svcca.directions(net(), loader(), "0", against=targets, **QUIET)


def test_a_second_network_beside_targets_is_refused():
    with pytest.raises(InputError, match="compare: expected a second network or targets; got both"):
        svcca.compare(net(), net(1), loader(), targets="logits")


# -- labels -----------------------------------------------------------------------------------------------------------


def test_labels_are_found_in_pairs_and_dicts():
    for batch in ((X, LABELS), [X, LABELS], {"x": X, "labels": LABELS}, ({"x": X}, LABELS), {"x": X, "label": LABELS}):
        assert labels_in(batch) is LABELS
    for batch in (X, (X,), {"x": X}, (X, "names")):
        assert labels_in(batch) is None


def test_integers_are_one_hot_over_as_many_classes_as_there_are_logits():
    # The third class comes in the last batch only, and a fourth logit has no sample at all.
    labels = torch.cat([torch.arange(40) % 2, torch.arange(20) % 3])
    model = nn.Sequential(nn.Linear(4, 4)).double()
    got = compare(loader(labels=labels), "labels", model)
    assert got.columns[0].n_features == 4
    assert got.columns[0].rank == 2  # of three classes the last is told by the others
    expected = nn.functional.one_hot(labels, 3).double()
    np.testing.assert_allclose(got.values, compare(loader(), expected, model).values, atol=1e-9)


@pytest.mark.parametrize("labels", [torch.linspace(0, 1, 60), torch.rand(60, 2)], ids=["regression", "several"])
def test_floating_point_labels_are_taken_as_they_are(labels):
    got, expected = (compare(loader(labels=labels), targets).values for targets in ("labels", labels))
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (
            torch.where(torch.arange(60) == 45, 3, LABELS),
            "labels, batch 2: expected labels from 0 to 2, .*; got 3. Pass",
        ),
        (
            torch.where(torch.arange(60) == 21, -100, LABELS),
            "labels, batch 1: expected labels from 0 to 2, .*; got -100",
        ),
        (
            LABELS[:, None].expand(-1, 5),
            r"labels, batch 0: expected integer labels \(n_samples,\); got shape \(20, 5\)",
        ),
    ],
    ids=["too large", "ignored", "of tokens"],
)
def test_labels_that_are_no_classes_are_refused_with_their_batch(labels, text):
    with pytest.raises(InputError, match=text):
        compare(loader(labels=labels), "labels")


def test_a_batch_without_labels_is_refused():
    with pytest.raises(
        InputError, match=r"labels, batch 0: expected a batch \(inputs, labels\) or a dict .*got Tensor"
    ):
        compare(X.split(20), "labels")


# -- logits -----------------------------------------------------------------------------------------------------------


def test_logits_are_a_copy_so_that_no_later_step_writes_to_them():
    output = torch.randn(5, 3)
    found = logits_in(output, 5, "a", "")
    assert torch.equal(found, output)
    assert found.data_ptr() != output.data_ptr()


def test_logits_of_each_token_are_found_where_they_will_do():
    output = {"loss": torch.tensor(1.0), "logits": torch.randn(5, 7, 3)}
    assert logits_in(output, 5, "a", "", per_token=True).shape == (5, 7, 3)
    with pytest.raises(InputError, match=r"got shape \(5, 7, 3\)"):
        logits_in(output, 5, "a", "")


def test_what_has_another_number_of_rows_is_passed_over():
    output = (torch.randn(3, 3), torch.randn(5, 2))
    assert logits_in(output, 5, "a", "").shape == (5, 2)


@pytest.mark.parametrize(
    ("output", "names"),
    [
        ({"embedding": torch.ones(5, 8), "scores": torch.ones(5, 3)}, r"'embedding' \(5, 8\), 'scores' \(5, 3\)"),
        ((torch.ones(5, 1), torch.ones(5, 3)), r"'0' \(5, 1\), '1' \(5, 3\)"),
        (({"logits": torch.ones(5, 2)}, {"logits": torch.ones(5, 3)}), r"'0\.logits' \(5, 2\), '1\.logits' \(5, 3\)"),
    ],
    ids=["embedding", "loss a sample", "two heads"],
)
def test_of_several_outputs_that_could_be_logits_none_is_guessed(output, names):
    with pytest.raises(InputError, match=rf"expected one output .*'logits'; got {names}\. Pass it, or forward="):
        logits_in(output, 5, "a", "Pass it")


def test_of_several_outputs_the_one_called_logits_is_taken():
    logits = torch.randn(5, 3)
    assert torch.equal(logits_in({"embedding": torch.ones(5, 8), "logits": logits}, 5, "a", ""), logits)
    assert torch.equal(logits_in((torch.ones(5, 1), {"logits": logits}), 5, "a", ""), logits)


# -- the rows that stand beside a layer's -----------------------------------------------------------------------------

MASK = torch.tensor([[True, True, False], [True, False, False]])


def beside(target, shape, rule, mask=None):
    return rows_beside(target, shape, rule, mask, 2, "targets of 'fc'").tolist()


def test_a_row_a_sample_is_repeated_for_each_of_the_layers_rows():
    target = torch.tensor([[1.0, 10.0], [2.0, 20.0]])
    one, two = [1.0, 10.0], [2.0, 20.0]
    assert beside(target, (2, 5), Flatten()) == [one, two]
    assert beside(target, (2, 5, 2, 1), Pixels()) == [one, one, two, two]
    assert beside(target, (2, 5, 2, 2), Pixels(n_positions=3)) == [one] * 3 + [two] * 3
    assert beside(target, (4, 5, 1, 1), Pixels()) == [one, one, two, two]  # two windows of each sample
    assert beside(target, (2, 3, 5), Tokens()) == [one] * 3 + [two] * 3
    assert beside(target, (2, 3, 5), Tokens(), MASK) == [one, one, two]


def test_a_target_over_positions_meets_the_layer_position_by_position():
    tokens, maps = torch.arange(6.0).reshape(2, 3, 1), torch.arange(4.0).reshape(2, 1, 2, 1)
    assert beside(tokens, (2, 3, 5), Tokens(), MASK) == [[0.0], [1.0], [3.0]]
    assert beside(maps, (2, 5, 2, 1), Pixels()) == [[0.0], [1.0], [2.0], [3.0]]
    assert beside(maps, (2, 8), Flatten()) == [[0.0, 1.0], [2.0, 3.0]]


@pytest.mark.parametrize(
    ("target", "shape", "rule"),
    [
        ((2, 4, 1), (2, 3, 5), Tokens()),
        ((2, 1, 2, 2), (2, 5, 4, 4), Pixels()),
        ((2, 3, 1), (2, 5, 3), Pixels()),
        ((2, 1), (3, 2, 5), Tokens()),  # time-major: its rows are not those of one sample after another
        ((3, 1), (2, 3, 5), Tokens()),
    ],
    ids=range(5),
)
def test_positions_that_do_not_go_together_are_refused(target, shape, rule):
    with pytest.raises(InputError, match="targets of 'fc': expected a target over the same positions as the layer"):
        beside(torch.zeros(target), shape, rule)


def test_a_target_of_other_samples_is_refused():
    with pytest.raises(InputError, match=r"targets of 'fc': expected targets of the batch's 2 samples .*got shape"):
        beside(torch.zeros(3, 1), (2, 5), Flatten())


def test_several_targets_of_a_mapping_count_as_one_beside_a_layer():
    model, targets = net(), {"a": X[:, 0], "b": X[:, 1:3]}
    found = svcca.directions(model, loader(), "0", against=targets, **QUIET)
    expected = svcca.directions(model, loader(), "0", against=X[:, :3], **QUIET)
    assert found.n_from_target == 3
    np.testing.assert_array_equal(found.correlations, expected.correlations)


def test_a_source_can_be_read_without_a_stream():
    source = ModelSource(net(), "0", None, "a")
    target = read_targets("logits", LogitsSource(source, "against"), None, "directions against")
    batch = Batch(X[:10], 0, slice(0, 10))
    with source, target:
        source.tensors(batch)
        assert target.tensors(batch)["logits"].shape == (10, 3)
