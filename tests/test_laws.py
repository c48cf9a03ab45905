"""The laws of DESIGN about imports, read from the source: which way they point, and where they may stand."""

import ast
from pathlib import Path

import pytest

import svcca

SOURCE = Path(svcca.__file__).parent

LEVELS = (
    ("errors",),
    ("progress", "deprecation"),
    ("core",),
    ("plots",),
    ("measures",),
    ("fourier",),
    ("io",),
    ("capture",),
    ("compare",),
    ("project", "compress", "freeze", "report"),
    ("integrations",),
    ("cli",),
    ("__main__",),
)
"""From the ground up: a module may import from levels below its own, and from its own package."""

LEVEL = {name: number for number, names in enumerate(LEVELS) for name in names}


def imports(tree, package):
    """Absolute names that a module imports, and the function they stand in: "" at the top, None for types alone."""

    def walk(node, function):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((alias.name, function) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = package.split(".")[: len(package.split(".")) + 1 - child.level] if child.level else []
                origin = ".".join([*base, *([child.module] if child.module else [])])
                yield from ((f"{origin}.{alias.name}", function) for alias in child.names)
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                for statement in child.body:
                    yield from walk(ast.Module([statement], []), None)
                for statement in child.orelse:
                    yield from walk(ast.Module([statement], []), function)
            elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield from walk(child, child.name)
            else:
                yield from walk(child, function)

    return list(walk(tree, ""))


def place(parts):
    """The room of a module below the package, e.g. "core" or "cli"."""
    return parts[0] if parts else ""


def violations(source):
    """Every import that points the wrong way, or stands where it may not, as one line each."""
    found = []
    for path in sorted(source.rglob("*.py")):
        relative = path.relative_to(source).with_suffix("")
        parts = [part for part in relative.parts if part != "__init__"]
        room = place(parts)
        if not room:
            continue  # the package itself names everything public
        if room not in LEVEL:
            found.append(f"{relative}: a room without a level; give it one in this test")
            continue
        package = ".".join(["svcca", *relative.parts[:-1]])
        for name, function in imports(ast.parse(path.read_text(encoding="utf-8")), package):
            found += [
                f"{relative}: imports {name}" for wrong in [_wrong(relative.as_posix(), room, name, function)] if wrong
            ]
    return found


def _wrong(module, room, name, function):
    if room == "core" and (name == "torch.nn" or name.startswith("torch.nn.")):
        return True
    if not name.startswith("svcca.") and name != "svcca":
        return False
    target = place(name.split(".")[1:])
    if target not in LEVEL:
        return True  # from the package itself, or from a room that is not there
    if target == room:
        return False
    if function is None:
        return False  # a type is no dependency at run time
    return LEVEL[target] >= LEVEL[room]


def test_imports_point_one_way():
    assert violations(SOURCE) == []


def test_there_is_something_to_read():
    assert len(list(SOURCE.rglob("*.py"))) > 20


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("core/grid.py", "from svcca.capture.hooks import LayerRecorder"),
        ("core/grid.py", "from svcca import capture"),
        ("core/grid.py", "from ..capture import hooks"),
        ("core/grid.py", "import svcca.io.store"),
        ("core/grid.py", "from torch import nn"),
        ("core/grid.py", "import torch.nn.functional as F"),
        ("core/grid.py", "from torch.nn import Linear"),
        ("core/grid.py", "def late():\n    from svcca.compare import pairs"),
        ("core/grid.py", "try:\n    import svcca.cli.app\nexcept ImportError:\n    pass"),
        ("core/grid.py", "from svcca import svcca as function"),
        ("errors.py", "from svcca.io.files import write_text"),
        ("measures/cka.py", "from svcca.fourier.frequencies import match_frequencies"),
        ("io/store.py", "from svcca.capture.layers import matches"),
        ("capture/hooks.py", "from svcca.compare.pairs import compare"),
        ("plots/heatmap.py", "from svcca.compare.result import SimilarityMatrix"),
        ("plots/heatmap.py", "from svcca.capture.layers import matches"),
        ("compare/result.py", "from svcca.report.html import write_report"),
        ("compare/result.py", "def report():\n    from svcca.report.html import write_report"),
        ("freeze/summary.py", "from svcca.compress.ranks import Spectrum"),
        ("report/html.py", "import svcca.cli.app"),
        ("utils.py", "import math"),
    ],
    ids=lambda value: value.replace("\n", " "),
)
def test_a_planted_violation_is_found(tmp_path, path, line):
    target = tmp_path / path
    target.parent.mkdir(exist_ok=True)
    target.write_text(f"import torch\n{line}\n")
    assert len(violations(tmp_path)) == 1


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (
            "core/grid.py",
            "from svcca.core.moments import Moments\nfrom torch import Tensor",
        ),
        ("core/grid.py", "from . import moments\nfrom .moments import Moments\nfrom ..errors import InputError"),
        ("io/store.py", "from svcca.io.files import write_text\nfrom svcca.core.arrays import to_tensor"),
        ("capture/hooks.py", "from torch import nn\nfrom svcca.io.store import load_activations"),
        ("compare/result.py", "class M:\n    def plot(self):\n        from svcca.plots.heatmap import heatmap"),
        ("plots/heatmap.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from svcca.cli.app import app"),
        ("cli/app.py", "from svcca.cli.demo import run\nfrom svcca.cli.models import build_model"),
        ("__init__.py", "from svcca.compare.pairs import compare"),
    ],
    ids=range(8),
)
def test_what_is_lawful_is_left_alone(tmp_path, path, line):
    target = tmp_path / path
    target.parent.mkdir(exist_ok=True)
    target.write_text(line)
    assert violations(tmp_path) == []
