"""How the tests of the command run it."""

import sys

import pytest
from typer.testing import CliRunner

from svcca.cli import app as cli


def run(*words):
    """Run the command in this process, by way of `main`, as the installed script does."""
    return CliRunner().invoke(cli.app, [str(word) for word in words], catch_exceptions=False)


def fails(capsys, monkeypatch, *words):
    """Run the command through `main`; return the exit code and what it says."""
    monkeypatch.setattr(sys, "argv", ["svcca", *map(str, words)])
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return stopped.value.code, capsys.readouterr()


def refused(capsys, monkeypatch, *words):
    """Run the command, hold it to exit code 1 and one message on standard error alone, and return the message."""
    code, said = fails(capsys, monkeypatch, *words)
    assert code == 1
    assert said.out == ""
    assert said.err.startswith("svcca: ")
    assert "Traceback" not in said.err
    return said.err


def files(folder):
    return sorted(path.name for path in folder.iterdir())


class Bomb:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")
