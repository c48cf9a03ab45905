import contextlib
from functools import partial
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import torch

import reference as ref
import svcca
from svcca.core import Coherence, JointMoments, Moments, Solver, Subspace, arrays, coherence_of
from svcca.core.arrays import (
    accumulator_dtype,
    check_finite,
    check_same_samples,
    source_eps,
    to_numpy,
    to_row_pair,
    to_rows,
    to_tensor,
)
from svcca.errors import InputError, NonFiniteError, SampleError

ROWS = ref.gaussian(0, 12, 3)


class OnlyDlpack:
    """What a JAX or CuPy array looks like from here."""

    def __init__(self, tensor):
        self.tensor = tensor

    def __dlpack__(self, **options):
        return self.tensor.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.tensor.__dlpack_device__()


@pytest.mark.parametrize(
    "make",
    [np.asarray, torch.from_numpy, pd.DataFrame, lambda x: OnlyDlpack(torch.from_numpy(x))],
    ids=["numpy", "torch", "pandas", "dlpack"],
)
def test_every_kind_of_array_holds_the_same_rows(make):
    assert np.array_equal(to_rows(make(ROWS.copy()), "x").numpy(), ROWS)


def test_a_numpy_array_is_viewed_not_copied():
    x = ROWS.copy()
    assert to_tensor(x, "x").data_ptr() == x.ctypes.data


def test_a_tensor_is_viewed_not_copied():
    x = torch.from_numpy(ROWS.copy())
    assert to_tensor(x, "x").data_ptr() == x.data_ptr()


def test_a_tensor_that_requires_grad_is_detached():
    assert not to_tensor(torch.from_numpy(ROWS.copy()).requires_grad_(), "x").requires_grad


def test_a_read_only_memory_map_is_read(tmp_path):
    np.save(tmp_path / "x.npy", ROWS)
    assert np.array_equal(to_rows(np.load(tmp_path / "x.npy", mmap_mode="r"), "x").numpy(), ROWS)


def test_negative_strides_are_read_in_their_order():
    assert np.array_equal(to_rows(ROWS[::-1, ::-1], "x").numpy(), ROWS[::-1, ::-1])


def test_a_broadcast_array_is_read():
    assert np.array_equal(to_rows(np.broadcast_to(ROWS[:, :1], (12, 4)), "x").numpy(), np.tile(ROWS[:, :1], 4))


@pytest.mark.parametrize("code", [">f8", ">f4", ">c16"])
def test_big_endian_numbers_keep_their_value(code):
    assert np.array_equal(to_rows(ROWS.astype(code), "x").numpy(), ROWS.astype(code))


def test_a_list_is_refused():
    with pytest.raises(InputError, match=r"^x: expected an array; got list\. Pass a tensor or a NumPy array\.$"):
        to_tensor([[1.0, 2.0]], "x")


@pytest.mark.parametrize("dtype", ["int64", "int8", "uint8", "bool"])
@pytest.mark.parametrize("make", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_integers_are_refused(make, dtype):
    with pytest.raises(InputError, match=rf"expected floating-point activations; got dtype {dtype}.*Labels, token ids"):
        to_tensor(make(np.ones((4, 2), dtype=dtype)), "x")


def test_an_object_array_is_refused():
    ragged = np.array([np.ones(2), np.ones(3)], dtype=object)
    with pytest.raises(InputError, match=r"got dtype object. An object array often holds rows of unequal length"):
        to_tensor(ragged, "x")


@pytest.mark.parametrize("kind", ["U3", "datetime64[s]"])
def test_an_array_of_no_numbers_is_refused(kind):
    with pytest.raises(InputError, match="expected floating-point activations; got dtype"):
        to_tensor(np.zeros((3, 2), dtype=kind), "x")


@pytest.mark.skipif(np.finfo(np.longdouble).eps == ref.EPS, reason="long double is double here")
def test_a_long_double_array_is_read_or_refused_in_our_own_words():
    with contextlib.suppress(InputError):  # torch has no such dtype; its own TypeError must not come through
        assert np.array_equal(to_tensor(ROWS.astype(np.longdouble), "x").numpy(), ROWS)


def test_a_field_of_a_structured_array_is_read_though_its_memory_is_not_aligned():
    table = np.zeros(12, dtype=[("activations", "f8", (3,)), ("flag", "i1")])
    table["activations"] = ROWS
    assert np.array_equal(to_rows(table["activations"], "x").numpy(), ROWS)


@pytest.mark.parametrize("shape", [(5,), (5, 2, 2), ()])
def test_anything_but_two_dimensions_is_refused(shape):
    with pytest.raises(InputError, match=r"expected shape \(n_samples, n_features\); got shape \(.*Reshape it to rows"):
        to_rows(np.ones(shape), "x")


@pytest.mark.parametrize("n_samples", [0, 1])
def test_fewer_than_two_samples_are_refused(n_samples):
    with pytest.raises(SampleError, match=f"expected at least 2 samples; got {n_samples}. Correlation needs spread"):
        to_rows(np.ones((n_samples, 3)), "x")


def test_a_layer_without_features_is_refused():
    with pytest.raises(InputError, match="x: expected at least 1 feature; got 0"):
        to_rows(np.ones((3, 0)), "x")


def test_unequal_rows_are_refused():
    with pytest.raises(SampleError, match="same samples, in the same order, on both sides; got 4 and 3 rows"):
        check_same_samples(torch.ones(4, 1), torch.ones(3, 1), "x and y")


@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64])
def test_what_is_not_finite_is_counted_and_located(value, word, dtype):
    x = torch.zeros(5, 3, dtype=dtype)
    x[2, 1] = x[4, 0] = value
    with pytest.raises(NonFiniteError, match=rf"finite activations; got 2 that are not \(first: {word} at \(2, 1\)\)"):
        check_finite(x, "x")


