"""Several measures of one comparison as a mapping: order, look-up, saving and loading."""

import json

import numpy as np
import pytest

from svcca import ClassSensitivity, LearningDynamics, SimilarityMatrix, compare
from svcca.compare import ClassDynamics
from svcca.compare.by_measure import ByMeasure
from svcca.compare.result import LayerSummary
from svcca.errors import FileError, InputError, UnknownOptionError
from svcca.measures import PWCCA

X = np.random.default_rng(0).normal(size=(300, 4))
FOUND = compare({"a": X, "b": np.tanh(X)}, measure=["linear_cka", "svcca", PWCCA(side="y")])
LABELS = ["linear_cka", "svcca", "pwcca(side='y')"]


def dynamics(measure):
    layers = (LayerSummary("fc", 4, 3, "flatten"),)
    numbers = {"values": np.ones((2, 1, 1)), "chance": np.zeros((2, 1, 1)), "ranks": [[3], [3]], "steps": [0, 5]}
    return LearningDynamics(**numbers, layers=layers, measure=measure, retained_variance=1.0, n_samples=300)


def test_it_is_a_mapping_in_the_order_asked_for():
    assert list(FOUND) == LABELS
    assert len(FOUND) == 3
    assert [matrix.measure for matrix in FOUND.values()] == LABELS
    assert "svcca" in FOUND
    assert "cca" not in FOUND
    assert FOUND.get("cca") is None


def test_a_measure_that_was_not_asked_for_lists_those_that_were():
    known = r"linear_cka, svcca, pwcca\(side='y'\)"
    with pytest.raises(UnknownOptionError, match=f"^ByMeasure: expected measure to be one of {known}; got 'cca'"):
        FOUND["cca"]


def test_what_it_shows_is_short():
    assert repr(FOUND) == "<ByMeasure of SimilarityMatrix: linear_cka, svcca, pwcca(side='y')>"


def test_all_measures_are_saved_and_loaded_as_one_document(tmp_path):
    loaded = ByMeasure.load(FOUND.save(tmp_path / "m.json"))
    assert list(loaded) == LABELS
    for label in LABELS:
        assert isinstance(loaded[label], SimilarityMatrix)
        assert np.array_equal(loaded[label].values, FOUND[label].values)
        assert loaded[label].warnings == FOUND[label].warnings


def test_learning_dynamics_are_saved_and_loaded_too(tmp_path):
    held = ByMeasure([dynamics("svcca"), dynamics("cca")])
    loaded = ByMeasure.load(held.save(tmp_path / "d.json"))
    assert repr(loaded) == repr(held) == "<ByMeasure of LearningDynamics: svcca, cca>"


@pytest.mark.parametrize("kind", [ClassSensitivity, ClassDynamics])
def test_class_results_are_saved_and_loaded_too(tmp_path, kind):
    found = [ClassSensitivity(matrix) for matrix in FOUND.values()]
    held = ByMeasure(found if kind is ClassSensitivity else [ClassDynamics([3, 7], (one, one)) for one in found])
    loaded = ByMeasure.load(held.save(tmp_path / "c.json"))
    assert repr(loaded) == repr(held) == f"<ByMeasure of {kind.__name__}: {', '.join(LABELS)}>"
    for label in LABELS:
        assert loaded[label].measure == label
        np.testing.assert_array_equal(loaded[label].values, held[label].values)
        np.testing.assert_array_equal(loaded[label].chance, held[label].chance)


@pytest.mark.parametrize(
    ("results", "text"),
    [
        ([], "results of one class; got none"),
        ([dynamics("svcca"), dynamics("svcca")], "a result for each label; got two for 'svcca'"),
        ([dynamics("svcca"), FOUND["linear_cka"]], "results of one class; got LearningDynamics, SimilarityMatrix"),
    ],
    ids=["none", "twice", "mixed"],
)
def test_what_is_no_result_of_several_measures_is_refused(results, text):
    with pytest.raises(InputError, match=f"ByMeasure: expected {text}"):
        ByMeasure(results)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"version": 2}, "format version 1; got 2. Upgrade"),
        ({"format": "other"}, '"format": "svcca.by_measure"; got another kind of file'),
        ({"results": []}, "every field of a ByMeasure; got ByMeasure: expected results of one class"),
        ({"results": None}, "every field of a ByMeasure"),
        ({"results": [3]}, "results of format svcca.similarity_matrix or .* or svcca.class_dynamics; got None"),
        ({"results": [{"format": "x"}]}, "results of format .*; got 'x'"),
    ],
)
def test_a_damaged_file_is_a_file_error(tmp_path, change, text):
    (tmp_path / "m.json").write_text(json.dumps(FOUND.to_dict() | change))
    with pytest.raises(FileError, match=text):
        ByMeasure.load(tmp_path / "m.json")
