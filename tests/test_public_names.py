"""The front door: what is public is listed, documented, importable, and needs nothing that is not public."""

import ast
import dataclasses
import functools
import importlib
import inspect
import itertools
import subprocess
import sys
import types
import typing
from pathlib import Path

import pytest

import public_names
import svcca
from svcca.compare import LayerSummary
from svcca.compress import CompressionReport

SOURCE = Path(svcca.__file__).parent
NAMES = public_names.public()
FOREIGN = {*sys.stdlib_module_names, "torch", "numpy", "matplotlib", "pandas"}
"""Libraries whose own types a public function may take and return."""


def documented_constants():
    """Names that some module of the library assigns and describes in a string below."""
    for path in SOURCE.rglob("*.py"):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        for statement, below in itertools.pairwise(body):
            if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                targets = getattr(statement, "targets", [getattr(statement, "target", None)])
                yield from (target.id for target in targets if isinstance(target, ast.Name))


@functools.cache
def namespace(module_name):
    """Names that annotations in a module may use, those imported for type checkers alone included."""
    module = importlib.import_module(module_name)
    names = dict(vars(module))
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            exec(compile(ast.Module(node.body, []), module_name, "exec"), names)
    return names


def annotations(value):
    """Types that a function, or a class and its public members, is annotated with."""
    if inspect.isclass(value):
        bases = [base for base in value.__mro__ if base.__module__.startswith("svcca.")]
        names = {name: found for base in reversed(bases) for name, found in namespace(base.__module__).items()}
        hints = typing.get_type_hints(value, localns=names)
        yield from (hint for name, hint in hints.items() if not name.startswith("_"))
        functions = [public_names.function_of(member) for _, member in public_names.members(value)]
        functions += [vars(base).get("__init__") for base in bases if not dataclasses.is_dataclass(base)]
        for function in filter(None, functions):
            yield from annotations(function)
    elif inspect.isroutine(value):
        function = inspect.unwrap(value)
        yield from typing.get_type_hints(function, namespace(function.__module__)).values()


def classes(hint):
    """Classes that a type is made of."""
    if isinstance(hint, typing.TypeVar):
        hint = typing.Union[hint.__constraints__ or (hint.__bound__ or object,)]  # noqa: UP007 (of a tuple)
    if isinstance(hint, list):  # the parameters of a Callable
        yield from (found for part in hint for found in classes(part))
    elif isinstance(hint, type) and not isinstance(hint, types.GenericAlias):
        yield hint
    elif (origin := typing.get_origin(hint)) is not None and origin is not typing.Literal:
        yield from (found for part in (origin, *typing.get_args(hint)) for found in classes(part))


def strangers(room, value, known):
    """Classes in a value's annotations that no room makes public, and that are not of a library it builds on."""
    foreign = FOREIGN | ({room.rpartition(".")[2]} if room.startswith("svcca.integrations.") else set())
    found = {each for hint in annotations(value) for each in classes(hint)}
    return {
        f"{each.__module__}.{each.__qualname__}"
        for each in found
        if each.__module__.partition(".")[0] not in foreign and not any(each is other for other in known)
    }


def test_public_names_and_signatures_are_those_of_the_file():
    held = public_names.FILE.read_text(encoding="utf-8").splitlines()
    found = public_names.listing().splitlines()
    advice = "If this is meant, run python -m tests.public_names and name the change in CHANGELOG.md"
    lost, new = sorted(set(held) - set(found)), sorted(set(found) - set(held))
    assert (lost, new) == ([], []), advice
    assert held == found


def test_a_public_name_can_be_imported_from_its_room():
    for name, value in NAMES.items():
        room, _, last = name.rpartition(".")
        scope = {}
        exec(f"from {room} import {last}", scope)
        assert scope[last] is value


def documented(name, value, constants):
    if inspect.isclass(value):  # by its own docstring, not one that it inherits or that dataclasses write
        text = vars(value).get("__doc__")
        return bool(text) and not text.startswith(f"{value.__name__}(")
    return bool(value.__doc__) if inspect.isroutine(value) else name.rpartition(".")[2] in constants


def test_a_public_name_is_documented():
    constants = set(documented_constants())
    assert [name for name, value in NAMES.items() if not documented(name, value, constants)] == []


def test_a_name_without_a_docstring_of_its_own_is_found():
    class Silent(svcca.SvccaError):
        pass

    plain = dataclasses.make_dataclass("plain", ["x"])
    for name, value in {"Silent": Silent, "plain": plain, "f": lambda: 0, "NUMBER": 3}.items():
        assert not documented(f"svcca.{name}", value, {"MEASURES"})


def test_what_a_public_name_takes_and_returns_is_public():
    found = {name: strangers(name.rpartition(".")[0], value, NAMES.values()) for name, value in NAMES.items()}
    assert {name: classes for name, classes in found.items() if classes} == {}


@pytest.mark.parametrize(
    ("value", "missing"),
    [
        (svcca.compare, svcca.SimilarityMatrix),  # returned
        (svcca.compression_report, CompressionReport),
        (svcca.SimilarityMatrix, LayerSummary),  # in a field
        (svcca.FreezeTraining, svcca.freeze.AdaptiveFreezing),  # taken by a constructor
        (svcca.core.Directions, svcca.core.Projection),  # returned by a method
    ],
)
def test_a_class_that_is_not_public_is_found(value, missing):
    room = "svcca"
    known = [each for each in NAMES.values() if each is not missing]
    more = strangers(room, value, known) - strangers(room, value, NAMES.values())
    assert more == {f"{missing.__module__}.{missing.__qualname__}"}


@pytest.mark.parametrize(
    "first", ["svcca", "svcca.compress.ranks", "svcca.compare.result", "svcca.project.directions", "svcca.cli.app"]
)
def test_a_name_that_is_a_room_or_a_file_too_is_never_the_module_in_any_order_of_imports(first):
    code = f"""
import importlib, inspect, pkgutil, {first}
import svcca
for module in pkgutil.walk_packages(svcca.__path__, "svcca."):
    if not module.name.startswith(("svcca.integrations.", "svcca.__main__")):
        importlib.import_module(module.name)
assert all(inspect.isfunction(verb) for verb in (svcca.compare, svcca.compress, svcca.project))
for room in ["svcca", *(found.name for found in pkgutil.iter_modules(svcca.__path__, "svcca."))]:
    room = sys.modules.get(room)
    for name in getattr(room, "__all__", ()):
        assert not inspect.ismodule(getattr(room, name)), (room, name)
from svcca.compress.ranks import Ranks
from svcca.compare.result import SimilarityMatrix
"""
    subprocess.run([sys.executable, "-c", "import sys" + code], check=True)
