import json
import os
import re
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import reference
import svcca
from cli.running import files, refused, run
from svcca.cli.output import check_output, warnings_as_notes, warnings_kept_back
from svcca.compare.by_measure import ByMeasure
from svcca.compare.result import SimilarityMatrix
from svcca.errors import FileError, SvccaWarning

# Files


def test_a_report_a_matrix_and_a_figure_are_written_and_named(here):
    outputs = [
        f"{stem}{suffix}" for stem, suffix in zip("rmfgh", (".html", ".json", ".png", ".pdf", ".svg"), strict=True)
    ]
    result = run("compare", "a.npz", "b.npz", *(word for name in outputs for word in ("-o", name)))
    assert result.exit_code == 0
    assert [line for line in result.stdout.splitlines() if line.startswith("Wrote")] == [f"Wrote {o}" for o in outputs]
    assert files(here) == sorted(["a.npz", "b.npz", *outputs])
    assert (here / "r.html").read_text(encoding="utf-8").lstrip().lower().startswith("<!doctype html>")
    assert (here / "f.png").read_bytes().startswith(b"\x89PNG")
    assert (here / "g.pdf").read_bytes().startswith(b"%PDF")
    assert "<svg" in (here / "h.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("r.htm", "a name that ends in .html, .json, .png, .pdf, .svg; got .htm"),
        ("r", "a name that ends in .html"),
        ("missing/r.html", "expected a folder that exists; got no folder missing"),
        ("a.npz/r.html", "expected a folder that exists; got no folder a.npz"),
        ("folder.html", "folder.html"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_before_any_work(here, capsys, monkeypatch, output, text):
    (here / "folder.html").mkdir()
    before = files(here)

    def work(*args, **options):
        pytest.fail("work was done")

    # By its full name: in the package the function of this name stands before the folder.
    monkeypatch.setattr(sys.modules["svcca.compare.pairs"], "compare", work)
    assert text in refused(capsys, monkeypatch, "compare", "a.npz", "-o", "good.json", "-o", output)
    assert files(here) == before


def test_a_folder_without_permission_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: (path, mode) != (tmp_path, os.W_OK))
    with pytest.raises(FileError, match=f"expected a folder that can be written to; got {tmp_path}"):
        check_output(tmp_path / "r.html")


# Tables


def test_the_table_holds_the_numbers_of_many_layers_in_a_narrow_window(here, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    layers = {f"encoder.layer.{i}": reference.gaussian(i, 400, 3) for i in range(24)}
    svcca.save_activations(here / "many.npz", layers)
    result = run("compare", "many.npz")
    assert len(re.findall(r"\d\.\d{3}", result.stdout)) >= 24 * 24


def test_names_that_read_like_markup_are_printed_as_they_are(here):
    svcca.save_activations(here / "c.npz", {"[bold]x[/bold]": reference.gaussian(0, 400, 3)})
    assert run("compare", "c.npz").stdout.count("[bold]x[/bold]") == 2  # of the row and of the column


def test_several_measures_are_a_table_each_in_the_order_in_which_they_were_named(here):
    measures = ("pwcca", "svcca", "linear_cka")
    printed = run("compare", "a.npz", "b.npz", *(word for name in measures for word in ("--measure", name))).stdout
    assert re.findall(r"(\w+) over 400 samples", printed) == list(measures)
    assert printed.count("a.npz \\ b.npz") == 3
    numbers = re.findall(r"\d\.\d{3}", printed)
    expected = [svcca.compare("a.npz", "b.npz", measure=name).values for name in measures]
    assert numbers == [f"{value:.3f}" for values in expected for value in values.flat]


def test_rows_and_columns_are_titled_alike_in_the_tables_of_all_measures(nets):
    words = ["compare", "-m", f"{nets.__name__}:Net", "-c", "0.pt", "-c", "1.pt", "-d", "x.npy"]
    printed = run(*words, "--measure", "svcca", "--measure", "pwcca").stdout
    assert printed.count("0.pt \\ 1.pt") == 2


# JSON, silence and notes


def test_several_measures_are_written_and_printed_as_one_document(here):
    words = ("compare", "a.npz", "b.npz", "--measure", "linear_cka", "--measure", "svcca")
    run(*words, "-o", "m.json")
    written = ByMeasure.load(here / "m.json")
    for name in ("linear_cka", "svcca"):
        assert np.array_equal(written[name].values, svcca.compare("a.npz", "b.npz", measure=name).values)
        assert (written[name].row_title, written[name].column_title) == ("a.npz", "b.npz")
    assert [one["measure"] for one in json.loads(run(*words, "--json").stdout)["results"]] == ["linear_cka", "svcca"]


def test_json_is_printed_alone_and_is_what_is_saved(here):
    result = run("compare", "a.npz", "b.npz", "--json", "-o", "m.json")
    assert json.loads(result.stdout) == json.loads((here / "m.json").read_text())
    assert result.stderr == ""


def test_quiet_prints_nothing_and_writes_all_the_same(here):
    result = run("compare", "a.npz", "-q", "-o", "m.json")
    assert (result.stdout, result.stderr) == ("", "")
    assert SimilarityMatrix.load(here / "m.json").row_labels == ("conv1", "head")


def test_warnings_are_printed_once_on_standard_error_and_recorded(here):
    svcca.save_activations(here / "few.npz", {"x": reference.gaussian(0, 10, 8), "y": reference.gaussian(1, 10, 8)})
    result = run("compare", "few.npz", "-o", "m.json")
    (warning,) = SimilarityMatrix.load(here / "m.json").warnings
    assert result.stderr == f"Note: {warning.text}\n"


def test_a_warning_of_several_measures_is_printed_once(here):
    svcca.save_activations(here / "few.npz", {"x": reference.gaussian(0, 10, 8), "y": reference.gaussian(1, 10, 8)})
    lines = run("compare", "few.npz", "--measure", "cca", "--measure", "r2_cca").stderr.splitlines()
    assert lines
    assert len(lines) == len(set(lines))


def warn_of_both_kinds():
    warnings.warn("of ours", SvccaWarning, stacklevel=1)
    warnings.warn("another's", UserWarning, stacklevel=1)


def test_our_own_warnings_alone_become_notes(capsys):
    with pytest.warns() as heard, warnings_as_notes():
        warn_of_both_kinds()
    assert [(str(other.message), Path(other.filename)) for other in heard] == [("another's", Path(__file__))]
    assert capsys.readouterr().err == "Note: of ours\n"


def test_our_own_warnings_alone_are_kept_back(capsys):
    with pytest.warns() as heard, warnings_kept_back():
        warn_of_both_kinds()
    assert [str(other.message) for other in heard] == ["another's"]
    assert capsys.readouterr().err == ""
