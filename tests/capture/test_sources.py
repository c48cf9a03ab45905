import numpy as np
import pytest
import torch
from torch import nn

from svcca.capture.batches import Batch
from svcca.capture.hooks import Keep
from svcca.capture.observations import Flatten
from svcca.capture.sources import ArraySource, ModelSource, check_patterns
from svcca.errors import InputError, LayerError, SampleError


def arrays(**changes):
    return {"one": np.arange(12.0).reshape(6, 2), "two": np.ones((6, 3, 4), np.float32)} | changes


def tensors(source, start, stop, number=0, data=None):
    return source.tensors(Batch(data, number, slice(start, stop)))


def test_arrays_are_cut_into_the_samples_asked_for_without_a_copy():
    held = arrays()
    source = ArraySource(held, None, "a")
    outputs = tensors(source, 2, 5)
    assert list(outputs) == ["one", "two"]
    assert np.array_equal(outputs["one"].numpy(), held["one"][2:5])
    assert np.shares_memory(outputs["one"].numpy(), held["one"])


def test_layers_are_chosen_by_pattern_in_the_mappings_order():
    assert list(tensors(ArraySource(arrays(), ["two", "o*"], "a"), 0, 6)) == ["one", "two"]
    assert list(tensors(ArraySource(arrays(), "!one", "a"), 0, 6)) == ["two"]


def test_what_is_to_be_kept_alone_is_given_and_by_its_rule():
    keep = Keep({"two": Flatten()}, Batch(None, 1, slice(0, 2)), "a")
    kept = ArraySource(arrays(), None, "a").tensors(keep.batch, keep)
    assert {name: tuple(block.shape) for name, block in kept.items()} == {"two": (2, 12)}


def test_an_empty_mapping_is_refused():
    with pytest.raises(InputError, match="a: expected at least one layer; got an empty mapping"):
        ArraySource({}, None, "a")


def test_an_unknown_layer_offers_the_closest():
    with pytest.raises(LayerError, match=r"layers of a: .*; got 'onne'\. Closest: one"):
        ArraySource(arrays(), "onne", "a")


def test_arrays_of_unequal_length_are_refused_by_name():
    with pytest.raises(SampleError, match=r"a: expected the same number of samples .*; got 6 in 'one' and 5 in 'two'"):
        ArraySource(arrays(two=np.ones((5, 3))), None, "a")


def test_a_layer_that_is_not_asked_for_may_have_any_length():
    assert ArraySource(arrays(two=np.ones((5, 3))), "one", "a").n_samples == 6


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.ones((6, 2), int), "a 'one': expected floating-point activations; got dtype int64"),
        (np.array([[1], [1, 2]], dtype=object), "a 'one': expected floating-point activations; got dtype object"),
        (torch.ones(6, 2, dtype=torch.bool), "a 'one': expected floating-point activations; got dtype bool"),
        ([[1.0, 2.0]], "a 'one': expected an array; got list"),
        (None, "a 'one': expected an array; got NoneType"),
    ],
    ids=["integers", "objects", "bool", "list", "none"],
)
def test_what_is_no_floating_point_array_is_refused_by_name(array, text):
    with pytest.raises(InputError, match=text):
        ArraySource({"one": array}, None, "a")


def test_more_samples_than_were_captured_is_an_error():
    source = ArraySource(arrays(), None, "a")
    with pytest.raises(SampleError, match=r"batch 1: .*; got 6 in a and at least 8 on the other side"):
        tensors(source, 4, 8, number=1)


def test_samples_that_are_left_over_are_an_error():
    source = ArraySource(arrays(), None, "a")
    source.finish(6)
    with pytest.raises(
        SampleError, match=r"a: expected as many samples on both sides; got 6 in a and 5 on the other side"
    ):
        source.finish(5)


def test_a_models_batch_is_moved_to_where_the_model_is():
    source = ModelSource(nn.Linear(2, 3, device="meta"), None, None, "a")
    with source:
        (output,) = tensors(source, 0, 4, data=torch.ones(4, 2)).values()
    assert output.device.type == "meta"
    assert source.device.type == "meta"


def test_a_pattern_must_select_a_layer_of_one_source_at_least():
    one, two = ArraySource(arrays(), ["one", "fc"], "a"), ArraySource({"fc": np.ones((6, 2))}, ["one", "fc"], "b")
    check_patterns([one, two])
    with pytest.raises(LayerError, match=r"layers of a: .*got 'fc'\. There are: one, two"):
        check_patterns([one])


def test_every_name_that_could_be_asked_for_is_listed():
    model = nn.Sequential(nn.Sequential(nn.ReLU()), nn.ReLU())
    assert ModelSource(model, "0", None, "a").names() == ["0", "0.0", "1"]
    assert ArraySource(arrays(), "one", "a").names() == ["one", "two"]