def test_infinities_that_cancel_in_a_sum_are_found():
    with pytest.raises(NonFiniteError, match="got 2 that are not"):
        check_finite(torch.tensor([[np.inf], [-np.inf]]), "x")


def test_finite_numbers_whose_sum_overflows_are_finite():
    check_finite(torch.full((4, 2), 1e308, dtype=torch.float64), "x")


def test_half_precision_sums_do_not_overflow():
    check_finite(torch.full((100, 10), 60000.0, dtype=torch.float16), "x")


@pytest.mark.parametrize(
    ("dtype", "wide"),
    [
        (torch.float16, torch.float64),
        (torch.bfloat16, torch.float64),
        (torch.float32, torch.float64),
        (torch.complex64, torch.complex128),
    ],
)
def test_sums_are_kept_in_the_widest_dtype_of_the_kind(dtype, wide):
    assert accumulator_dtype(dtype) == wide


@pytest.mark.parametrize(("dtype", "bits"), [(torch.bfloat16, 7), (torch.float16, 10), (torch.float32, 23)])
def test_the_source_epsilon_is_the_dtypes_own(dtype, bits):
    assert source_eps(dtype) == 2.0**-bits


def test_a_result_that_requires_grad_becomes_numpy():
    array = to_numpy(torch.ones(2, requires_grad=True))
    assert isinstance(array, np.ndarray)


# -- checked once -----------------------------------------------------------------------------------------------------


@pytest.fixture
def passes(monkeypatch):
    """Names of the arrays that were read for NaN, in order."""
    names = []

    def counted(x, where):
        names.append(where)
        return check_finite(x, where)

    monkeypatch.setattr(arrays, "check_finite", counted)
    return names


LAYERS = {
    "tall": ref.related(0, 60, 4, 3),
    "wide": ref.related(0, 20, 30, 25),
    "ill-conditioned": ref.planted(0, 100, 4, 3, [0.9], condition=1e5),
}
OF_TWO = {
    **{solver: partial(svcca.cca, solver=solver) for solver in get_args(Solver)},
    "svcca": svcca.svcca,
    "pwcca": svcca.measures.pwcca,
    "pls": svcca.measures.pls,
    "similarities": lambda x, y: svcca.measures.similarities(x, y, list(svcca.MEASURES)),
    "permutation_test": partial(svcca.measures.permutation_test, n_permutations=3),
    "coherence_of": coherence_of,
    "Coherence": Coherence.from_rows,
    "JointMoments": JointMoments.from_rows,
}
OF_ONE = {"pca": svcca.measures.pca, "Moments": Moments.from_rows, "Subspace": Subspace.from_rows}


@pytest.mark.filterwarnings("ignore::svcca.SvccaWarning")
@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("call", OF_TWO)
def test_each_of_two_arrays_is_read_for_nan_once(passes, call, layers):
    OF_TWO[call](*LAYERS[layers])
    assert [name[-1] for name in passes] == ["x", "y"]


@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("call", OF_ONE)
def test_one_array_is_read_for_nan_once(passes, call, layers):
    OF_ONE[call](LAYERS[layers][0])
    assert len(passes) == 1


@pytest.mark.filterwarnings("ignore::svcca.SvccaWarning")
def test_maps_are_read_for_nan_once(passes):
    maps = ref.gaussian(0, 400, 32).reshape(400, 2, 4, 4)
    svcca.fourier.fourier_cca(maps, maps[:, :, ::2, ::2])
    assert passes == ["fourier_cca x", "fourier_cca y"]
    svcca.fourier.translation_gap(maps)
    assert passes[2:] == ["translation_gap"]


def test_a_pair_of_arrays_is_checked_by_side():
    x, y = ref.gaussian(0, 10, 3), ref.gaussian(1, 10, 3)
    y[4, 2] = np.nan
    with pytest.raises(NonFiniteError, match=r"^y: .*NaN at \(4, 2\)"):
        to_row_pair(x, y)
    with pytest.raises(NonFiniteError, match=r"^x: .*NaN at \(4, 2\)"):
        to_row_pair(y, x)
    with pytest.raises(SampleError, match=r"^x and y: expected the same samples.*got 10 and 9 rows"):
        to_row_pair(x, x[:9])
