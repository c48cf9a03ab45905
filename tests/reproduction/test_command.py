import ast
import importlib
import json
from pathlib import Path

import pytest
import typer
from reproduce import __main__ as command
from reproduce import run as run_module
from reproduce.errors import ReproduceError
from reproduce.records import pooled
from reproduce.run import load, names, run
from typer.testing import CliRunner

import svcca

ROOT = Path(run_module.__file__).parent
CHEAP = "two_seeds"
ROOMS = ("core", "fourier", "freeze", "measures")
"""Rooms whose names are read as attributes; the others are verbs at the root."""


@pytest.fixture
def invoke(monkeypatch):
    monkeypatch.delenv("SVCCA_DATA", raising=False)
    app = typer.Typer()
    app.command()(command.main)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_list_names_every_figure(invoke):
    result = invoke("list")
    assert result.exit_code == 0
    assert all(name[:8] in result.output for name in names())


def test_a_figure_is_run_by_name_and_leaves_its_record_and_picture(invoke, tmp_path):
    result = invoke(CHEAP, "--out", tmp_path / "new", "--seeds", 2)
    assert result.exit_code == 0, result.output
    assert "≥" in result.output
    record = json.loads((tmp_path / "new" / f"{CHEAP}.json").read_text())
    assert (record["name"], record["preset"], record["settings"]["seeds"]) == (CHEAP, "quick", 2)
    assert all(len(claim["values"]) == 2 for claim in record["claims"])
    assert {"processor", "cores", "gpu", "torch", "svcca"} <= set(record["hardware"])
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["cache", f"{CHEAP}.json", f"{CHEAP}.png"]


def test_a_second_run_computes_nothing_again_and_says_the_same(tmp_path, monkeypatch):
    first = run(CHEAP, "quick", tmp_path, seeds=2).plain

    def never(*args, **kwargs):
        raise AssertionError("computed again")

    monkeypatch.setattr("reproduce.study.fit", never)
    monkeypatch.setattr("svcca.compare", never)
    again = run(CHEAP, "quick", tmp_path, seeds=2).plain
    assert first["warnings"]
    assert again["claims"] == first["claims"]
    assert again["warnings"] == first["warnings"]


def test_more_seeds_use_what_is_there(tmp_path, monkeypatch):
    run(CHEAP, "quick", tmp_path, seeds=1)
    trained = []
    real = run_module.Study.train
    monkeypatch.setattr(
        run_module.Study,
        "train",
        lambda self, name, config, *rest: (trained.append(config["seed"]), real(self, name, config, *rest))[1],
    )
    before = {path.name for path in (tmp_path / "cache").iterdir()}
    run(CHEAP, "quick", tmp_path, seeds=2)
    new = {path.name for path in (tmp_path / "cache").iterdir()} - before
    assert trained == [0, 1, 2]
    # One net, and its comparison with the one before: after training and before it.
    assert sorted(Path(name).suffix for name in new) == [".json", ".json", ".safetensors"]


def test_all_runs_every_figure_and_a_failure_does_not_stop_the_others(invoke, tmp_path, monkeypatch):
    ran = []

    def one(name, preset, out, **options):
        ran.append(name)
        if name == names()[0]:
            raise ReproduceError("read it: expected data; got none. Give it")
        return type("Record", (), {"plain": {"claims": [], "seconds": 0.0}})

    monkeypatch.setattr(command, "run", one)
    result = invoke("all", "--out", tmp_path)
    assert ran == names()
    assert result.exit_code == 1
    assert "expected data; got none" in result.output


@pytest.mark.parametrize(
    "error", [ValueError("judge 'a share': expected finite values"), svcca.SvccaError("compare 'fc1': expected no NaN")]
)
def test_a_statistic_or_an_activation_that_is_no_number_does_not_stop_the_others(invoke, tmp_path, monkeypatch, error):
    ran = []

    def one(name, preset, out, **options):
        ran.append(name)
        raise error

    monkeypatch.setattr(command, "run", one)
    result = invoke("two_seeds", "width", "--out", tmp_path)
    assert ran == ["two_seeds", "width"]
    assert result.exit_code == 1
    assert str(error) in result.output


@pytest.mark.parametrize("name", ["two_seed", "qqq"])
def test_an_unknown_figure_is_an_error_before_anything_runs(invoke, tmp_path, name):
    result = invoke(CHEAP, name, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert not (tmp_path / "out").exists()
    with pytest.raises(ReproduceError, match=r"expected the name of a figure, such as .*two_seeds"):
        load(name)


def test_an_unknown_preset_lists_the_known_ones(tmp_path):
    with pytest.raises(ReproduceError, match="one of quick, cpu, cpu2, full; got 'fast'"):
        run(CHEAP, "fast", tmp_path)


def test_a_preset_that_needs_data_says_so(invoke, tmp_path):
    result = invoke(CHEAP, "--preset", "cpu", "--out", tmp_path)
    assert result.exit_code == 1
    assert "Pass it as --data or in SVCCA_DATA" in result.output.replace("\n", " ")


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ReproduceError, match=r"expected a folder to write to; got .*file"):
        run(CHEAP, "quick", tmp_path / "file")


def test_help_says_what_the_presets_are(invoke):
    output = invoke("--help").output
    assert "list | all | train | NAME" in output
    assert "quick" in output


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_only_public_names_of_the_library_are_used(path):
    assert private_names(ast.parse(path.read_text(encoding="utf-8"))) == []


def private_names(tree):
    """Names of svcca that a module takes and no `__all__` lists."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.startswith("svcca.")]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "svcca":
            public = getattr(importlib.import_module(node.module), "__all__", ())
            found += [f"{node.module}.{alias.name}" for alias in node.names if alias.name not in public]
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "svcca":
            found += [f"svcca.{node.attr}"] if node.attr not in {*svcca.__all__, *ROOMS} else []
        elif isinstance(node, ast.Attribute) and (room := ast.unparse(node.value).removeprefix("svcca.")) in ROOMS:
            public = importlib.import_module(f"svcca.{room}").__all__
            found += [f"svcca.{room}.{node.attr}"] if node.attr not in public else []
    return found


@pytest.mark.parametrize(
    "line",
    [
        "import svcca.core.grid",
        "from svcca.core.grid import CoherenceGrid",
        "from svcca.measures import values",
        "svcca.heatmap",
        "svcca.measures.chance",
        "svcca.fourier.covariances(maps)",
    ],
)
def test_a_name_that_is_not_public_is_found(line):
    assert len(private_names(ast.parse(line))) == 1


def test_warnings_that_differ_in_numbers_and_layers_alone_are_counted():
    few = "{}: unrelated layers would already give {} with 597 samples. Use more."
    other = "relu2: correlations of up to 1.5 were cut to 1."
    found = pooled([few.format("conv1 x bn3", 0.27), other, few.format("bn3 x conv1", "1e-3")])
    assert found == [few.format("conv1 x bn3", 0.27) + " (1 more like it)", other]
