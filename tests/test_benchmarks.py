import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*arguments):
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    path = tmp_path_factory.mktemp("benchmarks") / "figures.json"
    done = run("pair", "dynamics", "streaming", "--size", "quick", "--repeats", "1", "--json", str(path))
    assert done.returncode == 0, done.stderr
    return json.loads(path.read_text())


def test_every_benchmark_that_was_asked_for_is_there(document):
    assert [result["name"] for result in document["results"]] == ["pair", "dynamics", "streaming"]


@pytest.mark.parametrize(
    "figure", ["ours_seconds", "floor_seconds", "ratio", "literal_seconds", "speedup", "peak_bytes"]
)
def test_a_figure_is_finite_and_positive(document, figure):
    values = [result[figure] for result in document["results"]]
    assert all(math.isfinite(value) and value > 0 for value in values), values


def test_the_number_is_that_of_the_paper_s_procedure(document):
    assert all(result["difference"] < 1e-6 for result in document["results"])


def test_the_machine_is_recorded_beside_the_figures(document):
    machine = document["machine"]
    assert set(machine) >= {"cpu", "cores", "torch_threads", "torch", "numpy", "date"}
    assert machine["torch_threads"] >= 1


def test_an_unknown_benchmark_is_refused_with_the_known_ones():
    done = run("pairs")
    assert done.returncode != 0
    assert "expected names among pair, " in done.stderr
