import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from typer.testing import CliRunner

import svcca
from cli.running import fails, run
from svcca.cli import app as cli


def test_the_version_is_the_packages(capsys, monkeypatch):
    code, said = fails(capsys, monkeypatch, "--version")
    assert (code, said.out) == (0, f"svcca {metadata.version('svcca')}\n")


@pytest.mark.parametrize("words", [["--help"], ["-h"]])
def test_help_names_the_commands_and_where_to_start(words):
    result = run(*words)
    assert result.exit_code == 0
    assert all(word in result.stdout for word in ("compare", "compress", "demo", "Start with: svcca demo"))


def test_no_command_at_all_shows_the_help():
    result = CliRunner().invoke(cli.app, [])
    assert "compare" in result.output


@pytest.mark.parametrize(
    "words",
    [["compare", "--nonsense"], ["compare", "a", "b", "c"], ["nothing"], ["compare", "--retained-variance", "x"]],
)
def test_wrong_usage_is_exit_code_2(capsys, monkeypatch, words):
    code, said = fails(capsys, monkeypatch, *words)
    assert code == 2
    assert "Usage: " in said.err


@pytest.mark.parametrize("way", ["svcca", "python -m svcca"])
def test_the_command_compares_two_files_in_a_process_of_its_own(here, way):
    script = Path(sys.executable).with_name("svcca")
    if way == "svcca" and not script.exists():
        pytest.skip("svcca is not installed beside this Python")
    command = [str(script)] if way == "svcca" else [sys.executable, "-m", "svcca"]
    done = subprocess.run(
        [*command, "compare", "a.npz", "b.npz", "-o", "r.html", "--json"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},  # as in this process: another number sums in another order
    )
    assert (done.returncode, done.stderr) == (0, "")
    written = json.loads(done.stdout)
    assert written["values"] == svcca.compare("a.npz", "b.npz").values.tolist()
    assert written["command"] == "svcca compare a.npz b.npz -o r.html --json"
    assert (here / "r.html").exists()
    wrong = subprocess.run([*command, "compare", "c.npz"], capture_output=True, text=True, check=False)
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr == "svcca: load c.npz: expected a file; got none there.\n"


def test_importing_the_command_imports_no_library_that_only_its_work_needs():
    code = "import sys, svcca.cli.app; print(*{name.partition('.')[0] for name in sys.modules})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "typer" in found
    assert not {"matplotlib", "jinja2", "pandas", "rich", "scipy", "sklearn"} & set(found)
