import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from svcca.compare.result import FORMAT, FORMAT_VERSION, LayerSummary, SimilarityMatrix, current_versions
from svcca.errors import Doubt, FileError, InputError


def matrix(**changes):
    rng = np.random.default_rng(0)
    rows = tuple(LayerSummary(f"layer{i}", 8 + i, 5, "pool") for i in range(2))
    columns = tuple(LayerSummary(f"block.{i}", 16, 7, "pixels (64 of 1024 positions, seed 0)") for i in range(3))
    plain = {
        "values": rng.uniform(size=(2, 3)),
        "rows": rows,
        "columns": columns,
        "measure": "svcca",
        "retained_variance": 0.99,
        "n_samples": 1000,
        "chance": rng.uniform(size=(2, 3)),
    }
    return SimilarityMatrix(**plain | changes)


FULL = {
    "warnings": (Doubt("forced", "few samples, ρ is high"), Doubt("dependence", "another")),
    "definition": "mean of ρ",
    "row_title": "net at step 0",
    "column_title": "net at the end",
    "command": "svcca compare a b",
}


def same(a, b):
    for entry in dataclasses.fields(SimilarityMatrix):
        left, right = getattr(a, entry.name), getattr(b, entry.name)
        if isinstance(left, np.ndarray):
            assert left.dtype == right.dtype == np.float64
            assert left.tobytes() == right.tobytes(), entry.name
        else:
            assert left == right, entry.name
            assert type(left) is type(right), entry.name


@pytest.mark.parametrize("changes", [{}, FULL], ids=["defaults", "full"])
def test_what_was_saved_is_loaded_to_the_last_bit(tmp_path, changes):
    saved = matrix(**changes)
    same(SimilarityMatrix.load(saved.save(tmp_path / "m.json")), saved)


def test_numbers_that_no_decimal_holds_come_back_to_the_last_bit(tmp_path):
    values = np.array([[1 / 3, np.nextafter(1, 0), 5e-324], [0.1 + 0.2, -0.0, np.pi / 1e300]])
    saved = matrix(values=values)
    same(SimilarityMatrix.load(saved.save(tmp_path / "m.json")), saved)


def test_saving_returns_the_path_and_leaves_nothing_else(tmp_path):
    assert matrix().save(str(tmp_path / "m.json")) == tmp_path / "m.json"
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.json"]


def test_what_is_written_is_versioned_json(tmp_path):
    plain = json.loads(matrix().save(tmp_path / "m.json").read_text(encoding="utf-8"))
    assert (plain["format"], plain["version"]) == (FORMAT, FORMAT_VERSION)


def test_the_dictionary_holds_plain_json_types_only():
    plain = matrix(**FULL).to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain


def test_the_versions_are_those_that_computed_it():
    assert matrix().versions == current_versions()
    assert set(current_versions()) == {"svcca", "torch", "python"}


def test_saving_into_a_missing_folder_is_a_file_error(tmp_path):
    with pytest.raises(FileError, match="expected a folder that can be written to"):
        matrix().save(tmp_path / "missing" / "m.json")


def test_loading_a_missing_file_is_a_file_error(tmp_path):
    with pytest.raises(FileError, match=r"load .*m\.json: expected a readable file; got No such file"):
        SimilarityMatrix.load(tmp_path / "m.json")


def test_loading_a_folder_is_a_file_error(tmp_path):
    with pytest.raises(FileError, match="expected a readable file; got Is a directory"):
        SimilarityMatrix.load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"\x80\x81\xff", b"not json"], ids=["empty", "cut", "binary", "text"])
def test_loading_what_is_no_json_is_a_file_error(tmp_path, content):
    (tmp_path / "m.json").write_bytes(content)
    with pytest.raises(FileError, match=r"expected JSON that SimilarityMatrix.save wrote; got"):
        SimilarityMatrix.load(tmp_path / "m.json")


def test_loading_half_a_file_is_a_file_error(tmp_path):
    path = matrix().save(tmp_path / "m.json")
    path.write_text(path.read_text()[:200])
    with pytest.raises(FileError, match=r"expected JSON that SimilarityMatrix.save wrote"):
        SimilarityMatrix.load(path)


@pytest.mark.parametrize("plain", [{}, [], 3, None, "text", {"format": "another.tool", "version": 1}])
def test_loading_other_json_is_a_file_error(tmp_path, plain):
    (tmp_path / "m.json").write_text(json.dumps(plain))
    with pytest.raises(
        FileError, match=r'expected JSON with "format": "svcca.similarity_matrix"; got another kind of file'
    ):
        SimilarityMatrix.load(tmp_path / "m.json")


@pytest.mark.parametrize("version", [FORMAT_VERSION + 1, None, "1"])
def test_loading_a_newer_version_says_to_upgrade(tmp_path, version):
    (tmp_path / "m.json").write_text(json.dumps(matrix().to_dict() | {"version": version}))
    with pytest.raises(FileError, match=f"expected format version 2; got {version}. Upgrade svcca to read it"):
        SimilarityMatrix.load(tmp_path / "m.json")


