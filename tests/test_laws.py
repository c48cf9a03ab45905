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
"""From the ground up: a module may import from levels below its own and from its own room, wherever the import stands:
at the top, in a function, or under TYPE_CHECKING. Rooms on one level do not import each other."""

LEVEL = {name: number for number, names in enumerate(LEVELS) for name in names}


def imports(tree, package):
    """Absolute names that a module imports anywhere: at the top, in a function, or for types alone."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{origin}.{alias.name}" for alias in node.names)


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
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found += [f"{relative}: imports {name}" for name in imports(tree, package) if _wrong(room, name)]
    return found


def _wrong(room, name):
    if room == "core" and (name == "torch.nn" or name.startswith("torch.nn.")):
        return True
    if name.partition(".")[0] != "svcca":
        return False
    target = place(name.split(".")[1:])
    if target not in LEVEL:
        return True  # from the package itself, or from a room that is not there
    return target != room and LEVEL[target] >= LEVEL[room]


TYPES = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n"


def test_imports_point_one_way():
    assert violations(SOURCE) == []


FOURIER_RULE = "capture/observations/fourier.py"


def fourier_imports(source):
    """Every import of svcca.fourier in the rooms that are not to ask how a rule folds its rows."""
    found = []
    for room in ("capture", "compare", "freeze"):
        for path in sorted((source / room).rglob("*.py")):
            relative = path.relative_to(source).as_posix()
            package = ".".join(["svcca", *path.relative_to(source).parts[:-1]])
            names = imports(ast.parse(path.read_text(encoding="utf-8")), package)
            if relative != FOURIER_RULE:
                found += [f"{relative}: {name}" for name in names if _of_fourier(name)]
    return found


def _of_fourier(name):
    # The room, its names, or the class of the rule: by whichever way it comes.
    return f"{name}.".startswith("svcca.fourier.") or name.rpartition(".")[2] in ("Fourier", "fourier")


def test_only_its_own_file_knows_the_fourier_rule():
    allowed = ["__init__: svcca.capture.observations.fourier.Fourier"]
    found = [line.replace(".py", "").removeprefix("capture/observations/") for line in fourier_imports(SOURCE)]
    assert [line for line in found if not line.removeprefix("capture/").startswith("__init__: ")] == []
    assert set(allowed) <= set(found)


@pytest.mark.parametrize(
    "line",
    [
        "from svcca.fourier.grid import FourierGrid",
        "import svcca.fourier",
        "from svcca import fourier",
        "from svcca.capture.observations import Fourier",
        "def late():\n    from ..fourier.cca import fourier_cca",
    ],
)
def test_a_planted_question_for_fourier_is_found(tmp_path, line):
    (tmp_path / "compare").mkdir()
    (tmp_path / "compare" / "pairs.py").write_text(line)
    assert len(fourier_imports(tmp_path)) == 1


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
        ("compare/result.py", "from svcca.report.html import render"),
        ("compare/result.py", "def report():\n    from svcca.report.html import render"),
        ("compare/result.py", TYPES + "    from svcca.report.html import Cell"),
        ("compare/result.py", "if typing.TYPE_CHECKING:\n    pass\nelse:\n    import svcca.report"),
        ("plots/heatmap.py", "from svcca.measures.registry import MEASURES"),
        ("plots/heatmap.py", TYPES + "    from svcca.compare.result import SimilarityMatrix"),
        ("plots/heatmap.py", TYPES + "    from svcca.fourier.cca import Filters"),
        ("plots/heatmap.py", "def f():\n    from svcca.fourier.translation import translation_gap"),
        ("measures/cka.py", TYPES + "    from svcca.capture.observations import Observation"),
        ("io/pages.py", "import svcca.report"),
        ("project/project.py", "from svcca.compress.factors import Factors"),
        ("project/project.py", "from svcca.freeze.blocks import Block"),
        ("project/project.py", "from svcca.report import html"),
        ("compress/compress.py", "from svcca.project.directions import directions"),
        ("compress/compress.py", "from svcca.freeze.blocks import Block"),
        ("compress/compress.py", "from svcca import report"),
        ("freeze/summary.py", "from svcca.compress.ranks import Spectrum"),
        ("freeze/summary.py", "from svcca.project.project import project"),
        ("freeze/summary.py", TYPES + "    from svcca.compress.ranks import Spectrum"),
        ("report/html.py", "from svcca.freeze.summary import FreezeSummary"),
        ("report/html.py", "from svcca.project.dimensions import IntrinsicDimensions"),
        ("report/html.py", TYPES + "    from svcca.compress.compression_curve import CompressionCurve"),
        ("integrations/lightning.py", "from svcca.cli.app import app"),
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
        ("compare/result.py", "class M:\n    def plot(self):\n        from svcca.plots.heatmap import plot_heatmap"),
        (
            "plots/heatmap.py",
            TYPES + "    from svcca.plots.text import elide\n    from svcca.core.arrays import ArrayLike",
        ),
        ("report/html.py", TYPES + "    from svcca.compare.result import SimilarityMatrix"),
        ("cli/app.py", "from svcca.cli.demo import run\nfrom svcca.cli.models import build_model"),
        ("__init__.py", "from svcca.compare.pairs import compare"),
    ],
    ids=range(9),
)
def test_what_is_lawful_is_left_alone(tmp_path, path, line):
    target = tmp_path / path
    target.parent.mkdir(exist_ok=True)
    target.write_text(line)
    assert violations(tmp_path) == []
