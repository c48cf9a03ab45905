import pytest

from cli.running import files, refused, run
from svcca.cli import digits


@pytest.fixture(scope="module")
def result():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digits, "EPOCHS", 1)  # how well the nets do is not the command's concern
        return digits.run(progress=False)


def test_it_writes_the_report_and_the_figure_and_says_where(result, tmp_path, monkeypatch):
    monkeypatch.setattr(digits, "run", lambda progress: result)
    folder = tmp_path / "new" / "folder"
    done = run("demo", "-o", folder)
    assert done.exit_code == 0
    assert files(folder) == ["heatmap.png", "report.html"]
    assert done.stdout.splitlines()[-2:] == [f"Wrote {folder / 'report.html'}", f"Wrote {folder / 'heatmap.png'}"]
    for value in result.matrix.values.flat:
        assert f"{value:.3f}" in done.stdout
    hits, total = result.matrix.twin_matches()
    assert f"{hits} of {total} blocks are most similar to their twin" in done.stdout
    first, second = result.accuracies
    assert f"read {first:.1%} and {second:.1%} of unseen digits correctly" in done.stdout
    (remark,) = result.matrix.warnings
    assert done.stderr == f"Note: {remark.text}\n"


def test_quiet_writes_the_same_files_and_prints_nothing(result, tmp_path, monkeypatch):
    monkeypatch.setattr(digits, "run", lambda progress: result)
    done = run("demo", "-o", tmp_path, "-q")
    assert (done.stdout, done.stderr) == ("", "")
    assert files(tmp_path) == ["heatmap.png", "report.html"]


def test_a_folder_that_cannot_be_made_is_refused(here, capsys, monkeypatch):
    before = files(here)
    said = refused(capsys, monkeypatch, "demo", "-o", "a.npz")
    assert "expected a folder that can be made; got File exists" in said
    assert files(here) == before
