import numpy as np
import pytest

import reference
from svcca import SimilarityMatrix, compare
from svcca.compare.by_measure import ByMeasure
from svcca.errors import InputError, SvccaWarning
from svcca.measures import PWCCA, SVCCA, LinearCKA

NAMES = ["svcca", "pwcca", "linear_cka", "linear_cka_debiased"]


def network(seed):
    rng = np.random.default_rng(seed)
    shared = np.random.default_rng(99).normal(size=(400, 3))
    return {f"layer{w}": shared @ rng.normal(size=(3, w)) + rng.normal(size=(400, w)) for w in (4, 6)}


A, B = network(0), network(1)


def test_several_measures_at_once_are_what_each_is_alone():
    together = compare(A, B, measure=NAMES)
    assert list(together) == [matrix.measure for matrix in together.values()] == NAMES
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


def test_no_measure_at_all_is_refused():
    with pytest.raises(InputError, match="at least one measure; got none"):
        compare(A, B, measure=[])


@pytest.mark.parametrize("twice", [["svcca", "svcca"], ["svcca", SVCCA()]])
def test_a_measure_twice_is_refused(twice):
    with pytest.raises(InputError, match=r"measure: expected each measure once; got 'svcca' twice"):
        compare(A, B, measure=twice)


def test_one_measure_gives_a_matrix_and_one_in_a_list_a_mapping():
    alone, listed = compare(A, B, measure=PWCCA(side="y")), compare(A, B, measure=[PWCCA(side="y")])
    assert isinstance(alone, SimilarityMatrix)
    assert isinstance(listed, ByMeasure)
    assert list(listed) == [alone.measure] == ["pwcca(side='y')"]
    assert np.array_equal(listed["pwcca(side='y')"].values, alone.values)


def test_a_matrix_holds_the_definition_of_its_measure():
    for label, matrix in compare(A, B, measure=["linear_cka", PWCCA(side="y")]).items():
        assert matrix.definition == {"linear_cka": LinearCKA(), "pwcca(side='y')": PWCCA(side="y")}[label].definition


def test_doubts_are_pooled_by_kind_and_counted_apart():
    # The wide layer with itself is forced, with the narrow one it has a high level; the narrow one is fine.
    shared = reference.gaussian(0, 30, 2)
    wide, narrow = np.hstack([shared, reference.gaussian(1, 30, 18)]), shared + reference.gaussian(2, 30, 2)
    with pytest.warns(SvccaWarning) as caught:
        matrix = compare({"wide": wide, "narrow": narrow}, measure="cca")
    forced, chance = matrix.warnings
    assert (forced.kind, chance.kind) == ("forced", "chance")
    assert forced.text.endswith("A warning of this kind holds for 1 of 4 pairs.")
    assert chance.text.endswith("A warning of this kind holds for 2 of 4 pairs.")
    assert [str(warning.message) for warning in caught] == [forced.text, chance.text]


def test_the_doubt_that_stands_for_all_is_that_of_the_highest_chance_level():
    layers = {f"p{p}": reference.gaussian(p, 60, p) for p in (16, 24, 12)}
    with pytest.warns(SvccaWarning):
        matrix = compare(layers, measure="cca")
    (doubt,) = matrix.warnings
    assert doubt.kind == "chance"
    row, column = np.unravel_index(matrix.chance.argmax(), matrix.chance.shape)
    assert doubt.text.startswith(f"{matrix.row_labels[row]} x {matrix.column_labels[column]}: ")


def test_more_memory_than_the_budget_is_an_error_that_says_how_much():
    with pytest.raises(InputError, match=r"memory_budget: .*GB of rows after 400 samples, .*GB of moments"):
        compare(A, B, memory_budget=500)


def test_rows_that_a_measure_needs_count_alone_against_the_budget():
    compare(A, B, memory_budget=20_000)
    with pytest.raises(InputError, match=r"GB of rows after 400 samples\. Compare fewer layers"):
        compare(A, B, measure="linear_cka_debiased", memory_budget=20_000)
