"""What evaluating several measures factorises of a pair, and that each measure carries the notes on its own."""

import itertools

import pytest

import reference as ref
from every_measure import EVERY
from svcca.core import WHOLE, Coherence, SVDStep, coherence
from svcca.core.linalg import svd, svdvals
from svcca.errors import Doubt
from svcca.measures.evaluate import evaluate_all


@pytest.fixture
def taken(monkeypatch):
    """Names of the factorisations of a pair that were taken, in order; each leaves its name as a note."""
    names = []

    def watched(name, original):
        return lambda matrix: names.append(name) or original(matrix)._replace(notes=(name,))

    for original in (svd, svdvals):
        monkeypatch.setattr(coherence, original.__name__, watched(original.__name__, original))
    return names


def evaluated(*names, step=WHOLE):
    pair = Coherence.from_rows(*ref.related(0, 80, 4, 3))
    return {result.measure: result for result in evaluate_all([EVERY[name] for name in names], pair, step)}


@pytest.mark.parametrize(
    ("names", "step", "expected"),
    [
        (["linear_cka", "linear_regression_r2", "svcca_weighted", "linear_cka_debiased"], WHOLE, []),
        (["cca", "r2_cca", "cca_top", "svcca"], WHOLE, ["svdvals"]),
        (["cca", "pwcca", "pwcca(side='y')", "svcca"], WHOLE, ["svd"]),
        (["cca", "svcca", "pwcca"], SVDStep(0.9), ["svd", "svdvals"]),
        (["procrustes"], WHOLE, ["svdvals"]),
        (list(EVERY), WHOLE, ["svd", "svdvals"]),
    ],
)
def test_a_pair_is_factorised_no_more_than_its_measures_need(taken, names, step, expected):
    evaluated(*names, step=step)
    assert sorted(taken) == expected


@pytest.mark.parametrize("name", EVERY)
def test_a_measure_says_which_factorisation_it_rests_on(taken, name):
    (result,) = evaluated(name).values()
    assert result.warnings == tuple(Doubt("computation", f"x and y: {note}.") for note in taken)
    expected = {"procrustes": "cross"}.get(name, "correlations" if taken else "none")
    assert EVERY[name].factorisation == expected


@pytest.mark.parametrize("order", list(itertools.permutations(["cca", "procrustes", "linear_cka"])), ids="-".join)
def test_the_notes_of_a_measure_do_not_depend_on_the_others(taken, order):
    results = evaluated(*order)
    for name in order:
        assert results[name].warnings == evaluated(name)[name].warnings