def test_loading_an_older_version_says_what_to_do(tmp_path):
    (tmp_path / "m.json").write_text(json.dumps(matrix().to_dict() | {"version": 1}))
    text = "expected format version 2; got 1, of an older svcca. Compute it again, or read it with the svcca that"
    with pytest.raises(FileError, match=text):
        SimilarityMatrix.load(tmp_path / "m.json")


@pytest.mark.parametrize(
    "change",
    [
        {"values": None},
        {"values": [[1.0]]},
        {"values": [[1.0, 2.0, float("nan")], [1.0, 2.0, 3.0]]},
        {"values": "high"},
        {"values": [[10**400, 0, 0], [0, 0, 0]]},
        {"chance": [[0.0] * 3] * 3},
        {"rows": 3},
        {"rows": [{"name": "layer0"}]},
        {"columns": ["layer0"]},
        {"warnings": None},
        {"warnings": ["few samples"]},
        {"warnings": [{"kind": "rumour", "text": "few samples"}]},
        {"unheard_of": 1},
    ],
    ids=lambda change: "-".join(f"{key} {str(value)[:24]}" for key, value in change.items()),
)
def test_loading_damaged_fields_is_a_file_error(tmp_path, change):
    (tmp_path / "m.json").write_text(json.dumps(matrix().to_dict() | change))
    with pytest.raises(FileError, match="expected every field of a SimilarityMatrix; got"):
        SimilarityMatrix.load(tmp_path / "m.json")


@pytest.mark.parametrize("field", ["values", "rows", "columns", "chance", "measure", "n_samples", "warnings"])
def test_loading_without_a_field_is_a_file_error(tmp_path, field):
    plain = matrix().to_dict()
    del plain[field]
    (tmp_path / "m.json").write_text(json.dumps(plain))
    with pytest.raises(FileError, match="expected every field of a SimilarityMatrix; got"):
        SimilarityMatrix.load(tmp_path / "m.json")


@pytest.mark.parametrize("name", ["values", "chance"])
def test_its_arrays_are_frozen(name):
    with pytest.raises(ValueError, match="read-only"):
        getattr(matrix(), name)[0, 0] = 1.0


def test_its_fields_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        matrix().measure = "other"


def test_the_callers_array_is_neither_frozen_nor_shared():
    values = np.zeros((2, 3))
    held = matrix(values=values)
    values[0, 0] = 0.5
    assert held.values[0, 0] == 0.0


@pytest.mark.parametrize("name", ["values", "chance"])
@pytest.mark.parametrize("wrong", [np.zeros((3, 2)), np.zeros(6), np.zeros((2, 3, 1))], ids=["turned", "flat", "deep"])
def test_another_shape_than_the_layers_is_refused(name, wrong):
    with pytest.raises(InputError, match=rf"SimilarityMatrix {name}: expected shape \(2, 3\); got shape"):
        matrix(**{name: wrong})


@pytest.mark.parametrize(
    ("name", "bad"), [("values", np.nan), *((name, bad) for name in ("values", "chance") for bad in (np.inf, -np.inf))]
)
def test_what_is_not_finite_is_refused(name, bad):
    values = np.zeros((2, 3))
    values[1, 2] = bad
    with pytest.raises(InputError, match=rf"SimilarityMatrix {name}: expected finite numbers; got {bad}"):
        matrix(**{name: values})


def test_a_chance_level_that_is_not_known_is_saved_as_null_and_loaded_as_nan(tmp_path):
    chance = np.zeros((2, 3))
    chance[1, 2] = np.nan
    saved = matrix(chance=chance)
    assert json.loads(saved.save(tmp_path / "m.json").read_text())["chance"] == [[0, 0, 0], [0, 0, None]]
    np.testing.assert_array_equal(SimilarityMatrix.load(tmp_path / "m.json").chance, chance)


def test_a_refusal_of_nan_says_that_it_is_nan_and_where():
    values = np.zeros((2, 3))
    values[1, 2] = np.nan
    with pytest.raises(InputError, match=r"got nan for layer1 x block\.2\."):
        matrix(values=values)


def test_the_frame_is_labelled_by_layer_and_titled():
    held = matrix(row_title="early", column_title="late")
    frame = held.to_frame()
    assert isinstance(frame, pd.DataFrame)
    assert list(frame.index) == list(held.row_labels) == ["layer0", "layer1"]
    assert list(frame.columns) == list(held.column_labels) == ["block.0", "block.1", "block.2"]
    assert (frame.index.name, frame.columns.name) == ("early", "late")
    assert np.array_equal(frame.to_numpy(), held.values)


def test_writing_into_the_frame_leaves_the_matrix():
    held = matrix()
    before = held.values.copy()
    frame = held.to_frame()
    frame.iloc[0, 0] = -1.0
    assert np.array_equal(held.values, before)


def test_one_pair_of_layers_is_a_matrix_too(tmp_path):
    layer = LayerSummary("fc", 10, 10, "rows")
    saved = matrix(values=[[0.5]], chance=[[0.1]], rows=(layer,), columns=(layer,))
    same(SimilarityMatrix.load(saved.save(tmp_path / "m.json")), saved)
