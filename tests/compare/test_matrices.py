import numpy as np
import pytest

from svcca import SimilarityMatrix, compare
from svcca.errors import InputError, UnknownOptionError

NAMES = ["svcca", "pwcca", "linear_cka", "linear_cka_debiased"]


def network(seed):
    rng = np.random.default_rng(seed)
    shared = np.random.default_rng(99).normal(size=(400, 3))
    return {f"layer{w}": shared @ rng.normal(size=(3, w)) + rng.normal(size=(400, w)) for w in (4, 6)}


A, B = network(0), network(1)


def test_several_measures_at_once_are_what_each_is_alone():
    together = compare(A, B, measure=NAMES)
    assert [together.measure, *(other.measure for other in together.others)] == NAMES
    for name in NAMES:
        alone, among = compare(A, B, measure=name), together[name]
        # The routes differ (moments, or rows where debiased CKA needs them): both are good to far below this.
        np.testing.assert_allclose(among.values, alone.values, rtol=0, atol=1e-12)
        np.testing.assert_allclose(among.chance, alone.chance, rtol=0, atol=1e-12)
        assert (among.rows, among.columns, among.retained_variance) == (
            alone.rows,
            alone.columns,
            alone.retained_variance,
        )


def test_a_measure_that_was_not_asked_for_lists_those_that_were():
    with pytest.raises(UnknownOptionError, match=r"one of svcca, pwcca; got 'cca'"):
        compare(A, B, measure=["svcca", "pwcca"])["cca"]


def test_no_measure_at_all_is_refused():
    with pytest.raises(InputError, match="at least one measure; got none"):
        compare(A, B, measure=[])


def test_all_measures_are_saved_and_loaded(tmp_path):
    matrix = compare(A, B, measure=NAMES)
    loaded = SimilarityMatrix.load(matrix.save(tmp_path / "m.json"))
    for name in NAMES:
        assert np.array_equal(loaded[name].values, matrix[name].values)


def test_more_memory_than_the_budget_is_an_error_that_says_how_much():
    with pytest.raises(InputError, match=r"memory_budget: .*GB of rows after 400 samples, .*GB of moments"):
        compare(A, B, memory_budget=500)


def test_rows_that_a_measure_needs_count_alone_against_the_budget():
    compare(A, B, memory_budget=20_000)
    with pytest.raises(InputError, match=r"GB of rows after 400 samples\. Compare fewer layers"):
        compare(A, B, measure="linear_cka_debiased", memory_budget=20_000)
