from collections import UserDict, namedtuple

import numpy as np
import pytest
import torch
from torch import nn

from svcca.capture.batches import ONE_BATCH, attention_mask, batch_size, batches_of, call, device_of, to_device
from svcca.errors import InputError, SampleError

X = torch.arange(12.0).reshape(4, 3)


def test_one_tensor_is_split_into_batches_that_make_it_up():
    data = torch.randn(2 * ONE_BATCH + 3, 2)
    parts = list(batches_of(data))
    assert [len(part) for part in parts] == [ONE_BATCH, ONE_BATCH, 3]
    assert torch.equal(torch.cat(parts), data)


def test_a_batch_is_as_large_as_asked_for():
    assert [len(part) for part in batches_of(X, 3)] == [3, 1]
    assert [len(part["ids"]) for part in batches_of({"ids": X}, 3)] == [3, 1]


def test_one_numpy_array_is_split_like_a_tensor():
    parts = list(batches_of(np.ones((ONE_BATCH + 1, 2), np.float32)))
    assert [tuple(part.shape) for part in parts] == [(ONE_BATCH, 2), (1, 2)]
    assert parts[0].dtype == torch.float32


def test_read_only_numpy_data_are_taken_without_a_warning():
    data = np.ones((4, 2), np.float32)
    data.setflags(write=False)
    assert torch.equal(next(iter(batches_of(data))), torch.ones(4, 2))


def test_object_data_are_refused_as_input():
    with pytest.raises(InputError, match="data"):
        list(batches_of(np.array([1, "a"], dtype=object)))


def test_a_dict_of_tensors_is_split_along_all_of_them_alike():
    data = {"ids": torch.arange(ONE_BATCH + 2), "mask": torch.ones(ONE_BATCH + 2, 3), "flag": True}
    first, second = batches_of(data)
    assert (len(first["ids"]), len(second["ids"])) == (ONE_BATCH, 2)
    assert second["ids"].tolist() == [ONE_BATCH, ONE_BATCH + 1]
    assert second["mask"].shape == (2, 3)
    assert first["flag"] is second["flag"] is True


@pytest.mark.parametrize("data", [[X, X], (X,), iter([X])], ids=["list", "tuple", "iterator"])
def test_any_iterable_is_taken_as_batches(data):
    assert batches_of(data) is data


@pytest.mark.parametrize("data", [3, object(), torch.utils.data.TensorDataset(X)], ids=["number", "object", "dataset"])
def test_what_cannot_be_iterated_is_refused(data):
    with pytest.raises(InputError, match="data: expected an iterable of batches, a tensor or a dict of tensors; got"):
        batches_of(data)


class Recording(nn.Module):
    def forward(self, x, scale=1):
        self.seen = (x, scale)
        return x


class Encoder(nn.Module):
    def forward(self, input_ids, attention_mask=None):
        self.seen = {"input_ids": input_ids, "attention_mask": attention_mask}


class Anything(nn.Module):
    def forward(self, **inputs):
        self.seen = inputs


Named = namedtuple("Named", "x y")


@pytest.mark.parametrize(
    "batch",
    [X, (X, torch.zeros(4)), [X, torch.zeros(4)], Named(X, torch.zeros(4)), (X,)],
    ids=lambda b: type(b).__name__,
)
def test_a_batch_is_passed_by_its_inputs_without_labels(batch):
    model = Recording()
    call(model, batch, None)
    assert model.seen[0] is X
    assert model.seen[1] == 1


def test_a_dict_is_passed_as_keywords():
    model = Recording()
    call(model, {"scale": 3, "x": X}, None)
    assert model.seen[0] is X
    assert model.seen[1] == 3


@pytest.mark.parametrize("key", ["labels", "label"])
def test_labels_in_a_dict_are_left_out_where_forward_does_not_take_them(key):
    model = Encoder()
    call(model, {"input_ids": X, "attention_mask": None, key: torch.zeros(4)}, None)
    assert model.seen["input_ids"] is X


def test_labels_in_a_dict_are_passed_where_forward_takes_anything():
    model = Anything()
    call(model, {"input_ids": X, "labels": 7}, None)
    assert model.seen == {"input_ids": X, "labels": 7}


def test_other_keywords_that_forward_does_not_take_are_not_swallowed():
    with pytest.raises(TypeError, match="unexpected keyword argument 'typo'"):
        call(Encoder(), {"input_ids": X, "typo": X}, None)


def test_a_dict_beside_its_labels_is_passed_as_keywords():
    model = Encoder()
    call(model, ({"input_ids": X}, torch.zeros(4)), None)
    assert model.seen["input_ids"] is X


def test_the_users_forward_gets_the_model_and_the_whole_batch():
    model, batch = Recording(), (X, "label")
    assert call(model, batch, lambda m, b: (m, b)) == (model, batch)


def test_every_tensor_of_a_batch_is_moved_and_the_rest_kept():
    meta = torch.device("meta")
    moved = to_device({"a": [X, "text"], "b": Named(X, None), "c": (X,)}, meta)
    assert moved["a"][0].device == moved["b"].x.device == moved["c"][0].device == meta
    assert moved["a"][1] == "text"
    assert isinstance(moved["b"], Named)
    assert isinstance(moved["a"], list)
    assert isinstance(moved["c"], tuple)


def test_what_is_there_already_is_not_copied():
    assert to_device((X, 1), torch.device("cpu"))[0] is X


def test_a_dictionary_of_another_class_is_moved_too():
    assert to_device(UserDict(a=X), torch.device("meta"))["a"].device.type == "meta"


def test_the_device_is_that_of_the_first_parameter_or_buffer_else_the_cpu():
    assert device_of(nn.Linear(1, 1, device="meta")).type == "meta"
    assert device_of(nn.BatchNorm1d(1, affine=False, device="meta")).type == "meta"
    assert device_of(nn.ReLU()).type == "cpu"


@pytest.mark.parametrize("batch", [X, (X, 1), {"text": "a", "x": X}, ({"x": X}, 0), [["a"], X]], ids=str)
def test_samples_are_counted_along_the_first_tensor(batch):
    assert batch_size(batch, "batch 0") == 4


@pytest.mark.parametrize("batch", ["text", {}, (1, 2), torch.tensor(3.0), None], ids=str)
def test_a_batch_without_samples_is_refused_by_its_number(batch):
    with pytest.raises(SampleError, match="batch 7: expected a batch that holds a tensor of samples; got"):
        batch_size(batch, "batch 7")


def test_a_batch_of_no_samples_is_refused_by_its_number():
    with pytest.raises(SampleError, match="batch 7: expected at least one sample in a batch; got none"):
        batch_size(X[:0], "batch 7")


MASK = torch.tensor([[1, 1, 0], [1, 0, 0]])


@pytest.mark.parametrize(
    "batch", [{"attention_mask": MASK}, ({"attention_mask": MASK}, X), UserDict(attention_mask=MASK)], ids=type
)
def test_the_attention_mask_is_found_and_boolean(batch):
    assert torch.equal(attention_mask(batch), MASK.bool())


@pytest.mark.parametrize(
    "batch", [X, (), {}, {"attention_mask": None}, {"attention_mask": torch.ones(2, 1, 3, 3)}], ids=str
)
def test_where_there_is_no_mask_of_tokens_there_is_none(batch):
    assert attention_mask(batch) is None
